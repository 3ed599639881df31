"""Kernels of every kind as text, and the expressions in them: the loop IR, as people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from .index import Index, Var, show_table
from .loops import (
    Entry,
    Expr,
    Inside,
    Kernel,
    Literal,
    Load,
    Lookup,
    Position,
    Scalar,
    Scatter,
    Search,
    Store,
    Total,
    found_in,
    operands,
)
from .sorting import Sort
from .tiles import Operand, Tap, Tiles
from .winograd import Winograd
from .winograd_gradient import Sums


def show_kernel(kernel: Kernel | Tiles | Sort | Winograd | Sums) -> str:
    """A kernel as text: b0, b1, ... are its buffers, inputs first; t0, t1, ... its sums and other totals."""
    if isinstance(kernel, Tiles):
        return _tiles(kernel)
    if isinstance(kernel, Winograd):
        return _winograd(kernel)
    if isinstance(kernel, Sums):
        return _sums(kernel)
    return _sort(kernel) if isinstance(kernel, Sort) else _loops(kernel)


def _head(kernel: Tiles | Sort | Winograd | Sums, kind: str) -> list[str]:
    return [f"kernel {kernel.name}({len(kernel.inputs)} in, {len(kernel.outputs)} out): {kind}"]


def _outer(variables: tuple[Var, ...], lines: list[str]) -> str:
    pad = "  "
    for v in variables:
        lines.append(f"{pad}parallel {v.name} < {v.size}:")
        pad += "  "
    return pad


def _loops(k: Kernel) -> str:
    """The loops of a kernel, and what they compute and store."""
    lines = [f"kernel {k.name}({len(k.inputs)} in, {len(k.outputs)} out)"]
    pad = _outer(k.outer, lines)
    count = 0
    for stage in k.stages:
        inner = pad
        for v in stage.variables:
            lines.append(f"{inner}for {v.name} < {v.size}:")
            inner += "  "
        names = _named([x.value for x in (*stage.reductions, *stage.carries, *stage.stores)])
        for e, name in names.items():
            lines.append(f"{inner}{name} = {show(e, {**names, e: ''})}")
        for r in stage.reductions:
            lines.append(f"{inner}t{count} {r.op}= {show(r.value, names)}")
            count += 1
        for carry in stage.carries:
            lines.append(f"{inner}t{count} = {show(carry.value, names)}")
            count += 1
        for s in stage.stores:
            place = str(s.index) if isinstance(s, Store) else _show_place(s.base, s.parts, names)
            sign = "+=" if isinstance(s, Scatter) and s.add else "="
            only = f" where {_conditions(s.within)}" if isinstance(s, Store) and s.within else ""
            lines.append(f"{inner}b{s.buffer}[{place}] {sign} {show(s.value, names)}{only}")
    return "\n".join(lines)


def _tiles(t: Tiles) -> str:
    lines = _head(t, "tiles")
    if t.border is not None:
        lines.append(f"  b{t.results[0].out.buffer}[around] = 0.0")
    pad = _outer((*t.outer, t.m, t.n), lines)
    for v in t.fold:
        lines.append(f"{pad}for {v.name} < {v.size}:")
        pad += "  "
    inner = pad
    for k, tap in enumerate(t.taps):
        lines.append(f"{inner}for k{k} < {tap.count}{_guard(tap, k)}:")
        inner += "  "
    left = _element(t.a, t.m, t.taps, "a")
    if t.along:
        left = f"{left[:-1]} + {t.n.name}]"
    if t.rows:
        left = f"{left[:-1]} + {list(t.rows)}[{t.m.name}]]"
    for s, start in enumerate(t.starts):
        columns = replace(t.b, base=t.b.base + start)
        lines.append(f"{inner}t{s} += {left} * {_element(columns, t.n, t.taps, 'b')}")
    names = _named([r.value for r in t.results])
    lines += [f"{pad}{name} = {show(e, {**names, e: ''})}" for e, name in names.items()]
    for r in t.results:
        place = _sum(r.out.base, [(r.out.stride, t.m.name), (r.step, t.n.name)])
        lines.append(f"{pad}b{r.out.buffer}[{place}] {'max' if t.fold else ''}= {show(r.value, names)}")
    return "\n".join(lines)


def _guard(tap: Tap, k: int) -> str:
    g = tap.guard
    if g is None:
        return ""
    at = f"{g.at} + {f'{g.dilation}*' if g.dilation != 1 else ''}k{k}"
    return f" where 0 <= {at} < {g.size * g.step}" + (f" in steps of {g.step}" if g.step > 1 else "")


def _element(o: Operand, var: Var, taps: tuple[Tap, ...], side: str) -> str:
    terms = [(o.stride, var.name)]
    for k, tap in enumerate(taps):
        at = f"k{k}"
        if side == "a" and tap.guard is not None:
            g = tap.guard
            at = f"({g.at} + {f'{g.dilation}*' if g.dilation != 1 else ''}k{k})" + (
                f"/{g.step}" if g.step > 1 else ""
            )
        terms.append((tap.a if side == "a" else tap.b, at))
    return f"b{o.buffer}[{_sum(o.base, terms)}]"


def _sum(base: Index, terms: list[tuple[int, str]]) -> str:
    parts = [str(base)] if base.constant != 0 else []
    parts += [f"{by}*{name}" if by != 1 else name for by, name in terms if by]
    return " + ".join(parts) or "0"


def _winograd(w: Winograd) -> str:
    lines = _head(w, "winograd")
    lines += [f"  parallel {name} < {count}:" for name, count in (("block", w.blocks), ("share", w.shares))]
    for part in (w.patches, w.products, w.results):
        lines += [f"    {line}" for line in show_kernel(part).splitlines()]
    return "\n".join(lines)


def _sums(s: Sums) -> str:
    lines = _head(s, "winograd, gradient")
    lines += [f"  parallel unit < {s.units}:", f"    for block < {s.blocks}:"]
    for part in (*s.beside, s.products):
        lines += [f"      {line}" for line in show_kernel(part).splitlines()]
    return "\n".join(lines)


def _sort(s: Sort) -> str:
    lines = _head(s, "sort")
    pad = _outer(s.outer, lines)
    order = "descending" if s.descending else "ascending"
    result = "positions" if s.positions else "elements"
    lines.append(f"{pad}sort {s.axis.name} < {s.axis.size} {order} by {show(s.value)}")
    lines.append(f"{pad}b{len(s.inputs)}[{s.place}] = {result} in order")
    return "\n".join(lines)


# -- expressions ----------------------------------------------------------------------------------------------------

#: Operations from which on what occurs several times in them is written once, and named.
_MANY = 60


def _named(values: Sequence[Expr]) -> dict[Expr, str]:
    """Names (e0, e1, ...) for what occurs several times in expressions too long to write out; parts come first."""
    found = found_in(values)
    uses = Counter([*values, *[a for e in found for a in operands(e)]])
    size: dict[Expr, int] = {}
    names: dict[Expr, str] = {}
    for e in _parts_first(found):
        size[e] = 1 + sum([size[a] for a in operands(e)])
    if sum([size[v] for v in values]) > _MANY:
        for e in size:
            if uses[e] > 1 and operands(e):
                names[e] = f"e{len(names)}"
    return names


def _parts_first(found: Sequence[Expr]) -> list[Expr]:
    """Expressions, all parts of each among them, in an order in which each comes after its parts."""
    done: dict[Expr, None] = {}
    waiting = [*found][::-1]
    while waiting:
        e = waiting[-1]
        parts = [a for a in operands(e) if a not in done]
        if parts:
            waiting.extend(parts[::-1])
        else:
            done[waiting.pop()] = None
    return list(done)


def show(e: Expr, names: Mapping[Expr, str] = MappingProxyType({})) -> str:
    """An expression as text; what has a name is written as that."""
    if names.get(e):
        return names[e]
    if isinstance(e, Literal):
        return e.value
    if isinstance(e, Scalar):
        return f"b{e.buffer}"
    if isinstance(e, Load):
        return f"b{e.buffer}[{e.index}]"
    if isinstance(e, Lookup):
        return f"b{e.buffer}[{_show_place(e.base, e.parts, names)}]"
    if isinstance(e, Search):
        return f"search(b{e.buffer}[{e.base} : +{e.size}], {show(e.key, names)})"
    if isinstance(e, Position):
        return f"({e.index})"
    if isinstance(e, Entry):
        return show_table(e.table, e.index)
    if isinstance(e, Total):
        return f"t{e.reduction}"
    if isinstance(e, Inside):
        tests = _conditions(e.conditions)
        return f"({show(e.then, names)} if {tests} else {show(e.other, names)})"
    return f"{e.op}({', '.join(show(a, names) for a in e.args)})"


def _show_place(base: Index, parts: tuple[tuple[Expr, int, int], ...], names: Mapping[Expr, str]) -> str:
    return " + ".join([str(base), *[f"{show(i, names)}*{stride}" for i, _, stride in parts]])


def _conditions(conditions: Iterable[tuple[Index, int, int]]) -> str:
    """Indices and their ranges, as people read them."""
    return " and ".join([f"{low} <= {i} < {high}" for i, low, high in conditions])
