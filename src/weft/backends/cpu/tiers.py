"""From generic kernels to special ones: what recurs is compiled for its own sizes.

A program starts with generic code for its small kernels. When it has run so often that this code has taken about as
long as compiling would, the special functions take its place, one address each in the table of steps. They read the
same tables and give the same bits, so a program that is running meanwhile may go on with either.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...base.locks import new_lock
from ...kernel.schedule import Step
from ...kernel.target import Target
from . import forms
from .assemble import Assembled
from .work import SPECIAL

_changing = new_lock(rank=28)


class Tiers:
    """Counts the runs of a program's generic kernels."""

    def __init__(self, uses: dict[Step, forms.Use], lost: Sequence[int]) -> None:
        """`uses`: the code of each step, which special code replaces; `lost`: by how much longer each step takes in one
        run, if it has generic code."""
        found = [(s, n) for (s, use), n in zip(uses.items(), lost, strict=True) if use.values is not None]
        self.generic = [s for s, _ in found]
        self._uses = uses
        self._replaced: list[forms.Use] = []  # a program that is running meanwhile may be in it
        self._runs = 0
        kernels, total = len({id(s.kernel) for s in self.generic}), sum([n for _, n in found])
        self._enough = 8 * SPECIAL * kernels // total if total else 0

    def ran(self, code: Assembled, target: Target) -> None:
        """Note one more run; compile the special kernels if there have been enough."""
        self._runs += 1
        if self._runs <= self._enough:
            return
        with _changing:
            steps, self.generic = self.generic, []
            if not steps:
                return
            special = dict(zip(steps, forms.functions([s.kernel for s in steps], target), strict=True))
            self._replaced += [self._uses[s] for s in steps]
            self._uses.update(special)
            for i, step in enumerate(code.origins):
                if step in special:
                    code.words[i, 0] = special[step].code.address
