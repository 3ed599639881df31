"""Names of PyTorch and NumPy that are not here: the error says what to write instead, and that is there."""

from __future__ import annotations

import functools
import re

import pytest

import weft as wf
from weft.arrays.absent import FUNCTIONS


@pytest.mark.parametrize(("name", "reason"), FUNCTIONS.items())
def test_what_is_said_to_be_absent_is_and_what_is_offered_is_there(name, reason):
    assert not hasattr(wf, name)
    for path in re.findall(r"weft\.([\w.]*\w)", reason):
        functools.reduce(getattr, path.split("."), wf)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cat", "module 'weft' has no attribute 'cat': use weft.concat"),
        ("softmax", ": use weft.nn.functional.softmax"),
        ("matmull", r"Did you mean 'matmul'\?"),
        ("qqqq", "has no attribute 'qqqq'$"),
    ],
)
def test_the_error_says_what_to_write(name, said):
    with pytest.raises(AttributeError, match=said):
        getattr(wf, name)
