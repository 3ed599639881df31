"""Convolutions as contractions: over channels and taps, for many images or many pixels at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..ir.node import Node
from .anchors import Common, accumulate, anchor
from .contraction import IN_TILES, LoopNest, can_round, join, split, stored, tiles
from .index import Index, Var, as_index, quotient, remainder, unflatten_index
from .loops import Apply, Kernel, Load, Reduction
from .lower import as_indices, inside, variables, zero
from .pixels import by_pixels, is_depthwise, is_dilated_once, is_kernel_gradient
from .pooling import windows_of
from .shapes import shape_of
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
    (images, *_), (filters, channels, *window) = shape_of(c.anchor), shape_of(w)
    outer, (n, o, *spatial) = c.loops()
    channel, taps = Var("c", channels), variables(tuple(window), "k")
    each = filters // (a["feature_groups"] * a["batch_groups"])
    group = quotient(o, each)
    image = n + group * images if a["batch_groups"] > 1 else n
    depth = as_index(channel) + (group * channel.size if a["feature_groups"] > 1 else 0)
    conditions, at = [], []
    for d, (i, k, size) in enumerate(zip(spatial, taps, shape_of(x)[2:], strict=True)):
        here = i * a["stride"][d] + as_index(k) * a["kernel_dilation"][d] - a["padding"][d][0]
        step = a["input_dilation"][d]
        conditions.append((here, 0, (size - 1) * step + 1 if size else 0))
        if step > 1:
            conditions.append((remainder(here, step), 0, 1))
            here = quotient(here, step)
        at.append(here)
    weight = c.lowering.value(w, (o, as_index(channel), *as_indices(taps)))
    value = inside(conditions, lambda: c.lowering.value(x, (image, depth, *at)), zero(x.dtype))
    op = "dot" if x.dtype.name in ("float32", "float64") else "sum"
    product = Reduction(op, Apply("mul", (value, weight), x.dtype), x.dtype)
    # With one output channel each result is a sum of its own: along the channels of the image, if these fill vectors.
    along = each == 1 and channels >= _LANES
    inner = (*taps, channel) if along else (channel, *taps)
    return c.kernel(outer, accumulate(c, inner, product, (n, o, *spatial)), not along)


def _as_tiles(c: Common) -> Tiles | None:
    """The rows of a tile run over images at one pixel, or, with few images, over the pixels of a row."""
    node = c.anchor
    assert node is not None
    if not (is_depthwise(node) or _multiplies(node)) or not can_round(node, c.root.dtype):
        return None
    channels, *window = shape_of(node.args[1])[1:]
    depth, taps = Var("c", channels), variables(tuple(window), "k")
    fold, pixel = _folded(c)
    nest = _plain_nest(c, depth, taps, pixel)
    if nest is None:
        return None
    nest = _longer_rows(c, _in_panels(nest))
    epilogue = None
    if c.pooled is None:
        nest = _listed_rows(c, nest)
    else:
        c.lowering.totals[node] = 0
        places = [pixel(d, i) for d, i in enumerate(nest.at[2:])]
        epilogue = c.lowering.value(c.pooled, (*nest.at[:2], *places))
    return tiles(c, nest, [c.store(nest.at, epilogue)], fold)


def _plain_nest(
    c: Common, depth: Var, taps: tuple[Var, ...], pixel: Callable[[int, Index], Index]
) -> LoopNest | None:
    """A variable for each axis of the result; None if an operand is not read from memory as it is."""
    node = c.anchor
    assert node is not None
    attrs, (images, outputs, *_) = node.attrs, shape_of(node)
    depthwise = is_depthwise(node)  # whose tiles have a group in each column
    groups = 1 if depthwise else attrs["feature_groups"] * attrs["batch_groups"]  # of which only one is not 1
    image, group, column = Var("b", images), Var("g", groups), Var("o", outputs // groups)
    pixels = variables(c.shape[2:], "p")
    guarded = [_guarded(node, d) for d in range(len(taps))]
    over_pixels = by_pixels(node) and not is_kernel_gradient(node) and not guarded[-1]
    row = pixels[-1] if over_pixels else image
    channel = as_index(column) + as_index(group) * column.size
    operands = _operands(c, image, as_index(column) if depthwise else as_index(group), channel, depth, taps)
    if operands is None:
        return None
    left, right, places = operands
    guards: dict[Var, tuple[Guard, int | None]] = {}
    reached: dict[Var, Index] = {}
    for d, (tap, place, size) in enumerate(zip(taps, places, shape_of(node.args[0])[2:], strict=True)):
        start = pixel(d, as_index(pixels[d])) * attrs["stride"][d] - attrs["padding"][d][0]
        step = attrs["kernel_dilation"][d]
        if guarded[d]:
            guards[tap] = Guard(start, step, size, attrs["input_dilation"][d]), left.index.stride(place)
            reached[place] = as_index(0)
        else:
            reached[place] = start + as_index(tap) * step
    return LoopNest(
        outer=tuple([v for v in (group, image, *pixels) if v is not row]),
        row=row,
        column=column,
        # Channels inside taps, where they lie in memory. But in the gradient of a kernel the "channels" are images:
        # these go outside.
        inner=(depth, *taps) if is_kernel_gradient(node) else (*taps, depth),
        left=replace(left, index=left.index.substitute(reached)),
        right=right,
        at=(as_index(image), channel, *as_indices(pixels)),
        guards=guards,
    )


def _operands(
    c: Common, image: Var, group: Index, channel: Index, depth: Var, taps: tuple[Var, ...]
) -> tuple[Load, Load, tuple[Var, ...]] | None:
    """What is read of the images and of the kernel, and the variables of the place in an image; None if that is not
    an element of memory each."""
    assert c.anchor is not None
    x, w = c.anchor.args
    attrs = c.anchor.attrs
    places = variables(shape_of(x)[2:], "x")
    source, channels = as_index(image), as_index(depth)
    if attrs["batch_groups"] > 1:
        source = source + group * image.size
    elif attrs["feature_groups"] > 1:
        channels = channels + group * depth.size
    left = stored(c.lowering.value(x, (source, channels, *as_indices(places))))
    right = stored(c.lowering.value(w, (channel, as_index(depth), *as_indices(taps))))
    return None if left is None or right is None else (left, right, places)


def _in_panels(nest: LoopNest) -> LoopNest:
    """The same with outer variables for the panels that a kernel may lie in. Of a depthwise convolution the image
    depends on the channel too."""
    parts = split((nest.column,), (nest.right.index,))
    if parts is None or len(parts[nest.column]) == 1:
        return nest
    *panels, column = parts[nest.column]
    whole = {nest.column: join(parts[nest.column])}
    return replace(nest.substitute(whole), outer=(*panels, *nest.outer), column=column)


def _folded(c: Common) -> tuple[tuple[Var, ...], Callable[[int, Index], Index]]:
    """The variables that run over a window of the pooling after a convolution, if there is one, and where a pixel of
    the result comes from: pixel(d, i) along axis d."""
    if c.pooled is None:
        return (), lambda d, i: i
    found = windows_of(c.inner)
    assert found is not None
    fold, stride = variables(found.attrs["kernel"], "w"), found.attrs["stride"]
    return fold, lambda d, i: i * stride[d] + as_index(fold[d])


def _longer_rows(c: Common, nest: LoopNest) -> LoopNest:
    """The same with outer variables joined to the row, where one goes on where the other ends."""
    for v in reversed(nest.outer):
        row = nest.row
        steps = [(x.stride(v), x.stride(row)) for x in (nest.left.index, c.place(nest.at))]
        if v.size == 1 or any(a is None or b is None for a, b in steps) or _meets_others(nest, v):
            continue
        if row.size == 1 or all(a == b * row.size for a, b in steps):  # type: ignore[operator]
            high, low = v, row
        elif all(b == a * v.size for a, b in steps):  # type: ignore[operator]
            high, low = row, v
        else:
            continue
        long = Var(f"{high.name}{low.name}", v.size * row.size)
        cut = {high: quotient(as_index(long), low.size), low: remainder(as_index(long), low.size)}
        outer = tuple([o for o in nest.outer if o is not v])
        nest = replace(nest.substitute(cut), outer=outer, row=long)
    return nest


def _meets_others(nest: LoopNest, v: Var) -> bool:
    """Whether rows at different values of a variable meet other elements of the kernel, as those of two groups of
    channels do, or are guarded in other ways."""
    return v in nest.right.index.variables() or any(v in g.at.variables() for g, _ in nest.guards.values())


def _listed_rows(c: Common, nest: LoopNest) -> LoopNest:
    """The same with outer variables joined to a row that is too short for a tile, and where each row then begins in
    the image: results go on where others end, but rows of the image, say the taps of several rows of one, lie
    anywhere. Nothing is listed where they are a stride apart as it is."""
    row, image, place = nest.row, nest.left, c.place(nest.at)
    vectors = min(2, -(-nest.column.size // _LANES))
    parts, many = [row], row.size
    listed: list[int] = []
    for v in reversed(nest.outer):
        if image.dtype is not c.anchor.dtype or many * vectors >= _SUMS:  # type: ignore[union-attr]
            break
        step, short, *results = (x.stride(u) for x in (image.index, place) for u in (v, row))
        if (
            v.size == 1
            or v.size * many > _LISTED
            or None in (step, short, *results)
            or _meets_others(nest, v)
        ):
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
        return nest
    long = Var("".join([v.name for v in parts]), many)
    cut = dict(zip(parts, unflatten_index(as_index(long), [v.size for v in parts]), strict=True))
    return replace(
        nest,
        outer=tuple([o for o in nest.outer if o not in parts]),
        row=long,
        left=replace(image, index=image.index.substitute({v: as_index(0) for v in parts})),
        at=tuple([i.substitute(cut) for i in nest.at]),
        starts=tuple(listed),
    )


def fits(node: Node) -> bool:
    """Whether tiles can do a convolution whose operands lie in memory, however."""
    return node.attrs["batch_groups"] == 1 and _multiplies(node)


def _multiplies(node: Node) -> bool:
    """Whether each group of a convolution is a contraction, of two output channels or more."""
    a = node.attrs
    if node.dtype.name not in IN_TILES or not is_dilated_once(node):
        return False
    columns = shape_of(node)[1] // (a["feature_groups"] * a["batch_groups"])
    return columns >= 2 and all(n > 0 for x in (node, *node.args) for n in shape_of(x))


def _guarded(node: Node, d: int) -> bool:
    """Whether some taps of a spatial axis fall outside the image, or between its elements."""
    a = node.attrs
    size, taps, results = (shape_of(x)[2 + d] for x in (*node.args, node))
    low = a["padding"][d][0]
    last = (results - 1) * a["stride"][d] - low + (taps - 1) * a["kernel_dilation"][d]
    return low > 0 or a["input_dilation"][d] > 1 or last >= size
