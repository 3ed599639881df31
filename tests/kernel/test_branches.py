"""Numbers of branches of any integer type choose what they chose before."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from compiled import run
from weft.ir.dtype import int64
from weft.ir.graph import verify
from weft.kernel.branches import plain_indices
from weft.passes.pipeline import run_passes


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
@pytest.mark.parametrize("number", [0, 1, 2, 3, 100, -1, -100, 1 << 63])
def test_numbers_that_have_no_branch_mean_the_nearest(dtype, number):
    if not np.iinfo(dtype).min <= number <= np.iinfo(dtype).max:
        pytest.skip("no such number")
    x, i = np.arange(4.0), np.array(number, dtype)

    def choose(x, i):
        return wf.switch(i, [lambda v: v + 1, lambda v: v * 2, lambda v: -v], x)

    graph = run_passes(wf.compile(choose).trace(wf.tensor(x), wf.tensor(i)).graph)
    after = plain_indices(graph)
    verify(after)
    assert plain_indices(after) == after
    assert [n.args[0].dtype for n in after.nodes if n.value is None and n.prim.name == "cond"] == [int64]
    want = [x + 1, x * 2, -x][min(max(number, 0), 2)]
    np.testing.assert_array_equal(run(after, [x, i])[0], want)
    np.testing.assert_array_equal(run(graph, [x, i])[0], want)
