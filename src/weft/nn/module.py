"""`Module`: what layers and models are made of: parameters, buffers and children under names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from ..arrays.tensor import Tensor
from ..base.checked import check_constructor
from ..base.errors import ArgumentError, DTypeError, ShapeError, StateError, WeftError, nearest
from ..base.state import state, version
from ..ops.movement import zeros
from .assumptions import snapshot
from .hooks import Hooks, Removable
from .parameter import Buffer, Parameter, UninitializedParameter
from .placement import move
from .saving import LoadReport, load_into

if TYPE_CHECKING:
    from .summary import Summary

#: The roles that an attribute can have; everything else is a plain Python attribute.
PARAMETER, BUFFER, CHILD = "parameter", "buffer", "module"

_ABSENT = object()

#: Replacing a value of one of these types by an equal one changes nothing that a program could have assumed.
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class Module:
    """Base class of layers and models. A subclass makes its parts in `__init__` and computes in `forward`.

    Parameters, modules and registered buffers live under their attribute names and are found by `parameters()`,
    `state_dict()` and friends, in the order in which they were first assigned.

    Example::

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden = nn.Linear(64, 32)
                self.out = nn.Linear(32, 10)

            def forward(self, x):
                return self.out(nn.functional.relu(self.hidden(x)))
    """

    training: bool

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_constructor(cls)

    def __init__(self) -> None:
        own = self.__dict__
        own["_roles"] = {}  # attribute name -> PARAMETER, BUFFER or CHILD, in order of registration
        own["_transient"] = set()  # names of buffers that are not part of the state_dict
        own["_hooks"] = None
        own["training"] = True

    # -- computing ------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. Subclasses define it; call the module itself, so that hooks run."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.traces:
            _announce(self)
        hooks = self._hooks
        try:
            if hooks is None:
                return self.forward(*args, **kwargs)
            return hooks.run(self, args, kwargs)
        except (ShapeError, DTypeError) as e:
            _name_layer(e, self)
            raise

    def register_forward_pre_hook(self, hook: Callable[..., Any], *, with_kwargs: bool = False) -> Removable:
        """Call `hook(module, args)` before `forward`; what it returns, unless None, replaces the arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)`, which may return a new pair (args, kwargs).
        Returns a handle whose `remove()` takes the hook away.
        """
        return self._own_hooks().add_pre(hook, with_kwargs)

    def register_forward_hook(self, hook: Callable[..., Any], *, with_kwargs: bool = False) -> Removable:
        """Call `hook(module, args, output)` after `forward`; what it returns, unless None, replaces the output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`.
        """
        return self._own_hooks().add_post(hook, with_kwargs)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Removable:
        """Call `hook(module, grad_input, grad_output)` when gradients have come back through the module.

        Both are tuples, one entry for each positional argument and each result (None where it has no gradient). What
        the hook returns, unless None, replaces the gradients of the inputs. Inside compiled functions the hook sees
        tensors that have no value yet, once per trace; inside `scan` and `checkpoint` it is not called.
        """
        return self._own_hooks().add_back(hook, early=False)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Removable:
        """Call `hook(module, grad_output)` when the gradients of the module's results are known.

        What it returns, unless None, replaces them.
        """
        return self._own_hooks().add_back(hook, early=True)

    def _own_hooks(self) -> Hooks:
        hooks = self.__dict__["_hooks"]
        if hooks is None:
            hooks = self.__dict__["_hooks"] = Hooks()
        return hooks

    # -- attributes -----------------------------------------------------------------------------------------

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __getattr__(self, name: str) -> Any:
            # Only reached when the ordinary look-up has failed.
            if "_roles" not in self.__dict__ and not name.startswith("__"):
                raise StateError(f"{type(self).__name__}.__init__ must call super().__init__() first")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        roles = own.get("_roles")
        kind = PARAMETER if isinstance(value, Parameter) else CHILD if isinstance(value, Module) else None
        if kind is None and isinstance(value, Buffer):
            kind = BUFFER
        if roles is None:
            if kind is not None:
                raise StateError(
                    f"{type(self).__name__}.{name} is assigned before super().__init__() was called in __init__"
                )
        elif kind is not None:
            own["_transient"].discard(name)
            roles[name] = kind
            if isinstance(value, Buffer) and not value.persistent:
                own["_transient"].add(name)
        elif (
            name in roles and value is not None and not (roles[name] == BUFFER and isinstance(value, Tensor))
        ):
            raise ArgumentError(_cannot_replace(self, name, roles[name], value))
        old = own.get(name, _ABSENT)
        if state.traces and isinstance(old, Tensor):
            _announce_replaced(self, name, old)
        object.__setattr__(self, name, value)
        if old is not value and not (type(value) in _PLAIN and type(old) is type(value) and old == value):
            version.bump()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._roles.pop(name, None)
        self._transient.discard(name)
        version.bump()

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; None reserves the name for one that is absent."""
        self._register(name, param, PARAMETER, Parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is part of the module's state but not learned, such as a running mean.

        It is saved in the `state_dict` if `persistent`.
        """
        self._register(name, tensor, BUFFER, Tensor)
        if not persistent:
            self._transient.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a child module under `name`."""
        self._register(name, module, CHILD, Module)

    add_module = register_module

    def _register(self, name: str, value: Any, role: str, kind: type) -> None:
        if "_roles" not in self.__dict__:
            raise StateError(f"{type(self).__name__}.__init__ must call super().__init__() first")
        if not isinstance(name, str) or not name or "." in name:
            raise ArgumentError(f"the name of a {role} must be a string without dots, got {name!r}")
        if name not in self._roles and (name in self.__dict__ or hasattr(type(self), name)):
            raise ArgumentError(f"{type(self).__name__} has an attribute {name!r} already")
        if value is not None and not isinstance(value, kind):
            raise ArgumentError(
                f"{role} {name!r} must be a {kind.__name__} or None, got {type(value).__name__}"
            )
        self.__dict__.pop(name, None)
        self._transient.discard(name)
        self._roles[name] = role
        self.__dict__[name] = value
        version.bump()

    def _members(self, role: str) -> Iterator[tuple[str, Any]]:
        """(name, value) of the module's own attributes of one role; values may be None."""
        own = self.__dict__
        for name, r in own["_roles"].items():
            if r == role:
                yield name, own[name]

    # -- walking --------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children."""
        seen = set()
        for name, child in list(self._members(CHILD)):
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The direct children."""
        for _, child in self.named_children():
            yield child

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module (under the name "") and of all below it, each object once."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, child in list(self._members(CHILD)):
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def _named(
        self, role: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        if recurse:
            modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        else:
            modules = iter([(prefix, self)])
        for path, module in modules:
            for name, value in list(module._members(role)):
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) of this module and, if `recurse`, of all below it; a shared one comes once."""
        return self._named(PARAMETER, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, for an optimiser."""
        for _, p in self.named_parameters(recurse=recurse):
            yield p

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer) of this module and, if `recurse`, of all below it."""
        return self._named(BUFFER, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        for _, b in self.named_buffers(recurse=recurse):
            yield b

    def get_submodule(self, target: str) -> Module:
        """The module under a dotted name; "" is this one."""
        module: Module = self
        for part in target.split(".") if target else ():
            known = {n: c for n, c in module._members(CHILD) if c is not None}
            if part not in known:
                raise ArgumentError(f"{type(module).__name__} has no child {part!r}. {nearest(part, known)}")
            module = known[part]
        return module

    def set_submodule(self, target: str, module: Module) -> None:
        """Put a module in the place of the one under a dotted name."""
        above, _, name = target.rpartition(".")
        self.get_submodule(target)
        self.get_submodule(above).register_module(name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter under a dotted name."""
        known = dict(self.named_parameters(remove_duplicate=False))
        if target not in known:
            raise ArgumentError(
                f"{type(self).__name__} has no parameter {target!r}. {nearest(target, known)}"
            )
        return known[target]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer under a dotted name."""
        known = dict(self.named_buffers(remove_duplicate=False))
        if target not in known:
            raise ArgumentError(f"{type(self).__name__} has no buffer {target!r}. {nearest(target, known)}")
        return known[target]

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below and then on this one, for instance to initialise; returns the module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # -- modes ----------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Switch dropout, batch normalisation and the like to training behaviour (or, if not `mode`, away)."""
        if not isinstance(mode, bool):
            raise ArgumentError(f"train() takes True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation behaviour."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Whether `backward` reaches the parameters: False freezes the module."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters (or make them zeros)."""
        for p in self.parameters():
            if isinstance(p, UninitializedParameter):
                continue
            cell = p._cell
            if cell.grad is not None:
                cell.grad = None if set_to_none else Tensor(zeros(cell.node.aval))

    # -- dtype and device -----------------------------------------------------------------------------------

    def to(self, *args: Any, dtype: Any = None, device: Any = None) -> Self:
        """Convert floating parameters and buffers to a dtype, in place; `to("cpu")` names the device.

        Optimisers that hold the parameters keep holding them.
        """
        move(self, args, dtype, device)
        return self

    def float(self) -> Self:
        """Floating parameters and buffers as float32."""
        return self.to("float32")

    def cpu(self) -> Self:
        """Move the module to the CPU, where it is."""
        return self.to(device="cpu")

    def double(self) -> Self:
        """Floating parameters and buffers as float64."""
        return self.to("float64")

    def half(self) -> Self:
        """Floating parameters and buffers as float16."""
        return self.to("float16")

    def bfloat16(self) -> Self:
        """Floating parameters and buffers as bfloat16."""
        return self.to("bfloat16")

    # -- saving and loading ---------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "") -> OrderedDict[str, Tensor]:
        """Parameters and persistent buffers by dotted name, as they are now: later training does not change them."""
        out: OrderedDict[str, Tensor] = OrderedDict()
        for name, value in self._state(prefix):
            out[name] = value.detach()
        return out

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """(dotted name, tensor) of what is saved, shared tensors under each of their names."""
        own = self.__dict__
        for name, role in own["_roles"].items():
            value = own[name]
            if value is not None and role != CHILD and name not in own["_transient"]:
                yield prefix + name, value
        for name, child in self._members(CHILD):
            if child is not None:
                yield from child._state(f"{prefix}{name}.")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Take over the values of `state_dict`, converted to the dtypes that the module has.

        Raises `StateError` that lists every missing, unexpected and mis-shaped key, and then changes nothing. With
        `strict=False` missing and unexpected keys are only reported in the result.
        """
        return load_into(self, state_dict, strict)

    # -- looking at it --------------------------------------------------------------------------------------

    def summary(self, *input_shapes: Any, dtype: Any = None) -> Summary:
        """A table of the layers with their output shapes and numbers of parameters, for inputs of the given shapes.

        `model.summary((1, 28, 28))` for one input, batch axis left out, `model.summary((16,), (4, 8))` for several.
        Nothing is computed: shapes follow from the graph.
        """
        from .summary import summarize

        return summarize(self, input_shapes, dtype)

    def extra_repr(self) -> str:
        """What stands between the parentheses when the module is printed."""
        return ""

    def __repr__(self) -> str:
        title, extra = type(self).__name__, self.extra_repr()
        lines = [f"({n}): " + repr(c).replace("\n", "\n  ") for n, c in self._members(CHILD)]
        if not lines:
            return f"{title}({extra})"
        body = "\n".join("  " + line for line in ([extra] if extra else []) + lines)
        return f"{title}(\n{body}\n)"

    def _assumptions(self) -> tuple[Any, ...]:
        """What a program traced through this module took for granted; compares equal as long as it holds."""
        return snapshot(self)


def _announce(module: Module) -> None:
    """Tell the innermost trace that wants to know that it passes through `module`."""
    for trace in reversed(state.traces):
        told = getattr(trace, "on_module", None)
        if told is not None:
            told(module)
            return


def _announce_replaced(module: Module, name: str, old: Tensor) -> None:
    """Tell the innermost trace that wants to know that an attribute of `module` is set to another tensor."""
    for trace in reversed(state.traces):
        told = getattr(trace, "on_attribute", None)
        if told is not None:
            told(module, name, old)
            return


def _name_layer(error: WeftError, module: Module) -> None:
    """Put the innermost layer's own description before the message of an error that was raised in it."""
    if not getattr(error, "layer", None):
        error.layer = module  # type: ignore[attr-defined]
        error.args = (f"{brief(module)}: {error}",)


def brief(module: Module) -> str:
    """One line for a module in messages: all of a layer, the class of a model."""
    return type(module).__name__ if any(True for _ in module.children()) else repr(module)


def _cannot_replace(module: Module, name: str, role: str, value: Any) -> str:
    want = {PARAMETER: "nn.Parameter", BUFFER: "tensor", CHILD: "module"}[role]
    mend = "wrap the tensor in nn.Parameter, or " if role == PARAMETER and isinstance(value, Tensor) else ""
    return (
        f"{type(module).__name__}.{name} is a {role}: it takes a {want} or None, got {type(value).__name__}; "
        f"{mend}delete the attribute first"
    )
