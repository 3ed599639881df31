"""Memory for a program that is being made, handed out by the system meanwhile.

The first run of a program writes to memory that the process never had. For each page of it the system has to find one
and to fill it with zeros, which takes longer than many a kernel that writes there. How large results are is known
before a program is planned, and planning keeps one core busy: another one can see to the pages.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from ...runtime.threads import get_num_threads
from . import memory
from .threads import touch_function

#: Smaller blocks are not worth it; more bytes than this are not asked for on suspicion.
_SMALL, _MOST = 1 << 20, 256 << 20


def foresee(sizes: Iterable[int]) -> threading.Thread | None:
    """Have idle blocks of so many bytes ready before they are taken, as far as that can be done beside other work.

    What is idle already counts. None where there is nothing to do, or only one thread to do it.
    """
    if get_num_threads() < 2 or memory.POISONED:
        return None
    fresh: list[memory.Block] = []
    room = _MOST
    try:
        for size, count in Counter([memory.rounded(n) for n in sizes if n >= _SMALL]).items():
            for _ in range(count - memory.idle(size)):
                if (room := room - size) >= 0:
                    fresh.append(memory.fresh(size))
    except MemoryError:  # whoever takes the blocks will see it, and say so
        return None
    if not fresh:
        return None
    for block in fresh:  # it may be taken and written to at once
        memory.give_back(block)
    thread = threading.Thread(
        target=_touch, args=(touch_function(), fresh[::-1]), name="weft-memory", daemon=True
    )
    thread.start()
    return thread


def _touch(touch: Callable[[int, int], None], blocks: list[memory.Block]) -> None:
    while blocks:
        raw, address, _ = blocks.pop()
        touch(address, len(raw) - memory.ALIGNMENT)
