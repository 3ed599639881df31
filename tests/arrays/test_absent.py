"""Names of PyTorch and NumPy that are not here: the error says what to write instead, and that is there."""

from __future__ import annotations

import functools
import re
import subprocess
import sys

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
        ("qqqq", "has no attribute 'qqqq'$"),
    ],
)
def test_the_error_says_what_to_write(name, said):
    with pytest.raises(AttributeError, match=said):
        getattr(wf, name)


def test_python_offers_a_similar_name_where_it_shows_the_error():
    """Not where `hasattr` asks."""
    with pytest.raises(AttributeError, match=r"has no attribute 'matmull'$") as caught:
        wf.matmull
    assert caught.value.name == "matmull" and caught.value.obj is wf
    shown = subprocess.run(
        [sys.executable, "-c", "import weft\nweft.matmull"], capture_output=True, text=True
    )
    assert shown.stderr.rstrip().endswith("Did you mean: 'matmul'?")
