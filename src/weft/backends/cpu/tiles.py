"""Contractions as code: the register tile, its loops over the taps, and the epilogue on the accumulators."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ...ir.dtype import DType
from ...kernel.anchors import size
from ...kernel.index import Var
from ...kernel.target import Target
from ...kernel.tiles import ENOUGH, Guard, Tap, Tiles, Tiling, packed_rows, rows_size, scratch_size, tiling
from . import instructions as ir
from .build import I1, I64, PTR, Build, memory_type, register_type
from .expressions import Expressions, Lanes
from .pack import pack_panel, pack_rows
from .words import multiply_pairs, multiply_quads

#: Steps of a tap in one turn of the innermost loop.
UNROLL = 4

#: Bytes of a line of the cache.
LINE = 64

#: The same where several elements of the first operand are read as one vector, which holds on to registers.
UNROLL_NEON = 2


def units(t: Tiles, target: Target) -> int:
    """Into how many units, that may run in any order, the work is cut."""
    return size([v.size for v in _parallel(t, target)]) * _groups(t, target) * tiling(t, target).bands


def _panels(t: Tiles, target: Target) -> int:
    return -(-t.n.size // (tiling(t, target).vectors * target.lanes(t.dtype.itemsize)))


def _groups(t: Tiles, target: Target) -> int:
    """Groups of panels that one unit goes through."""
    return -(-_panels(t, target) // tiling(t, target).group)


def _parallel(t: Tiles, target: Target) -> tuple[Var, ...]:
    """The outer variables that tell units apart.

    The others are gone through inside each panel and block: the taps of the gradient of a kernel read the same images,
    the pixels of a convolution the same packed kernel.
    """
    cut = tiling(t, target)
    if not (cut.blocked or cut.pack):
        return t.outer
    count = len(t.outer) - len(t.shared)
    found = size([v.size for v in t.outer[:count]]) * _groups(t, target) * cut.bands
    while count < len(t.outer) and found < ENOUGH:
        found *= t.outer[count].size
        count += 1
    return t.outer[:count]


def emit_tiles(module: ir.Module, t: Tiles, target: Target) -> ir.Function:
    """Add the function of one contraction to `module`."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, I64, I64]), t.name)
    function.attributes.add("nounwind")
    _Emitter(Build(module, function, target), t).emit()
    return function


@dataclass(frozen=True)
class _Block:
    """Some steps of a tap, at one step of each tap outside it: between blocks the sums wait in the result's memory."""

    starts: tuple[ir.Value, ...]  #: of the taps outside and of the one that is cut
    count: ir.Value
    short: ir.Value  #: whether it is at the end of the tap
    first: ir.Value  #: whether it is the first, the last of all
    last: ir.Value


@dataclass(frozen=True)
class _Tile:
    """One register tile: where it is and how large."""

    values: dict[Var, ir.Value]  #: of the outer variables
    top: ir.Value
    column: ir.Value
    height: int
    vectors: int
    mask: ir.Value | None  #: of the last vector
    ahead: ir.Value | None = None  #: what of the second operand to fetch meanwhile, for the next block

    def cells(self) -> list[tuple[int, int]]:
        return [(r, v) for r in range(self.height) for v in range(self.vectors)]

    def mask_of(self, v: int) -> ir.Value | None:
        return self.mask if v == self.vectors - 1 else None


class _Emitter:
    def __init__(self, build: Build, t: Tiles) -> None:
        self.build = build
        self.b = build.b
        self.t = t
        self.cut: Tiling = tiling(t, build.target)
        self.lanes = build.target.lanes(t.dtype.itemsize)
        self.type = register_type(t.dtype)
        self.vector = ir.VectorType(self.type, self.lanes)
        self.expressions = Expressions(build, (*t.inputs, *t.outputs), t.checked)
        self.size = t.dtype.itemsize
        self.unroll = UNROLL_NEON if build.target.name == "aarch64" else UNROLL
        self.a_type, self.b_type = (t.type_of(x) for x in (t.a, t.b))
        self.slots: list[ir.Value] = []
        #: (from one row of the first operand to the next, from one step to the next), where tiles read it
        self.a_steps = packed_rows(t, build.target) if self.cut.pack_rows else (t.a.stride, 0)
        with self.b.goto_entry_block():
            for _ in range(max([h for _, h in self.cut.heights], default=0) * self.cut.vectors):
                self.slots.append(self.b.alloca(self.vector))
            self.scratch = self._memory(scratch_size(t, build.target)) if self.cut.pack else None
            self.row_scratch = self._memory(rows_size(t, build.target)) if self.cut.pack_rows else None

    def _memory(self, size: int) -> ir.Value:
        """So many elements, addressed as vectors as well."""
        found = self.b.alloca(self.type, size)
        found.align = 64
        found.type = PTR
        return found

    def emit(self) -> None:
        begin, end = self.build.function.args[1:]
        target = self.build.target
        groups, bands = _groups(self.t, target), self.cut.bands
        with self.build.loop(begin, end, name="unit") as unit:
            if self.t.shared and not self.cut.blocked:
                group, rest = self._split(unit, groups)
                values, band = self._decode(rest)
            else:
                band, rest = self._split(unit, bands)
                group, rest = self._split(rest, groups)
                values, _ = self._decode(rest)
            if self.cut.blocked:
                with self._each_block() as block:
                    self._group(values, group, (band, bands), block)
            else:
                self._group(values, group, (band, bands), None)
        self.b.ret_void()

    @contextmanager
    def _each_block(self, level: int = 0) -> Iterator[_Block]:
        """Loops over the blocks, outermost tap first."""
        tap = self.t.taps[level]
        if level < self.cut.level:
            with (
                self.build.loop(I64(0), I64(tap.count), name="tap") as k,
                self._each_block(level + 1) as block,
            ):
                first = self.b.and_(block.first, self.b.icmp_signed("==", k, I64(0)))
                last = self.b.and_(block.last, self.b.icmp_signed("==", k, I64(tap.count - 1)))
                yield replace(block, starts=(k, *block.starts), first=first, last=last)
            return
        total, size = I64(tap.count), I64(self.cut.block)
        with self.build.loop(I64(0), total, self.cut.block, name="block") as start:
            left = self.b.sub(total, start)
            ends = self.b.icmp_signed("<=", left, size)
            first = self.b.icmp_signed("==", start, I64(0))
            yield _Block((start,), self.b.select(ends, left, size), ends, first, ends)

    def _positions(
        self, outer: tuple[Var, ...], values: dict[Var, ir.Value]
    ) -> Iterator[dict[Var, ir.Value]]:
        """Loops over outer variables; what the caller does with the yielded values is emitted inside."""
        if not outer:
            yield values
            return
        with self.build.loop(I64(0), I64(outer[0].size), name=outer[0].name) as i:
            yield from self._positions(outer[1:], {**values, outer[0]: i})

    def _group(
        self, values: dict[Var, ir.Value], group: ir.Value, band: tuple[ir.Value, int], block: _Block | None
    ) -> None:
        """Some panels: one after the other, or, where they are packed, all of them for each tile of rows."""
        panels, size = _panels(self.t, self.build.target), self.cut.group
        if size == 1:
            self._by_width(group, lambda tile: self._panel(replace(tile, values=values), band, block))
            return
        start = self.b.mul(group, I64(size))
        stop = self.b.add(start, I64(size))
        stop = self.b.select(self.b.icmp_signed("<", stop, I64(panels)), stop, I64(panels))
        if self.cut.pack:
            self._packed_group(values, start, stop, block)
            return
        with self.build.loop(start, stop, name="panel") as panel:
            self._by_width(panel, lambda tile: self._panel(replace(tile, values=values), band, block))

    def _by_width(self, panel: ir.Value, then: Callable[[_Tile], None]) -> None:
        """Emit `then` for the columns of a panel: all panels are as wide, but for the last, perhaps."""
        t = self.t
        width = self.cut.vectors * self.lanes
        whole, over = divmod(t.n.size, width)
        column = self.b.mul(panel, I64(width))
        full = _Tile({}, I64(0), column, 0, self.cut.vectors, None)
        mask = None
        if over % self.lanes:
            mask = ir.Constant(
                ir.VectorType(I1, self.lanes), [k < over % self.lanes for k in range(self.lanes)]
            )
        narrow = replace(full, vectors=-(-over // self.lanes), mask=mask)
        if not over or not whole:
            then(narrow if over else full)
            return
        last = self.b.icmp_signed("==", panel, I64(whole))
        with self.b.if_else(last) as (yes, no):
            with yes:
                then(narrow)
            with no:
                then(full)

    def _packed_group(
        self, values: dict[Var, ir.Value], start: ir.Value, stop: ir.Value, block: _Block | None
    ) -> None:
        """Some packed panels, which lie in the cache together, so that every tile of rows is read but once."""

        def packed(panel: ir.Value) -> ir.Value:
            size = scratch_size(self.t, self.build.target) // self.cut.group
            return self._offset(self.scratch, self.b.mul(self.b.sub(panel, start), I64(size)))

        with self.build.loop(start, stop, name="pack") as panel:
            to = packed(panel)
            self._by_width(panel, lambda tile: self._pack(replace(tile, values=values), to, block))
        for here in self._positions(self.t.outer[len(values) :], values):
            a, row = self._first_operand(here, block), 0
            for tiles, height in self.cut.heights:
                with self.build.loop(I64(0), I64(tiles), name="tile") as i:
                    top = self.b.add(I64(row), self.b.mul(i, I64(height)))
                    a_here = self._tile_rows(a, top, height, block)
                    with self.build.loop(start, stop, name="panel") as panel:
                        b = packed(panel)

                        def compute(tile: _Tile) -> None:
                            tile = replace(tile, values=here, top=top, height=height)  # noqa: B023
                            self._tile(tile, a_here, b, block)  # noqa: B023

                        self._by_width(panel, compute)
                row += tiles * height

    def _split(self, x: ir.Value, by: int) -> tuple[ir.Value, ir.Value]:
        """(x mod by, x div by)"""
        return (self.b.urem(x, I64(by)), self.b.udiv(x, I64(by))) if by > 1 else (I64(0), x)

    def _decode(self, position: ir.Value) -> tuple[dict[Var, ir.Value], ir.Value]:
        """The values of the outer variables at a position of their flattened range, and what is left of it."""
        values: dict[Var, ir.Value] = {}
        for v in reversed(_parallel(self.t, self.build.target)):
            values[v], position = self._split(position, v.size)
        return values, position

    def _offset(self, base: ir.Value, by: ir.Value | int, dtype: DType | None = None) -> ir.Value:
        """`by` elements further: of the operands as they are in memory, or else of the type that products have."""
        type_ = self.type if dtype is None else memory_type(dtype)
        return self.b.gep(base, [I64(by) if isinstance(by, int) else by], source_etype=type_)

    def _panel(self, tile: _Tile, band: tuple[ir.Value, int], block: _Block | None) -> None:
        """All tiles of one band of rows and some vectors of columns, the last of them perhaps some lanes wide only."""
        if self.cut.pack:
            self._pack(tile, self.scratch, block)
        for here in self._positions(self.t.outer[len(tile.values) :], tile.values):
            inside = replace(tile, values=here)
            b = self.scratch if self.cut.pack else self._columns(inside, block)
            self._rows(inside, self._first_operand(here, block), b, band, block)

    def _first_operand(self, values: dict[Var, ir.Value], block: _Block | None) -> ir.Value:
        """Where the rows of the first operand begin, in a block of the outermost tap."""
        t, at = self.t, self.expressions
        a = self._offset(at.bases[t.a.buffer], at.index(t.a.base, Lanes(values)), self.a_type)
        for tap, start in zip(t.taps, block.starts if block is not None else (), strict=False):
            a = self._offset(a, self.b.mul(start, I64(tap.a)), self.a_type)
        return a

    def _tile_rows(self, a: ir.Value, top: ir.Value, height: int, block: _Block | None) -> ir.Value:
        """Where the rows of a tile begin: in memory, or in the scratch that they are copied to now."""
        a = self._offset(a, self.b.mul(top, I64(self.t.a.stride)), self.a_type)
        if self.row_scratch is None:
            return a
        t = replace(self.t, taps=self.t.taps[self.cut.level :])
        count = I64(t.taps[0].count) if block is None else block.count
        pack_rows(self.build, self.type, t, a, self.row_scratch, height, self.a_steps, count)
        return self.row_scratch

    def _columns(self, tile: _Tile, block: _Block | None) -> ir.Value:
        """Where the tile's columns of the second operand begin, in a block of the outermost tap."""
        t, at = self.t, self.expressions
        b = self._offset(at.bases[t.b.buffer], at.index(t.b.base, Lanes(tile.values)), self.b_type)
        b = self._offset(b, self.b.mul(tile.column, I64(t.b.stride)), self.b_type)
        for tap, start in zip(t.taps, block.starts if block is not None else (), strict=False):
            b = self._offset(b, self.b.mul(start, I64(tap.b)), self.b_type)
        return b

    def _pack(self, tile: _Tile, target: ir.Value, block: _Block | None) -> None:
        """Copy the tile's columns of the second operand into a scratch panel."""
        t, source = self.t, self._columns(tile, block)
        width = tile.vectors * self.lanes
        over = t.n.size % self.lanes if tile.mask is not None else 0
        columns = width - (self.lanes - over if over else 0)

        def copy(count: int) -> None:
            level = self.cut.level
            taps = (replace(t.taps[level], count=count), *t.taps[level + 1 :])
            pack_panel(self.build, self.type, replace(t, taps=taps), source, target, columns, width)

        whole = t.taps[self.cut.level].count
        rest = whole % self.cut.block if block is not None else 0
        if block is None:
            copy(whole)
        elif rest == 0:
            copy(self.cut.block)
        else:
            with self.b.if_else(block.short) as (then, other):
                with then:
                    copy(rest)
                with other:
                    copy(self.cut.block)

    def _rows(
        self, tile: _Tile, a: ir.Value, b: ir.Value, band: tuple[ir.Value, int], block: _Block | None
    ) -> None:
        """The tiles of a band, top to bottom."""
        row, first = 0, 0
        start = self._edge(*band)
        for tiles, height in self.cut.heights:
            low, high = self._range(*band, first, tiles)
            with self.build.loop(low, high, name="tile") as i:
                top = self.b.add(I64(row), self.b.mul(i, I64(height)))
                here = replace(tile, top=top, height=height)
                if self._fetches_ahead():
                    number = self.b.sub(self.b.add(i, I64(first)), start)
                    here = replace(here, ahead=self._next_block(b, tile.values, number))
                self._tile(here, self._tile_rows(a, top, height, block), b, block)
            row += tiles * height
            first += tiles

    def _edge(self, band: ir.Value, bands: int) -> ir.Value:
        """The first tile of a band."""
        return self.b.udiv(self.b.mul(band, I64(self.cut.tiles)), I64(bands)) if bands > 1 else I64(0)

    def _range(self, band: ir.Value, bands: int, first: int, tiles: int) -> tuple[ir.Value, ir.Value]:
        """Which tiles of one height fall into the band."""
        if bands == 1:
            return I64(0), I64(tiles)

        def clipped(at: ir.Value) -> ir.Value:
            at = self.b.sub(at, I64(first))
            at = self.b.select(self.b.icmp_signed("<", at, I64(0)), I64(0), at)
            return self.b.select(self.b.icmp_signed(">", at, I64(tiles)), I64(tiles), at)

        return clipped(self._edge(band, bands)), clipped(self._edge(self.b.add(band, I64(1)), bands))

    # -- the tile -----------------------------------------------------------------------------------------------

    def _tile(self, tile: _Tile, a: ir.Value, b: ir.Value, block: _Block | None) -> None:
        if block is None:
            self._clear(tile)
            self._nest(tile, a, b, self.t.taps)
            self._finish(tile)
            return
        with self.b.if_else(block.first) as (then, other):
            with then:
                self._clear(tile)
            with other:
                self._exchange(tile, load=True)
        self._nest(tile, a, b, self.t.taps[self.cut.level :], block.count)
        with self.b.if_else(block.last) as (then, other):
            with then:
                self._finish(tile)
            with other:
                self._exchange(tile, load=False)

    def _clear(self, tile: _Tile) -> None:
        for i, _ in enumerate(tile.cells()):
            self.b.store(self.build.const(0.0, self.vector), self.slots[i])

    def _step(self, tap: Tap, tile: _Tile) -> int:
        """How far the second operand moves for one step of a tap."""
        return tap.b if not self.cut.pack else self._packed_step(tap, tile.vectors * self.lanes)

    def _packed_step(self, tap: Tap, width: int) -> int:
        """The same where the steps of the innermost tap are `width` apart."""
        for t in reversed(self.t.taps):
            if t.a == tap.a and t.b == tap.b:
                return width
            width *= t.count
        return width

    def _nest(
        self, tile: _Tile, a: ir.Value, b: ir.Value, taps: tuple[Tap, ...], some: ir.Value | None = None
    ) -> None:
        """acc += the products of all taps, outermost first; of that one perhaps only `some` steps."""
        tap, *rest = taps
        step = self._step(tap, tile)
        first, count, jump = self._valid(tap.guard, tile, tap.count)
        if some is not None:
            count = some
        if tap.guard is not None:
            at = self.expressions.index(tap.guard.at, Lanes(tile.values))
            position = self.b.add(at, self.b.mul(first, I64(tap.guard.dilation)))
            element = self.b.sdiv(position, I64(tap.guard.step)) if tap.guard.step > 1 else position
            a = self._offset(a, self.b.mul(element, I64(tap.a)))
            b = self._offset_b(b, self.b.mul(first, I64(step)))
        a_step = tap.a * (tap.guard.dilation * jump // tap.guard.step) if tap.guard is not None else tap.a
        if self.cut.pack_rows:
            a_step = self._packed_step(tap, self.a_steps[1])
        step *= jump
        if rest:
            with self.build.loop(I64(0), count, name="tap") as k:
                a_k = self._offset(a, self.b.mul(k, I64(a_step)))
                self._nest(tile, a_k, self._offset_b(b, self.b.mul(k, I64(step))), tuple(rest))
        else:
            self._innermost(tile, a, b, a_step, step, count)

    def _valid(self, guard: Guard | None, tile: _Tile, count: int) -> tuple[ir.Value, ir.Value, int]:
        """(first k, how many, distance between them) of a tap, where its guard holds."""
        if guard is None:
            return I64(0), I64(count), 1
        at = self.expressions.index(guard.at, Lanes(tile.values))
        end = I64((guard.size - 1) * guard.step + 1)
        first = self._clip(self._ceil(self.b.neg(at), guard.dilation), 0, count)
        stop = self._clip(self._ceil(self.b.sub(end, at), guard.dilation), 0, count)
        jump = guard.step
        if jump > 1:  # the first k at which at + k * dilation is a multiple of the step; dilation is 1 here
            position = self.b.add(at, first)
            over = self.b.srem(self.b.add(self.b.srem(position, I64(jump)), I64(jump)), I64(jump))
            ahead = self.b.srem(self.b.sub(I64(jump), over), I64(jump))
            first = self.b.add(first, ahead)
        room = self.b.sub(stop, first)
        room = self.b.select(self.b.icmp_signed(">", room, I64(0)), room, I64(0))
        return first, self._ceil(room, jump), jump

    def _ceil(self, x: ir.Value, by: int) -> ir.Value:
        """x / by rounded up, for x of any sign."""
        if by == 1:
            return x
        up = self.b.sdiv(self.b.add(x, I64(by - 1)), I64(by))
        return self.b.select(self.b.icmp_signed(">", x, I64(0)), up, self.b.sdiv(x, I64(by)))

    def _clip(self, x: ir.Value, low: int, high: int) -> ir.Value:
        x = self.b.select(self.b.icmp_signed("<", x, I64(low)), I64(low), x)
        return self.b.select(self.b.icmp_signed(">", x, I64(high)), I64(high), x)

    def _innermost(
        self, tile: _Tile, a: ir.Value, b: ir.Value, a_step: int, b_step: int, count: ir.Value
    ) -> None:
        """acc += sum over k of a[:, k] b[k, :], some steps in each turn of the loop."""
        unroll = self.unroll
        fixed = count.constant if isinstance(count, ir.Constant) else None
        if fixed is not None and fixed < 2 * unroll:
            for k in range(fixed):
                self._rank_one(tile, self._offset(a, k * a_step), self._offset_b(b, k * b_step))
            return
        whole = self.b.and_(count, I64(-unroll))
        with self.build.loop(I64(0), whole, unroll, name="k") as k:
            a_k, b_k = (
                self._offset(a, self.b.mul(k, I64(a_step))),
                self._offset_b(b, self.b.mul(k, I64(b_step))),
            )
            for j in range(unroll):
                self._rank_one(tile, self._offset(a_k, j * a_step), self._offset_b(b_k, j * b_step))
            if tile.ahead is not None:
                self._fetch(tile.ahead, k)
        if fixed is None or fixed % unroll:
            with self.build.loop(whole, count, name="k.rest") as k:
                a_k, b_k = (
                    self._offset(a, self.b.mul(k, I64(a_step))),
                    self._offset_b(b, self.b.mul(k, I64(b_step))),
                )
                self._rank_one(tile, a_k, b_k)

    # -- fetching ahead -----------------------------------------------------------------------------------------

    def _fetches_ahead(self) -> bool:
        """Whether the second operand is one long panel: memory can bring its next block while tiles use this one."""
        t, cut = self.t, self.cut
        panel = t.b.stride == 1 and t.taps[-1].b == cut.vectors * self.lanes
        return panel and cut.blocked and not cut.pack and cut.level == len(t.taps) - 1

    def _shared_by(self) -> int:
        """How many tiles one after the other use a block of the second operand."""
        inside = self.t.outer[len(_parallel(self.t, self.build.target)) :]
        return size([v.size for v in inside]) * -(-self.cut.tiles // self.cut.bands)

    def _lines(self) -> int:
        """Lines of the next block that a tile fetches in each turn of its innermost loop."""
        lines = self.unroll * self.cut.vectors * self.lanes * self.size // LINE
        return -(-lines // self._shared_by())

    def _next_block(self, b: ir.Value, values: dict[Var, ir.Value], tile: ir.Value) -> ir.Value:
        """Where a tile, the given one of its band, begins to fetch; when all is fetched, it does so again."""
        number = I64(0)
        for v in self.t.outer[len(_parallel(self.t, self.build.target)) :]:
            number = self.b.add(self.b.mul(number, I64(v.size)), values[v])
        number = self.b.add(self.b.mul(number, I64(-(-self.cut.tiles // self.cut.bands))), tile)
        block = self.cut.block * self.cut.vectors * self.lanes
        done = self.b.mul(number, I64(self.cut.block // self.unroll * self._lines() * LINE // self.size))
        done = self.b.select(self.b.icmp_signed("<", done, I64(block)), done, I64(0))
        return self._offset(b, self.b.add(done, I64(block)))

    def _fetch(self, ahead: ir.Value, k: ir.Value) -> None:
        """The turn of the innermost loop that begins with step k fetches some lines."""
        start = self.b.mul(k, I64(self._lines() * LINE // self.size // self.unroll))
        for i in range(self._lines()):
            self.build.prefetch(self._offset(self._offset(ahead, start), i * LINE // self.size))

    def _rank_one(self, tile: _Tile, a: ir.Value, b: ir.Value) -> None:
        """acc[r, v] += a[r] * b[v] for all rows and vectors of the tile."""
        right = []
        for v in range(tile.vectors):
            mask = None if self.cut.pack else tile.mask_of(v)
            right.append(self._load(self._offset_b(b, v * self.lanes), mask))
        for r in range(tile.height):
            x = self.b.load(self._offset(a, r * self.a_steps[0]), typ=self.type, align=self.size)
            left = self.build.splat(x, self.lanes)
            for v in range(tile.vectors):
                slot = self.slots[r * tile.vectors + v]
                total = self.b.load(slot, typ=self.vector)
                self.b.store(self._multiply_add(left, right[v], total), slot)

    def _multiply_add(self, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
        if self.t.words == 1:
            return self.build.multiply_add(x, y, total)
        return (multiply_pairs if self.t.words == 2 else multiply_quads)(self.build, x, y, total)

    def _offset_b(self, base: ir.Value, by: ir.Value | int) -> ir.Value:
        """Within the second operand, where tiles read it."""
        return self._offset(base, by, None if self.cut.pack else self.b_type)

    def _load(self, pointer: ir.Value, mask: ir.Value | None) -> ir.Value:
        """A vector of the second operand."""
        dtype = self.t.dtype if self.cut.pack else self.b_type
        return self.build.load(pointer, I64(0), dtype, self.lanes, mask)

    # -- results ------------------------------------------------------------------------------------------------

    def _out(self, tile: _Tile, r: int, v: int) -> ir.Value:
        out = self.t.out
        at = self.expressions.index(out.base, Lanes(tile.values))
        at = self.b.add(at, self.b.mul(self.b.add(tile.top, I64(r)), I64(out.stride)))
        column = self.b.add(tile.column, I64(v * self.lanes))
        return self.b.add(at, self.b.mul(column, I64(self.t.out_step)))

    def _exchange(self, tile: _Tile, load: bool) -> None:
        """Move the accumulators to the result's memory, or back."""
        t = self.t
        for i, (r, v) in enumerate(tile.cells()):
            at = self._out(tile, r, v)
            lanes = Lanes({}, t.n, self.lanes, tile.mask_of(v))
            if load:
                self.b.store(self.expressions.get(t.out.buffer, at, t.out_step, lanes), self.slots[i])
            else:
                value = self.b.load(self.slots[i], typ=self.vector)
                self.expressions.put(t.out.buffer, at, t.out_step, value, lanes)

    def _finish(self, tile: _Tile) -> None:
        """Apply the epilogue to the sums and store the results."""
        t = self.t
        for i, (r, v) in enumerate(tile.cells()):
            values = {**tile.values, t.m: self.b.add(tile.top, I64(r))}
            values[t.n] = self.b.add(tile.column, I64(v * self.lanes))
            lanes = Lanes(values, t.n, self.lanes, tile.mask_of(v))
            self.expressions.totals = [self.b.load(self.slots[i], typ=self.vector)]
            value = self.build.splat(self.expressions.value(t.epilogue, lanes, {}), self.lanes)
            self.expressions.put(t.out.buffer, self._out(tile, r, v), t.out_step, value, lanes)
