"""Kernels of every kind as text: the loop IR, as people read it."""

from __future__ import annotations

from dataclasses import replace

from .index import Index, Var
from .loops import Kernel, named, show
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
    return _sort(kernel) if isinstance(kernel, Sort) else str(kernel)


def _head(kernel: Tiles | Sort | Winograd | Sums, kind: str) -> list[str]:
    return [f"kernel {kernel.name}({len(kernel.inputs)} in, {len(kernel.outputs)} out): {kind}"]


def _outer(variables: tuple[Var, ...], lines: list[str]) -> str:
    pad = "  "
    for v in variables:
        lines.append(f"{pad}parallel {v.name} < {v.size}:")
        pad += "  "
    return pad


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
    names = named([r.value for r in t.results])
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
