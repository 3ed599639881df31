"""Every pass, where it has something to do: the same meaning, a graph that verifies, nothing to do the second time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import weft as wf
import weft.nn.functional as F
from passes_shared import unread_result
from weft.backends.cpu.regions import all_passes
from weft.backends.reference.interpreter import Interpreter
from weft.ir.graph import Graph, verify

Shape = tuple[int, ...]


def whole(*shape: int, dtype: str = "float32", most: int = 2) -> np.ndarray:
    """Whole numbers, so that sums are exact in any order."""
    return np.random.default_rng(len(shape)).integers(-most, most + 1, shape).astype(dtype)


def counted(x, w):
    """Products with a matrix that is the same in every step, scaled in each."""
    start = wf.zeros((), dtype="int64")
    return wf.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] @ (w * 2)), (start, x))[1]


def chosen(x, i):
    return wf.switch(i[0], [lambda v: v + 1, lambda v: v * 2, lambda v: -v], x)


def upsampled(x, w):
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), w)


def few_images(x, w):
    """A convolution and its gradients."""
    return F.conv2d(x, w, padding=1), wf.grad(
        lambda x, w: (F.conv2d(x, w, padding=1) ** 2).sum(), argnums=(0, 1)
    )(x, w)


#: All passes; the second input is a matrix that stays from run to run.
PASSES = all_passes({1})

#: pass -> a function for which it does something, and arguments
CASES: dict[str, tuple[Callable[..., object] | Graph, tuple[np.ndarray, ...]]] = {
    "dead": (unread_result(), (whole(3, 4), whole(4, 4))),
    "decompose": (lambda x: F.relu(x) + F.relu(x * 2), (whole(3, 4),)),
    "simplify": (lambda x: wf.reshape(wf.reshape(x * 1, (4, 3)), (3, 4)), (whole(3, 4),)),
    "cse": (lambda x: (x * x) + (x * x), (whole(3, 4),)),
    "hoist out of loops": (counted, (whole(6, 64), whole(64, 64, most=1))),
    "pack constants of loops": (counted, (whole(6, 64), whole(64, 64, most=1))),
    "plain indices": (chosen, (whole(4), np.array([1], np.uint8))),
    "trim convolutions": (few_images, (whole(2, 5, 1, 2), whole(4, 5, 3, 3))),
    "multiply outright": (lambda x, y: wf.einsum("i,j->ij", x, y), (whole(5), whole(7))),
    "multiply bfloat16": (
        lambda x, y: x.astype("bfloat16") @ y.astype("bfloat16"),
        (whole(64, 256), whole(256, 64)),
    ),
    "widen storage types": (lambda x: x.astype("float16") * x.astype("float16") + 1, (whole(3, 4),)),
    "group small integers": (
        lambda x, y: wf.matmul(x, y, dtype="int32"),
        (whole(64, 64, dtype="int8"), whole(64, 64, dtype="int8")),
    ),
    "split complex numbers": (lambda x: (x * (x + 1)).real, (whole(3, 4, dtype="complex64"),)),
    "join in steps": (lambda x: wf.concat([x + i for i in range(70)]), (whole(2),)),
    "sum by rows": (lambda x: wf.sum(x, axis=(0, 2, 3)), (whole(2, 3, 40, 40),)),
    "long dot products": (F.linear, (whole(2, 8192), whole(3, 8192))),
    "reduce in blocks": (wf.sum, (whole(300_000),)),
    "convolve before repeating": (upsampled, (whole(2, 8, 6, 6), whole(4, 8, 1, 1))),
    "fold taps": (lambda x, w: F.conv2d(x, w), (whole(2, 48, 17, 15), whole(3, 48, 3, 3))),
    "separate operands": (few_images, (whole(1, 3, 9, 9), whole(256, 3, 3, 3))),
    "spread windows": (lambda x: F.max_pool2d(x, 3, 2, 1), (whole(2, 4, 9, 9),)),
    "copy results": (F.conv2d, (whole(2, 3, 9, 9), whole(4, 3, 3, 3))),
    "pack steady matrices": (F.linear, (whole(5, 64), whole(64, 64))),
}

#: Passes that fit a graph to instructions which not every processor has.
BY_PROCESSOR = ("multiply bfloat16", "group small integers")


def before(name: str) -> tuple[Graph, list[np.ndarray]]:
    """The graph of a case after all passes that come before, and its arguments."""
    function, arguments = CASES[name]
    if isinstance(function, Graph):
        graph = function
    else:
        graph = wf.compile(function).trace(*[wf.tensor(a) for a in arguments]).graph
    for other, step in PASSES:
        if other == name:
            break
        graph = step(graph)
    return graph, list(arguments)


def values(graph: Graph, arguments: list[np.ndarray]) -> list[np.ndarray]:
    return [np.asarray(o) for o in Interpreter(graph).evaluate(arguments)]


def test_each_has_a_case():
    assert list(CASES) == [name for name, _ in PASSES]


@pytest.mark.parametrize(("name", "step"), PASSES, ids=[name for name, _ in PASSES])
def test_a_pass_keeps_the_meaning_verifies_and_is_done(name, step):
    graph, arguments = before(name)
    after = step(graph)
    if after is graph and name in BY_PROCESSOR:
        pytest.skip("this processor has no instructions for it")
    assert after != graph
    verify(after)
    for got, want in zip(values(after, arguments), values(graph, arguments), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    assert step(after) == after
