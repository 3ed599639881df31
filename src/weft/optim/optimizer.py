"""What all optimisers share: parameter groups, the step, and saved state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from ..arrays.cell import Cell, flush, forget, rebind_all, register
from ..arrays.grad import enable_grad
from ..arrays.outer import outer_zeros
from ..arrays.tensor import Tensor
from ..base.checked import check_constructor
from ..base.errors import ArgumentError, DTypeError, GradientError, ShapeError, StateError
from ..base.site import user_site
from ..base.state import state, version
from ..ir.dtype import float32, int64
from ..ir.node import GRAD, TRACED, Aval, Node
from ..ops.composite.define import Composite
from ..ops.movement import zeros
from . import clocks
from .group import Choice, ParamGroup, Range
from .state_dict import load_state, save_state
from .update import Plan, Update


class Optimizer:
    """Base class of optimisers.

    A subclass says in a few lines what is its own: `rule`, a composite over nodes that computes one parameter's new
    value and slots from (parameter, gradient, slots..., numbers...); `clock`, if it counts steps, a composite that
    takes (step, numbers...) to (step + 1, what all parameters at that step have in common...), which `rule` is then
    given after the slots; `ranges`, its numeric options with what they may
    be; `switches`, its boolean options (and `choices`, others that are structure); and `slot_names(group)`, what it
    remembers about a parameter. `step` applies the rule to every parameter that has a gradient, then computes
    everything that is pending, in one program.

    An optimiser may be made without parameters and be given them later (`bind`), as `Trainer` does.

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}`: groups with options of their own.
        defaults: the options of groups that say nothing else.
    """

    rule: ClassVar[Composite]
    clock: ClassVar[Composite | None] = None
    ranges: ClassVar[dict[str, Range]]
    switches: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[dict[str, Choice]] = {}
    all_slots: ClassVar[tuple[str, ...]]
    takes_complex: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_constructor(cls)

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[ParamGroup] = []
        self._make_group([], defaults, None)  # checks the options, also where there are no parameters yet
        if params is not None:
            self.bind(params)

    @property
    def name(self) -> str:
        return type(self).__name__

    # -- parameters -----------------------------------------------------------------------------------------

    @property
    def bound(self) -> bool:
        """Whether it has parameters to update."""
        return bool(self.param_groups)

    def bind(self, params: Any) -> None:
        """Give parameters to an optimiser that was made without any."""
        if self.bound:
            raise ArgumentError(f"this {self.name} has parameters already; add others with add_param_group")
        if isinstance(params, Tensor):
            raise ArgumentError("params must be a list or another iterable of tensors, got a single tensor")
        if hasattr(params, "parameters"):
            raise ArgumentError(f"{self.name} takes parameters, not a module: pass module.parameters()")
        items = list(params)
        if not items:
            raise ArgumentError(f"{self.name} got an empty list of parameters: there is nothing to optimise")
        if any(isinstance(i, Mapping) for i in items):
            for group in items:
                self.add_param_group(group)
        else:
            self.add_param_group({"params": items})

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own: `{"params": [...], "lr": 0.01}`; others are the defaults."""
        if not isinstance(group, Mapping) or "params" not in group:
            raise ArgumentError('a parameter group is a dict with the key "params"')
        self._add(self, group)

    def _add(self, kind: Optimizer, group: Mapping[str, Any]) -> None:
        """Add a group that follows the rule of `kind`: this optimiser, but for those that have others inside."""
        given = group["params"]
        params, names = _split_names([given] if isinstance(given, Tensor) else list(given))
        if not params:
            raise ArgumentError(f"a parameter group of {self.name} is empty")
        self._check_params(params, kind)
        options = {**kind.defaults, **{k: v for k, v in group.items() if k != "params"}}
        made = kind._make_group(params, options, names)
        made.kind = (
            None if kind is self else kind
        )  # nothing refers to its owner: both go when the last user goes
        self.param_groups.append(made)
        version.bump()

    def kind_of(self, group: ParamGroup) -> Optimizer:
        """The optimiser whose rule the parameters of a group follow: this one, or one inside."""
        return self if group.kind is None else group.kind

    def _make_group(self, params: list[Any], options: dict[str, Any], names: list[str] | None) -> ParamGroup:
        group = ParamGroup(self.name, self.ranges, self.switches, self.choices)
        for key, value in options.items():
            group[key] = value
        self.check_group(group)
        group.params, group.names = params, names
        group.slots = [{} for _ in params]
        if self.clock is not None:
            count = outer_zeros(Aval((), int64))
            group.slots = [{"step": count} for _ in params]
        for p, slots in zip(params, group.slots, strict=True):
            self._fill(group, p, slots)
        return group

    def _check_params(self, params: list[Any], kind: Optimizer) -> None:
        taken = {id(p) for g in self.param_groups for p in g.params}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise ArgumentError(f"{kind.name} updates tensors, got {type(p).__name__} as parameter {i}")
            if id(p) in taken:
                raise ArgumentError(
                    f"parameter {i} is in this optimiser already; every parameter is updated once"
                )
            taken.add(id(p))
            if not p.dtype.inexact:
                raise DTypeError(
                    f"parameter {i} is of dtype {p.dtype}; only floating tensors can be optimised"
                )
            if p.dtype.kind == "c" and not kind.takes_complex:
                raise DTypeError(
                    f"{kind.name} does not take complex parameters (parameter {i} is {p.dtype}); "
                    "keep real and imaginary part as two parameters"
                )
            kind.check_parameter(i, p)
            if p._cell.node.flags & GRAD and not p._cell.requires_grad:
                raise GradientError(
                    f"parameter {i} is computed from other tensors, so that changing it would change nothing; "
                    "give the tensors it is computed from, or detach() it and set requires_grad"
                )

    # -- the step -------------------------------------------------------------------------------------------

    def check_group(self, group: ParamGroup) -> None:
        """Raise where options of a group contradict each other."""

    def check_parameter(self, index: int, p: Tensor) -> None:
        """Raise where a parameter is of a shape that the rule does not take."""

    def slot_type(self, name: str, p: Tensor) -> Aval:
        """The type of a slot, which begins as zeros: `step` counts, others are like p, but at least float32."""
        return slot_type(name, p)

    def slot_names(self, group: ParamGroup) -> tuple[str, ...]:
        """What the rule remembers about a parameter under the options of `group`; the others are None."""
        return self.all_slots

    def own_slots(self, group: ParamGroup, p: Tensor) -> tuple[str, ...]:
        """The same for one parameter, where its shape matters."""
        return self.slot_names(group)

    def attributes(self, group: ParamGroup) -> dict[str, Any]:
        """The attributes of the rule: what of the options is structure. A weight decay of 0 is left out (`decay`)."""
        found = group.switches()
        if "weight_decay" in self.ranges:
            found["decay"] = not group.is_zero("weight_decay")
        return found

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient; returns what `closure` (which recomputes the loss) returns."""
        if not self.bound:
            raise ArgumentError(
                f"this {self.name} has no parameters; give them when it is made: {self.name}(params)"
            )
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            if self.kind_of(group).clock is not None:
                clocks.part(group, [i for i, p in enumerate(group.params) if _gradient(p) is not None])
        if state.traces:
            self._announce()
        replaced: list[tuple[Cell, Node]] = []  # with what they held
        built, site, grad = False, state.site, state.grad
        try:
            state.site, state.grad = site or user_site(), False  # looked for once
            for group in self.param_groups:
                self.kind_of(group)._step_group(group, replaced)
            built, state.site, state.grad = True, site, grad
            if not state.ambient & TRACED:
                flush(*[cell.node for cell, _ in replaced])
        except BaseException:
            # A bad index in the loss, or an interrupt: the update is there as a whole or not at all.
            if not built or any(cell.node.value is None for cell, _ in replaced):
                try:
                    _put_back(replaced)
                except BaseException:  # interrupted once more
                    _put_back(replaced)
                    raise
            raise
        finally:
            state.site, state.grad = site, grad
        return loss

    def _step_group(self, group: ParamGroup, replaced: list[tuple[Cell, Node]]) -> None:
        plan = group.plan
        if plan is None:
            plan = group.plan = self._plan(group)
        clocked = self.clock is not None
        counts: dict[Cell, int] = {}  # of steps, with their numbers
        cells: list[Cell] = []  # of each parameter and its slots
        gradients: list[Node] = []
        taking: list[
            tuple[int, int]
        ] = []  # the parameters that take this step, and the numbers of their counts
        count = 0
        for i, (p, slots, aval, names) in enumerate(
            zip(group.params, group.slots, plan.avals, plan.names, strict=True)
        ):
            gradient = _gradient(p)
            if gradient is None:
                continue
            cell, node = p._cell, gradient._cell.node
            if cell.node.sig.out is not aval:
                group.plan = None
                return self._step_group(group, replaced)
            if node.sig.out is not aval:
                _refuse_gradient(group, i, p, gradient)
            gradients.append(node)
            cells.append(cell)
            try:
                if names:
                    cells += [slots[n]._cell for n in names]
                if clocked:
                    count = counts.setdefault(slots["step"]._cell, len(counts))
            except KeyError:
                count = -1
            if count < 0:  # the parameter's first step
                self._fill(group, p, slots)
                return self._step_group(group, replaced)
            taking.append((i, count))
        changing = [*counts, *cells]
        before = [c.node for c in changing]
        first = len(counts)
        after = plan.updated(taking, before[:first], before[first:], gradients, group.numbers())
        replaced += zip(changing, before, strict=True)
        rebind_all(changing, after)

    def _plan(self, group: ParamGroup) -> Plan:
        """What a step of the group is under its present options."""
        slots = self.all_slots[1:] if self.clock is not None else self.all_slots
        own = [self.own_slots(group, p) for p in group.params]
        return Plan(
            Update(self.rule, self.clock, self.rule.attrs(self.attributes(group)), slots, ()),
            [p._cell.node.aval for p in group.params],
            [tuple([n for n in slots if n in names]) for names in own],
        )

    def _fill(self, group: ParamGroup, p: Tensor, slots: dict[str, Tensor]) -> None:
        """Make the slots of a parameter that are not there yet."""
        for name in self.own_slots(group, p):
            if name not in slots:
                slots[name] = outer_zeros(self.slot_type(name, p))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zeros."""
        if set_to_none and not state.traces:
            forget([p._cell for group in self.param_groups for p in group.params])
            return
        for group in self.param_groups:
            for p in group.params:
                if set_to_none:
                    p._cell.grad = None
                elif p.grad is not None:
                    p._cell.grad = Tensor(zeros(p._cell.node.aval))

    # -- what compiled functions ask ------------------------------------------------------------------------

    def _announce(self) -> None:
        for trace in reversed(state.traces):
            told = getattr(trace, "on_module", None)
            if told is not None:
                told(self)
                return

    def _assumptions(self) -> tuple[Any, ...]:
        return tuple([(tuple([id(p) for p in g.params]), *g.assumptions()) for g in self.param_groups])

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Nothing: the parameters are the model's, which names them."""
        return iter(())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The optimiser's own tensors: options and slots, as `group0.lr`, `group0.3.exp_avg`, ..."""
        for i, group in enumerate(self.param_groups):
            for key, tensors in group._numbers.items():
                for j, t in enumerate(tensors):
                    yield f"group{i}.{key}" + (str(j + 1) if len(tensors) > 1 else ""), t
            for j, slots in enumerate(group.slots):
                for key, t in slots.items():
                    yield f"group{i}.{group.names[j] if group.names else j}.{key}", t

    # -- state ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> Mapping[Any, dict[str, Tensor]]:
        """What is remembered about each parameter: `optimizer.state[p]["exp_avg"]`."""
        return _States(self.param_groups)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on later: `{"state": {number of parameter: slots}, "param_groups": [...]}`."""
        return save_state(self.param_groups)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. If it does not fit, `StateError` lists why, and nothing is changed."""
        if not self.bound:
            raise StateError(f"this {self.name} has no parameters yet: bind them before loading its state")
        load_state(self, saved)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.param_groups)) or 'no parameters yet'})"


class _States(Mapping[Any, dict[str, Tensor]]):
    """Slots by parameter; parameters are told apart by identity."""

    def __init__(self, groups: list[ParamGroup]) -> None:
        self._pairs = [(p, s, g) for g in groups for p, s in zip(g.params, g.slots, strict=True)]

    def __getitem__(self, p: Any) -> dict[str, Tensor]:
        for other, slots, group in self._pairs:
            if other is p:
                clocks.separate(group, slots)
                return slots
        raise KeyError("this tensor is not a parameter of the optimiser")

    def __iter__(self) -> Iterator[Any]:
        return iter([p for p, _, _ in self._pairs])

    def __len__(self) -> int:
        return len(self._pairs)


def _gradient(p: Tensor) -> Tensor | None:
    """`p.grad`, of which open traces must hear."""
    return p._cell.grad if state.traces else p._cell._grad


def slot_type(name: str, p: Tensor) -> Aval:
    """The type of a slot: `step` counts, all others are like the parameter, but at least float32."""
    if name == "step":
        return Aval((), int64)
    return Aval(p.shape, float32 if p.dtype.storage_only else p.dtype)


def _split_names(items: Iterable[Any]) -> tuple[list[Any], list[str] | None]:
    """Parameters, and their names if they came as (name, parameter) pairs."""
    found = list(items)
    named = [isinstance(i, tuple) and len(i) == 2 and isinstance(i[0], str) for i in found]
    if not any(named):
        return found, None
    if not all(named):
        raise ArgumentError("give either all parameters with their names or none")
    return [p for _, p in found], [name for name, _ in found]


def _refuse_gradient(group: ParamGroup, index: int, p: Tensor, gradient: Tensor) -> None:
    title = f"parameter {group.names[index] if group.names else index}"
    got, want = gradient._cell.node.aval.describe(), p._cell.node.aval.describe()
    kind = ShapeError if gradient.shape != p.shape else DTypeError
    raise kind(f"the gradient of {title} is {got}, the parameter {want}; they must be of one type")


def _put_back(replaced: list[tuple[Cell, Node]]) -> None:
    """Let cells hold what they held before."""
    for cell, node in reversed(replaced):
        cell.node = node
        register(cell, node)
