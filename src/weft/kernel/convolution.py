"""Convolutions as contractions: over channels and taps, for many images or many pixels at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..ir.node import Node
from .anchors import Common, accumulate, anchor
from .contraction import IN_TILES, can_round, join, split, stored, tiles
from .index import Index, Var, as_index, quotient, remainder, unflatten_index
from .loops import Apply, Kernel, Load, Reduction
from .lower import as_indices, inside, variables, zero
from .pixels import by_pixels, is_depthwise, is_kernel_gradient
from .pooling import windows_of
from .tiles import Guard, Tiles
from .wide import is_wide_conv
from .winograd import Winograd, suits, winograd
from .winograd_gradient import Sums, suits_gradient, sums_and_results

#: Elements of a vector, of the widest ones, and sums of a tile that keep the processor busy.
_LANES, _SUMS = 16, 16

#: Rows of a tile, at most, that are listed one by one.
_LISTED = 28


@anchor("conv", "wide_conv")
def convolution(c: Common) -> Kernel | Tiles | Winograd | tuple[Sums, Kernel]:
    """Products summed over channels and taps; what lies outside the image is skipped."""
    assert c.anchor is not None
    if suits(c.anchor):
        return winograd(c)
    if suits_gradient(c.anchor):
        return sums_and_results(c)
    found = _as_tiles(c)
    assert found is not None or (c.pooled is None and c.framed is None and not is_wide_conv(c.anchor.sig))
    return found or _as_loops(c)


def _as_loops(c: Common) -> Kernel:
    assert c.anchor is not None
    x, w = c.anchor.args
    a = c.anchor.attrs
    outer, (n, o, *spatial) = c.loops()
    channel = Var("c", w.shape[1])  # type: ignore[arg-type]
    taps = variables(w.shape[2:], "k")  # type: ignore[arg-type]
    group = quotient(o, w.shape[0] // (a["feature_groups"] * a["batch_groups"]))  # type: ignore[operator]
    image = n + group * c.anchor.shape[0] if a["batch_groups"] > 1 else n  # type: ignore[operator]
    depth = as_index(channel) + (group * channel.size if a["feature_groups"] > 1 else 0)
    conditions, at = [], []
    for d, (i, k) in enumerate(zip(spatial, taps, strict=True)):
        here = i * a["stride"][d] + as_index(k) * a["kernel_dilation"][d] - a["padding"][d][0]
        step, size = a["input_dilation"][d], x.shape[2 + d]
        conditions.append((here, 0, (size - 1) * step + 1 if size else 0))  # type: ignore[operator]
        if step > 1:
            conditions.append((remainder(here, step), 0, 1))
            here = quotient(here, step)
        at.append(here)
    weight = c.lowering.value(w, (o, as_index(channel), *as_indices(taps)))
    value = inside(conditions, lambda: c.lowering.value(x, (image, depth, *at)), zero(x.dtype))
    op = "dot" if x.dtype.name in ("float32", "float64") else "sum"
    product = Reduction(op, Apply("mul", (value, weight), x.dtype), x.dtype)
    return c.kernel(outer, accumulate(c, (channel, *taps), product, (n, o, *spatial)), True)


def _as_tiles(c: Common) -> Tiles | None:
    """The rows of a tile run over images at one pixel, or, with few images, over the pixels of a row."""
    node = c.anchor
    assert node is not None
    single = is_depthwise(node)
    if not (single or _multiplies(node)) or not can_round(node, c.root.dtype):
        return None
    a = node.attrs
    x, w = node.args
    n_size, o_size, *out_size = node.shape
    batches: int = 1 if single else a["batch_groups"]
    groups = 1 if single else a["feature_groups"] * batches  # of which only one is not 1
    rank = len(out_size)
    free = [_guarded(node, d) for d in range(rank)]
    gradient = is_kernel_gradient(node)
    over_pixels = by_pixels(node) and not gradient and not free[-1]
    image, group = Var("b", n_size), Var("g", groups)  # type: ignore[arg-type]
    pixels = variables(c.shape[2:], "p")
    fold, pixel = _folded(c)
    depth, output = Var("c", w.shape[1]), Var("o", o_size // groups)  # type: ignore[arg-type, operator]
    taps = variables(w.shape[2:], "k")  # type: ignore[arg-type]
    places = variables(x.shape[2:], "x")  # type: ignore[arg-type]
    row = pixels[-1] if over_pixels else image
    outer = tuple([v for v in (group, image, *pixels) if v is not row])
    channel = as_index(output) + as_index(group) * output.size
    at = (as_index(image), channel, *as_indices(pixels))
    which = as_index(output) if single else as_index(group)  # of the groups
    source, channels = as_index(image), as_index(depth)
    if a["batch_groups"] > 1:
        source = source + which * image.size
    elif a["feature_groups"] > 1:
        channels = channels + which * depth.size
    left = stored(c.lowering.value(x, (source, channels, *as_indices(places))))
    right = stored(c.lowering.value(w, (channel, as_index(depth), *as_indices(taps))))
    if left is None or right is None:
        return None
    guards: dict[Var, Guard] = {}
    places_at: dict[Var, Index] = {}
    for d in range(rank):
        start = pixel(d, as_index(pixels[d])) * a["stride"][d] - a["padding"][d][0]
        if free[d]:
            guards[taps[d]] = Guard(start, a["kernel_dilation"][d], x.shape[2 + d], a["input_dilation"][d])  # type: ignore[arg-type]
            places_at[places[d]] = as_index(0)
        else:
            places_at[places[d]] = start + as_index(taps[d]) * a["kernel_dilation"][d]
    strides = {taps[d]: left.index.stride(places[d]) for d in range(rank) if free[d]}
    moved = Load(left.buffer, left.index.substitute(places_at), left.dtype)
    # The order of summation: channels inside taps, where they lie in memory. But in the gradient of a kernel the
    # "channels" are images: these go outside.
    inner = (depth, *taps) if gradient else (*taps, depth)
    panel, output, moved, right, at = _in_panels(output, moved, right, at)
    outer, row, moved, at = _longer_rows(c, (*panel, *outer), row, moved, right, at, guards)
    if c.pooled is None:
        outer, row, moved, at, rows = _listed_rows(c, outer, row, output, moved, right, at, guards)
        return tiles(c, outer, row, output, inner, moved, right, at, guards, strides, rows=rows)
    c.lowering.totals[node] = 0
    epilogue = c.lowering.value(c.pooled, (*at[:2], *[pixel(d, i) for d, i in enumerate(at[2:])]))
    return tiles(c, outer, row, output, inner, moved, right, at, guards, strides, fold, epilogue)


def _in_panels(
    output: Var, left: Load, right: Load, at: tuple[Index, ...]
) -> tuple[tuple[Var, ...], Var, Load, Load, tuple[Index, ...]]:
    """(variables of the panels, the channel inside one, the image, the kernel, the place of a result): none, and the
    others as they are, of a kernel that does not lie in panels. Of a depthwise convolution the image depends on the
    channel too."""
    parts = split((output,), (right.index,))
    if parts is None or len(parts[output]) == 1:
        return (), output, left, right, at
    *panels, column = parts[output]
    whole = {output: join(parts[output])}
    left, right = (replace(x, index=x.index.substitute(whole)) for x in (left, right))
    return tuple(panels), column, left, right, tuple([i.substitute(whole) for i in at])


def _folded(c: Common) -> tuple[tuple[Var, ...], Callable[[int, Index], Index]]:
    """The variables that run over a window of the pooling after a convolution, if there is one, and where a pixel of
    the result comes from: pixel(d, i) along axis d."""
    if c.pooled is None:
        return (), lambda d, i: i
    found = windows_of(c.inner)
    assert found is not None
    fold, stride = variables(found.attrs["kernel"], "w"), found.attrs["stride"]
    return fold, lambda d, i: i * stride[d] + as_index(fold[d])


def _longer_rows(
    c: Common,
    outer: tuple[Var, ...],
    row: Var,
    left: Load,
    right: Load,
    at: tuple[Index, ...],
    guards: Mapping[Var, Guard],
) -> tuple[tuple[Var, ...], Var, Load, tuple[Index, ...]]:
    """The same with outer variables joined to the row, where one goes on where the other ends."""
    for v in reversed(outer):
        steps = [(x.stride(v), x.stride(row)) for x in (left.index, c.place(at))]
        if v.size == 1 or any(a is None or b is None for a, b in steps):
            continue
        if v in right.index.variables() or any(v in g.at.variables() for g in guards.values()):
            continue  # the rows of two groups of channels meet different kernels
        if row.size == 1 or all(a == b * row.size for a, b in steps):  # type: ignore[operator]
            high, low = v, row
        elif all(b == a * v.size for a, b in steps):  # type: ignore[operator]
            high, low = row, v
        else:
            continue
        long = Var(f"{high.name}{low.name}", v.size * row.size)
        cut = {high: quotient(as_index(long), low.size), low: remainder(as_index(long), low.size)}
        left = replace(left, index=left.index.substitute(cut))
        at = tuple([i.substitute(cut) for i in at])
        outer, row = tuple([o for o in outer if o is not v]), long
    return outer, row, left, at


def _listed_rows(
    c: Common,
    outer: tuple[Var, ...],
    row: Var,
    output: Var,
    left: Load,
    right: Load,
    at: tuple[Index, ...],
    guards: Mapping[Var, Guard],
) -> tuple[tuple[Var, ...], Var, Load, tuple[Index, ...], tuple[int, ...]]:
    """The same with outer variables joined to a row that is too short for a tile, and where each row then begins in
    the first operand: results go on where others end, but rows of this operand, say the taps of several rows of an
    image, lie anywhere. Nothing is listed where they are a stride apart as it is."""
    vectors = min(2, -(-output.size // _LANES))
    guarded = {v for g in guards.values() for v in g.at.variables()}
    place, parts, many = c.place(at), [row], row.size
    listed: list[int] = []
    for v in reversed(outer):
        if left.dtype is not c.anchor.dtype or many * vectors >= _SUMS:  # type: ignore[union-attr]
            break
        step, short, *results = (x.stride(u) for x in (left.index, place) for u in (v, row))
        if v.size == 1 or v.size * many > _LISTED or None in (step, short, *results):
            continue
        if v in guarded or v in right.index.variables():
            continue
        known = listed or [i * short for i in range(row.size)]  # type: ignore[operator]
        above, below = results[0], place.stride(parts[-1])
        if above == many * below:  # type: ignore[operator]
            listed = [i * step + r for i in range(v.size) for r in known]  # type: ignore[operator]
            parts = [v, *parts]
        elif below == v.size * above:  # type: ignore[operator]
            listed = [r + i * step for r in known for i in range(v.size)]  # type: ignore[operator]
            parts = [*parts, v]
        else:
            continue
        many *= v.size
    if not listed:
        return outer, row, left, at, ()
    long = Var("".join([v.name for v in parts]), many)
    cut = dict(zip(parts, unflatten_index(as_index(long), [v.size for v in parts]), strict=True))
    at = tuple([i.substitute(cut) for i in at])
    left = replace(left, index=left.index.substitute({v: as_index(0) for v in parts}))
    return tuple([o for o in outer if o not in parts]), long, left, at, tuple(listed)


def fits(node: Node) -> bool:
    """Whether tiles can do a convolution whose operands lie in memory, however."""
    return node.attrs["batch_groups"] == 1 and _multiplies(node)


def _multiplies(node: Node) -> bool:
    """Whether each group of a convolution is a contraction."""
    a = node.attrs
    if node.dtype.name not in IN_TILES:
        return False
    plain = all(k == 1 or i == 1 for k, i in zip(a["kernel_dilation"], a["input_dilation"], strict=True))
    channels = node.shape[1] // (a["feature_groups"] * a["batch_groups"])  # type: ignore[operator]
    return (
        plain
        and channels >= 2
        and all(n > 0 for n in (*node.shape, *node.args[0].shape, *node.args[1].shape))
    )  # type: ignore[operator]


def _guarded(node: Node, d: int) -> bool:
    """Whether some taps of a spatial axis fall outside the image, or between its elements."""
    a = node.attrs
    last = (node.shape[2 + d] - 1) * a["stride"][d] - a["padding"][d][0]  # type: ignore[operator]
    last += (node.args[1].shape[2 + d] - 1) * a["kernel_dilation"][d]  # type: ignore[operator]
    return a["padding"][d][0] > 0 or a["input_dilation"][d] > 1 or last >= node.args[0].shape[2 + d]  # type: ignore[operator]
