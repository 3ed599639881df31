"""The ladder of WEFT_DEBUG: each level shows what the ones below it do, and more."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft.runtime import debug

SIGNS = {
    1: "programs are made for the",
    2: "ran 'double'",
    3: "after decompose:",
    4: "kernel k0(",
    5: "define",
}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("level", range(6))
def test_each_level_shows_more(capsys, monkeypatch, level, backend):
    monkeypatch.setattr(debug, "_said", set())
    x = wf.tensor(np.ones((3, 4), np.float32))

    def double(x):
        return wf.nn.functional.relu(x) * 2

    with wf.config(debug=level, backend=backend):
        f = wf.compile(double)
        for _ in range(2):
            f(x)
    err = capsys.readouterr().err
    for number, sign in SIGNS.items():
        expected = number <= min(level, 2 if backend == "reference" else 5)
        assert (sign in err) == expected, (number, err)
    assert ("the program 'double'" in err) == (level >= 3)
    assert err.count(SIGNS[1]) == (level >= 1)
    assert err.count(SIGNS[2]) == (2 if level >= 2 else 0)
