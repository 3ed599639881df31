"""How many threads programs run on."""

from __future__ import annotations

import contextlib
import os

from ..base.errors import ArgumentError
from ..base.state import version
from .os import cpu_count

_wanted: int | None = None


def get_num_threads() -> int:
    """How many threads programs run on.

    Unless `set_num_threads` says otherwise, that is `WEFT_NUM_THREADS`, or else the number of processors this process
    may use when it first asks: those of its affinity mask, and no more than the quotas of its control groups allow.
    """
    global _wanted
    if _wanted is None:
        _wanted = _from_environment() or cpu_count()
    return _wanted


def set_num_threads(count: int) -> None:
    """Run programs on `count` threads from now on, the caller's own among them. Results are the same, to the bit.

    Raises:
        ArgumentError: if `count` is not a positive integer.
    """
    global _wanted
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST:
        raise ArgumentError(
            f"the number of threads must be a positive integer, at most {MOST}, got {count!r}"
        )
    _wanted = count
    version.bump()  # programs that are laid out know their threads


if hasattr(os, "register_at_fork"):  # in a child there are no threads but the one that forked
    os.register_at_fork(after_in_child=version.bump)

#: More threads than any machine has processors are a slip of the pen.
MOST = 4096


def _from_environment() -> int | None:
    given = os.environ.get("WEFT_NUM_THREADS", "").strip()
    if not given:
        return None
    with contextlib.suppress(ValueError):
        if 1 <= int(given) <= MOST:
            return int(given)
    raise ArgumentError(
        f"WEFT_NUM_THREADS must be a positive integer, at most {MOST}, got {given!r}; "
        "unset it to use all processors that this process may use"
    )
