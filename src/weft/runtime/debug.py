"""What `WEFT_DEBUG` prints, to the standard error stream: each level shows what the ones below it do, and more.

1: the device that programs are made for; 2: how long each run takes; 3: the graph before the passes and after each
pass that changes it; 4: the kernels as loops; 5: their LLVM code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..base.state import state
from ..ir.graph import Graph

_said: set[str] = set()


def at(level: int) -> bool:
    """Whether this level is wanted, in this thread."""
    return state.debug >= level


def say(text: str) -> None:
    """Print a line or a block."""
    print(text, file=sys.stderr, flush=True)


def say_once(level: int, text: str) -> None:
    """Print a line from `level` on, the first time that there is reason to."""
    if state.debug >= level and text not in _said:
        _said.add(text)
        say(f"weft: {text}")


def watch(graph: Graph) -> Callable[[str, Graph], None] | None:
    """For a run of passes that begins with `graph`: prints what they make, at level 3."""
    if state.debug < 3:
        return None
    last = [graph]

    def changed(name: str, new: Graph) -> None:
        if new is last[0]:
            say(f"weft: {name}: nothing to do")
        else:
            last[0] = new
            say(f"weft: after {name}:\n{new}")

    return changed
