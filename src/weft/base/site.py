"""Where in the user's program an operation was asked for."""

from __future__ import annotations

import os
import sys
from types import CodeType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_internal: dict[str, bool] = {}

Site = tuple[CodeType, int] | None


def is_internal(filename: str) -> bool:
    """Whether a file is one of Weft's own."""
    known = _internal.get(filename)
    if known is None:
        known = os.path.abspath(filename).startswith(_PACKAGE)
        _internal[filename] = known
    return known


def make_internal(filename: str) -> None:
    """Let a file count as one of Weft's own, such as the script that starts the command `weft`."""
    _internal[filename] = True


def user_site(skip: int = 0) -> Site:
    """The innermost frame outside the package, as (code, instruction); the line is worked out only when printed.

    `skip`: so many callers are known to be inside. Python makes an object of every frame that is looked at.
    """
    frame = sys._getframe(1 + skip)
    internal = _internal
    while frame is not None:
        code = frame.f_code
        inside = internal.get(code.co_filename)
        if inside is None:
            inside = is_internal(code.co_filename)
        if not inside:
            return code, frame.f_lasti
        frame = frame.f_back  # type: ignore[assignment]
    return None


def describe_site(site: Site) -> str:
    """`file.py:12, in train`, or an empty string where the place is unknown."""
    if not site or site[0] is None:
        return ""
    code, lasti = site
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= lasti < end and number is not None:
            line = number
            break
    return f"{code.co_filename}:{line}, in {code.co_name}"
