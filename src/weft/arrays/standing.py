"""Calls of a compiled function that follow one another, while nothing changes but the arguments.

An ordinary call (`Traced.run`) looks up everything that the program reads, takes memory for everything that it
makes, and puts new nodes and tensors in the place of the old. After a few such calls it is known what the next one
will find, and a `Ready` call only looks whether it does. It uses the nodes of the state and the tensors of the
gradients again, and their memory. What the program can write over, once everything else has succeeded, it writes in
place (an optimiser's update, the gradients of a small step). The rest has two buffers, which take turns: one is
read, the other written, and they change places.

Nobody can tell, because a node, tensor or buffer is used again only if nobody else holds it: the number of references
to each must be what this module accounts for. So `old = p.detach()`, `p.numpy()`, a gradient that is kept, an
operation that waits, all lead to an ordinary call, as does everything else that is not as it was.
"""

from __future__ import annotations

import operator
from collections import deque
from functools import partial
from itertools import chain
from sys import getrefcount
from typing import Any
from weakref import ref

from numpy import copyto, ndarray

from ..base.pytree import LEAF
from ..base.state import state
from ..ir.node import GRAD, Node, Signature
from ..runtime import profile
from ..runtime.backend import Standing
from ..runtime.buffer import Buffer, address_of, own_copy
from .capture import Capture
from .cell import Cell, flush
from .tensor import Tensor
from .traced import Traced, returned

#: What a call returns that is for an ordinary call to do.
MISSED = object()

#: `state.active` where no functional transformation is running.
BASE_FLAGS = state.active

_set_value = Node.value.__set__  # type: ignore[attr-defined]

#: The number of references that `getrefcount` sees of what only a tuple holds: asked through `map`, and asked plainly.
_ALONE = next(map(getrefcount, (object(),)))
_pair = (object(), None)
_ALONE_PLAINLY = getrefcount(_pair[0])


class Ready:
    """What a compiled function may do at once: see the module. `ready.call(args)` is the result, or MISSED.

    Its caller has made sure that the version is the one that the program was found good at.
    """

    def __init__(
        self, function: Any, traced: Traced, key: Any, args: tuple[Any, ...], standing: Standing
    ) -> None:
        found = traced.capture
        self._function, self._key, self._gradients = function, key, traced.gradients
        self._check = None if found.check is None else found.check.run
        self._own = state.__dict__  # the thread's, and no other's as long as it is held
        self._running = False
        self.used = 0  #: how many calls it has served
        # Arguments: of the tensors the types, of the others who they are.
        self._count = len(args)
        self._places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        self._avals = [args[i]._cell.node.sig.out for i in self._places]
        self._arrays: dict[int, Buffer] = {}  #: copies of those that come as NumPy arrays
        self._others = [(i, a) for i, a in enumerate(args) if i not in self._places]
        self._results = [_Result(k, s) for k, s in enumerate(traced.signatures[: found.tensors])]
        self._single = found.tensors == 1 and found.result_structure is LEAF
        self._returned = partial(returned, found.result_structure, found.results)
        self._without = [owner for owner, exists in found.grads if not exists]
        self._turns = [_Turn(standing)]
        replaced = _replaced(found)
        if not standing.in_place.issuperset(replaced):
            self._turns.append(_Turn(traced.program.standing(_steady(found), replaced)))  # type: ignore[arg-type]

    def adopt(self, found: Capture) -> bool:
        """Go on from what is there after an ordinary call; False if that waits to be computed, as another thread has
        changed it meanwhile."""
        # What the program reads and does not replace: numbers, known by their nodes, and tensors.
        cells, captured = found.rebound_cells(), found.cells()
        place = {c: len(self._places) + k for k, c in enumerate(captured)}
        nodes = {c: c.node for c in (*captured, *cells)}  # looked at once
        if any(n.value is None for n in nodes.values()):
            return False
        outside = [c for c in captured if c not in set(cells)]
        self._read = [(place[c], ref(c)) for c in outside if isinstance(nodes[c].value, Buffer)]
        numbers = [c for c in outside if not isinstance(nodes[c].value, Buffer)]
        self._numbers = [(ref(c), nodes[c], place[c]) for c in numbers]
        for turn in self._turns:
            turn.standing.set_pool()
            for c in numbers:
                turn.standing.place_number(place[c], nodes[c].value)
        # What it replaces: the contents of cells, and gradients.
        self._cells = [(r, nodes[c]) for r, c in zip(found.rebound, cells, strict=True)]
        owners = [cell for cell, exists in found.gradient_cells() if exists]
        grads: list[Any] = [cell._grad for cell in owners]
        self._owners = [(ref(cell), g._cell.node) for cell, g in zip(owners, grads, strict=True)]
        self._replaced = [node for _, node in (*self._cells, *self._owners)]
        self._moving: int | None = None  #: the number of one of them that goes from buffer to buffer
        if not self._replaced:
            return True
        # In the first turn the state goes into new buffers, or where it is; in the second into those where it is now.
        first, in_place = len(self._results), self._turns[0].standing.in_place
        now = [n.value for n in self._replaced]
        fresh = [
            b if first + k in in_place else self._turns[0].standing.take(first + k) for k, b in enumerate(now)
        ]
        same = [b is f for b, f in zip(now, fresh, strict=True)]
        self._moving = same.index(False) if False in same else None
        held = _held(len(self._turns), len(self._replaced), len(grads), same)
        for turn, sources, targets in zip(self._turns, (now, fresh), (fresh, now), strict=False):
            turn.adopt(first, targets, self._replaced, [*grads, *[g._cell for g in grads]], held)
            for cell, buffer in zip(cells, sources, strict=False):
                if cell in place:
                    turn.standing.place(place[cell], buffer.address)
        return True

    def call(self, args: tuple[Any, ...]) -> Any:
        """The result of the function for these arguments, or MISSED, and nothing is done."""
        own = state.__dict__
        if (
            own is not self._own
            or own["traces"]
            or own["active"] != BASE_FLAGS
            or own["grad"] is not self._gradients
            or profile.recorder is not None
            or len(args) != self._count
            or self._running
        ):
            return MISSED
        if self._others:
            for i, known in self._others:
                if args[i] is not known:
                    return MISSED
            args = tuple([args[i] for i in self._places])
        if self._check is not None and self._check(self._function, self._key) is not None:
            return MISSED
        self._running = True
        try:
            # An interrupt may have come before or after the buffers of the state changed places.
            turn = self._turns[0]
            if (k := self._moving) is not None and self._replaced[k].value is turn.targets[k]:
                turn = self._turns[1]
            standing = turn.standing
            # Held until the end: the inputs' memory, and arguments, so that one that is also state is counted.
            inputs = self._place(args, standing)
            if inputs is None:
                return MISSED
            # So is what is read and not replaced: another thread may give these tensors other values meanwhile.
            steady = self._place_steady(turn) if self._read else None  # noqa: F841
            for r, known, _ in self._numbers:
                if r().node is not known:  # type: ignore[union-attr]
                    if not self._take_numbers():
                        return MISSED
                    break
            for r, known in self._cells:
                if r().node is not known:  # type: ignore[union-attr]
                    return MISSED
            for r, known in self._owners:
                if r()._grad._cell.node is not known:  # type: ignore[union-attr]
                    return MISSED
            known = None  # it would be counted
            if self._without and any(r()._grad is not None for r in self._without):  # type: ignore[union-attr]
                return MISSED
            if list(map(getrefcount, turn.reused)) != turn.counts:
                return MISSED
            if self._single:  # without a function for the list
                buffers = (self._results[0].buffer(standing),)
            else:
                buffers = [r.buffer(standing) for r in self._results]
            failed = standing.run() is not None
            if not failed:  # a step that no signal can cut in two
                if self._moving is None:
                    for write in standing.last:  # one foreign call at most
                        write()
                else:
                    self._change_places(turn)
            if standing.held:
                standing.leave()
            if failed:
                return MISSED
        except AttributeError as error:  # a cell is gone, or something is no tensor with a value
            if error.name not in ("_cell", "node", "_grad", "value", "_address"):
                raise
            return MISSED
        finally:
            self._running = False
        self.used += 1
        if self._single:
            return _holding(self._results[0].signature, buffers[0])
        return self._returned([_holding(r.signature, b) for r, b in zip(self._results, buffers, strict=True)])

    def _place(self, args: tuple[Any, ...], standing: Standing) -> list[Any] | None:
        """Say where the arguments are, and return what has to be held of them; None if they are of other types."""
        inputs: list[Any] = [a if type(a) is ndarray else a._cell.node for a in args]
        for place, node in enumerate(inputs):
            if type(node) is ndarray:
                if not self._place_array(place, node, standing):
                    return None
                continue
            if node.sig.out is not self._avals[place] or node.flags & GRAD:
                return None
            value = node.value
            if value is None:  # a part of a larger tensor, say
                flush(node)
                value = node.value
            standing.place(place, value._address or value.address)
        return inputs

    def _place_array(self, place: int, array: ndarray, standing: Standing) -> bool:
        """Say where an argument is that is a NumPy array: where it lies, or a copy; False if it is of another type.

        Indices are copied: between the look whether they are inside and their use nobody may change them.
        """
        known = self._avals[place]
        if array.dtype != known.dtype.numpy or array.shape != known.shape:
            return False
        if known.dtype.kind in "fc" and (flags := array.flags).c_contiguous and flags.aligned:
            standing.place(place, address_of(array))
            return True
        held = self._arrays.get(place)
        if held is None:
            held = self._arrays[place] = Buffer(own_copy(array, known.dtype.numpy))
        else:
            copyto(held._array, array)
        standing.place(place, held.address)
        return True

    def _change_places(self, turn: _Turn) -> None:
        """Let what the program replaces have the buffers that were written, and write what is written in place."""
        moves = map(_set_value, self._replaced, turn.targets)
        deque(chain(moves, map(operator.call, turn.standing.last)), 0)

    def _place_steady(self, turn: _Turn) -> list[Any]:
        """Say where the tensors are that the program reads and does not replace, if these are others than before, and
        return what has to be held of them."""
        values = [r().node.value for _, r in self._read]  # type: ignore[union-attr]
        if turn.standing.see(values):
            for (place, _), value in zip(self._read, values, strict=True):
                turn.standing.place(place, value._address or value.address)
        return values

    def fits(self, args: tuple[Any, ...]) -> bool:
        """Whether these arguments, of a call of the same program, are for this thread and this object's calls."""
        return state.__dict__ is self._own and all(args[i] is known for i, known in self._others)

    def _take_numbers(self) -> bool:
        """Take over numbers that are others now, such as a learning rate; False if one of them is a number no more."""
        now = [(r, r().node, place) for r, _, place in self._numbers]  # type: ignore[union-attr]
        for _, node, place in now:
            if not isinstance(node.value, (bool, int, float, complex)):
                return False
            for turn in self._turns:
                turn.standing.place_number(place, node.value)
        self._numbers = now
        return True


def prepare(function: Any, traced: Traced, key: Any, args: tuple[Any, ...]) -> Ready | None:
    """A way to call a function at once, after an ordinary call with these arguments; None if there is none."""
    found = traced.capture
    if found.owned or found.differentiable or len(args) != traced.structure.size:
        return None
    for a in args:
        if type(a) is Tensor:
            if a._cell.node.flags & GRAD:
                return None
        elif type(a) not in _PLAIN and type(a).__hash__ is not object.__hash__:
            return None  # a container, a number that is an input, something that is known by its contents
    if not all(isinstance(c.node.value, Buffer) for c in found.rebound_cells()):
        return None
    before = traced.life.ready
    if before is not None and before.fits(args):
        return before if before.adopt(found) else None
    standing = traced.program.standing(_steady(found), _replaced(found))
    if standing is None:
        return None
    ready = Ready(function, traced, key, args, standing)
    return ready if ready.adopt(found) else None


def _steady(found: Capture) -> list[int]:
    """The numbers of the inputs that are tensors which the program reads and does not replace."""
    captured = found.cells()
    first = len(found.graph.inputs) - len(captured)
    return [k for k in found.steady() if isinstance(captured[k - first].node.value, Buffer)]


def _replaced(found: Capture) -> dict[int, int | None]:
    """The numbers of the outputs that replace something, each with that of its input if the program reads that."""
    captured = found.cells()
    first = len(found.graph.inputs) - len(captured)
    place = {c: first + k for k, c in enumerate(captured)}
    grads = [None for _, exists in found.grads if exists]
    inputs = [*[place.get(c) for c in found.rebound_cells()], *grads]
    return {found.tensors + k: i for k, i in enumerate(inputs)}


_new = object.__new__


def _holding(signature: Signature, buffer: Buffer) -> Tensor:
    """`Tensor(Node(signature, (), buffer, 0, None))` in less time, where no trace is open."""
    cell = _new(Cell)
    cell.node = node = Node(signature, (), buffer, 0, None)
    cell._grad = None
    cell.requires_grad = False
    cell.depth = 0
    node.cell = ref(cell)
    tensor = _new(Tensor)
    tensor._cell = cell
    return tensor


#: Types of arguments that are known by their value, and cannot be another value while they are the same object.
_PLAIN = (bool, int, str, type(None))


class _Turn:
    """One of the two ways round: what is written, and how many references there may be to what is used again."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.targets: list[Buffer] = []  #: what the replaced nodes hold afterwards
        self.reused: tuple[Any, ...] = ()
        self.counts: list[int] = []  #: of references to what is reused

    def adopt(
        self, first: int, targets: list[Buffer], nodes: list[Node], gradients: list[Any], held: list[int]
    ) -> None:
        """Leave the outputs from number `first` on in these buffers."""
        self.targets = targets
        self.reused = (*nodes, *gradients, *targets, *[b.witness for b in targets])
        self.counts = [_ALONE - 1 + n for n in held]
        for k, buffer in enumerate(targets):
            self.standing.place_output(first + k, buffer.address)


def _held(turns: int, nodes: int, grads: int, in_place: list[bool]) -> list[int]:
    """How often everything in the `reused` of a turn is held, if nobody else does.

    A node by two lists (its own and `_replaced`), by `reused` of each turn and by its cell; a gradient or its cell by
    these and by what it belongs to; a target by its list and `reused`, and if it is in place by those of all turns and
    by its node; what a target's arrays hold by `reused`, in place by that of all turns, and by the target.
    """
    targets = [2 * turns + 1 if same else 2 for same in in_place]
    witnesses = [turns + 1 if same else 2 for same in in_place]
    return [3 + turns] * nodes + [1 + turns] * (2 * grads) + targets + witnesses


def _references(buffer: Buffer) -> int:
    """How many references `getrefcount` sees of what the arrays of a buffer hold, where there are none of them."""
    pair = (buffer, buffer.witness)
    return getrefcount(pair[1])


class _Result:
    """The memory of a result: buffers of earlier calls, when nobody holds them any more."""

    def __init__(self, k: int, signature: Any) -> None:
        self.k = k
        self.signature = signature
        self._ring: list[tuple[Buffer, Any, int]] = []

    def buffer(self, standing: Standing) -> Buffer:
        """Memory for this call, whose address is written into the words."""
        for entry in self._ring:
            if getrefcount(entry[0]) == _ALONE_PLAINLY and getrefcount(entry[1]) == entry[2]:
                break
        else:
            entry = self._taken(standing)
        standing.place_output(self.k, entry[0]._address)
        return entry[0]

    def _taken(self, standing: Standing) -> tuple[Buffer, Any, int]:
        buffer = standing.take(self.k)
        count = _references(buffer)
        entry = (buffer, buffer.witness, count)
        if buffer.nbytes <= _KEPT:
            self._ring.append(entry)
            del self._ring[:-_RING]
        return entry


#: Of each result so many buffers of at most so many bytes are kept.
_RING, _KEPT = 3, 1 << 16
