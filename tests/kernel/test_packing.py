"""Matrices that stay from run to run, packed once: the same bits, and other values where they change."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.backends.cpu.standing import Standing
from weft.ir.dtype import float32
from weft.ir.node import Aval
from weft.kernel.packing import pack_steady
from weft.passes.pipeline import run_passes

rng = np.random.default_rng(0)


def normal(*shape: int, dtype: str = "float32") -> wf.Tensor:
    return wf.tensor(rng.normal(size=shape).astype(dtype))


def graph_of(f, *shapes):
    return run_passes(wf.compile(f).trace(*[wf.spec(s, float32) for s in shapes]).graph)


#: what is multiplied with a matrix `w` that stays
PRODUCTS = {
    "rows": lambda x, w: x @ w,
    "columns": lambda x, w: x @ w.T,
    "a linear layer": lambda x, w: nn.functional.relu(nn.functional.linear(x, w, w[:, 0])),
    "both ways": lambda x, w: (x @ w.T) @ w,
    "in slices": lambda x, w: wf.tanh((x @ w.T)[:, : len(w) // 2]) * (x @ w.T)[:, len(w) // 2 :],
    "a gradient": lambda x, w: wf.grad(lambda x: (wf.tanh(x @ w.T) ** 2).sum())(x),
}


SHAPES = (
    (1, 70, 64), (1, 300, 512), (1, 784, 300), (2, 70, 64), (3, 33, 128), (5, 200, 96), (16, 1000, 64),
    (16, 64, 30), (40, 800, 512),
)  # fmt: skip


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(("rows", "sums", "columns"), SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_are_those_without(product, rows, sums, columns, dtype):
    f, x, w = PRODUCTS[product], normal(rows, sums, dtype=dtype), normal(columns, sums, dtype=dtype)
    if product == "rows":
        w = normal(sums, columns, dtype=dtype)
    predict = wf.compile(lambda x: f(x, w))
    plain = wf.compile(lambda x, w: f(x, w))(x, w).numpy()
    assert f(x, w).numpy().tobytes() == plain.tobytes()
    for _ in range(4):
        assert predict(x).numpy().tobytes() == plain.tobytes()


def test_sequences_meet_packed_matrices():
    x, w = normal(3, 5, 64), normal(96, 64)
    predict = wf.compile(lambda x: x @ w.T)
    want = (x @ w.T).numpy()
    assert all(predict(x).numpy().tobytes() == want.tobytes() for _ in range(4))


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (lambda x, w: x @ w.T, ((4, 8), (8, 8))),  # too small
        (lambda x, w: x @ w, ((2, 4, 64), (2, 64, 64))),  # a matrix for each
        (lambda x, w: x @ w, ((4, 64), (64, 32))),  # one panel as it lies
        (lambda x, w: x @ w.T, ((4, 1 << 13), (1 << 12, 1 << 13))),  # too large to have it twice
    ],
)
def test_what_is_not_packed(f, shapes):
    graph = graph_of(f, *shapes)
    assert pack_steady(graph, {1}) is graph


def test_only_what_stays_is_packed():
    graph = graph_of(lambda x, w: (x @ w.T) @ w, (8, 64), (64, 64))
    assert pack_steady(graph, ()) is graph
    assert pack_steady(graph, {0}) is graph
    packed = pack_steady(graph, {1})
    copies = [n.aval for n in packed.nodes if n.prim.name == "identity"]
    assert copies == [Aval((2, 64, 32), float32)] * 2  # one for each way
    twice = graph_of(lambda x, w: (x @ w.T + 1) @ w.T, (8, 64), (64, 64))
    assert len([n for n in pack_steady(twice, {1}).nodes if n.prim.name == "identity"]) == 1


class TestPrograms:
    """Calls of a program, which nothing makes ready, keep what is packed as well."""

    def setup_method(self):
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
        self.x = normal(8, 64)
        self.program = wf.compile(self.net).trace(self.x)

    def check(self, times: int = 1):
        with wf.no_grad():
            for _ in range(times):
                got = self.program(self.x).numpy()
                assert got.tobytes() == self.net(self.x).numpy().tobytes()

    def kept(self) -> int:
        gc.collect()
        return sum(type(s) is Standing and s.keeps for s in gc.get_objects())

    def test_they_are_kept(self):
        before = self.kept()
        self.check(2)
        assert self.kept() == before
        self.check(6)
        assert self.kept() == before + 1
        del self.program
        assert self.kept() == before

    def test_programs_of_any_number_of_rows(self):
        """They begin with code for all sizes; what they keep they keep once they have code for theirs."""
        program = wf.compile(self.net).trace(wf.spec((wf.Dim("n"), 64), float32))
        before = self.kept()
        with wf.no_grad():
            want = self.net(self.x).numpy().tobytes()
            assert all(program(self.x).numpy().tobytes() == want for _ in range(5000))
        assert self.kept() == before + 1

    def test_other_weights(self):
        self.check(6)
        for k in range(3):
            with wf.no_grad():
                self.net[0].weight[k] = 2.0 * k
            self.check(2)
        self.net.load_state_dict({k: v * 2 for k, v in self.net.state_dict().items()})
        self.check(2)

    def test_a_profile_in_between(self):
        self.check(6)
        with wf.profile():
            self.check()
        self.check(2)

    def test_an_error_in_between(self, monkeypatch):
        self.check(6)
        with monkeypatch.context() as patch:

            def interrupt(*args):
                raise KeyboardInterrupt

            patch.setattr(Standing, "run", interrupt)
            with pytest.raises(KeyboardInterrupt):
                self.program(self.x)
        with wf.no_grad():
            self.net[0].weight[0] = 1.0
        self.check(6)
