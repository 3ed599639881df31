"""Parameters: tensors that belong to a module and require gradients."""

from __future__ import annotations

from typing import Any, NoReturn

from ..arrays.cell import Cell, own_node
from ..arrays.creation import tensor
from ..arrays.tensor import Tensor
from ..base.errors import StateError


class Parameter(Tensor):
    """A tensor that a module registers when it is assigned as an attribute.

    Holds a copy of `data` (a tensor, an array or nested lists) of its own, cut off from what `data` was computed
    from. Operations on parameters give plain tensors.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        if not isinstance(data, Tensor):
            data = tensor(data)
        super().__init__(own_node(data._node))
        if requires_grad:
            self._cell.require_grad(True)

    def __repr__(self) -> str:
        return f"Parameter({super().__repr__()})"


class Buffer(Tensor):
    """A tensor that a module registers as a buffer when it is assigned as an attribute: state that is not learned.

    Holds a copy of `data` of its own. It is in the module's `state_dict` if `persistent`.

    >>> net = nn.Identity()
    >>> net.scale = Buffer([1.0, 2.0])
    >>> list(net.state_dict())
    ['scale']
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Any, *, persistent: bool = True) -> None:
        if not isinstance(data, Tensor):
            data = tensor(data)
        super().__init__(own_node(data._node))
        self.persistent = persistent


class _Unborn:
    """What stands for a tensor whose shape is not known before its module has seen data."""

    __slots__ = ()
    _owner: str

    @property
    def _cell(self) -> Cell:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StateError(
            f"a parameter or buffer of {self._owner} has no shape yet: it is inferred from the first input. Call the "
            "model once on a batch (under weft.no_grad() if you like) before its state is used, saved or optimised"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return type(self)(self._owner)  # type: ignore[call-arg]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self._owner,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class UninitializedParameter(_Unborn, Parameter):  # type: ignore[misc]
    """A parameter whose shape is not known before its module has seen data. Using it raises `StateError`."""

    __slots__ = ("_owner",)

    def __init__(self, owner: str = "this module") -> None:
        self._owner = owner


class UninitializedBuffer(_Unborn, Tensor):  # type: ignore[misc]
    """A buffer whose shape is not known before its module has seen data. Using it raises `StateError`."""

    __slots__ = ("_owner",)

    def __init__(self, owner: str = "this module") -> None:
        self._owner = owner
