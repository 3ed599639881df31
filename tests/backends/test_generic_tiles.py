"""Contractions of every size: the bits are those of the contractions that are compiled for their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import weft as wf
from compiled import programs_of
from weft import nn, optim
from weft.backends.cpu import library, tiers
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.processor import host_target
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.generic_tiles import generalize_tiles
from weft.kernel.tiles import Tiles
from weft.ops.contraction import matmul

functional = nn.functional


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """Code that happens to be on disk would be used in place of generic code."""
    monkeypatch.setattr(library, "is_at_hand", lambda digest: False)
    with wf.config(backend="cpu"):
        yield


def tiles_of(program):
    """(how many contractions a program has, how many of them are generic)"""
    found = [u.values is not None for s, u in program._uses.items() if isinstance(s.kernel, Tiles)]
    return len(found), sum(found)


def both(function, arrays, threads=1):
    """What a function gives with generic kernels and with special ones, and how many tiles were generic."""
    found, counts = [], []
    before = wf.get_num_threads()
    for generic in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("weft.backends.cpu.program.hardly_pays", lambda lost, generic=generic: generic)
            patch.setattr(CpuBackend, "at_once", lambda self, graph: None)
            made = programs_of(patch)
            wf.runtime.executor.programs.clear()
            try:
                wf.set_num_threads(threads)
                given_ = [wf.tensor(a).realize() for a in arrays]
                made.clear()
                outs = function(*given_)
                outs = outs if isinstance(outs, tuple) else (outs,)
                found.append([o.realize().numpy().tobytes() for o in outs])
            finally:
                wf.set_num_threads(before)
            counts.append(sum(tiles_of(p)[1] for p in made))
    wf.runtime.executor.programs.clear()
    assert counts[1] == 0
    assert found[0] == found[1]
    return counts[0]


def random(seed, *shape, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


EPILOGUES = {
    "as it is": lambda p, bias: p,
    "bias and relu": lambda p, bias: functional.relu(p + bias),
    "scaled": lambda p, bias: wf.tanh(p * 0.25) / p.shape[-1],
    "a column": lambda p, bias: p * bias[0] + wf.arange(p.shape[-1], dtype=p.dtype),
    "as another type": lambda p, bias: (p > 0.5).astype("uint8"),
    "turned": lambda p, bias: wf.permute_dims(p, (*range(p.ndim - 2), p.ndim - 1, p.ndim - 2)) * 2,
    "backwards": lambda p, bias: wf.flip(p, axis=-1) - 1,
    "lower triangle": lambda p, bias: wf.tril(p) + 1,
    "looked up": lambda p, bias: p + wf.take(bias, wf.asarray([0, 1] * p.shape[-1])[: p.shape[-1]]),
}


@st.composite
def products(draw):
    sizes = st.one_of(st.integers(1, 40), st.sampled_from([48, 64, 65, 100, 129, 200]))
    m, n, k = draw(sizes), draw(sizes), draw(st.one_of(sizes, st.just(800)))
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 3)]))
    dtype = draw(st.sampled_from(["float32", "float32", "float64", "float16", "bfloat16", "int8"]))
    turned = draw(st.tuples(st.booleans(), st.booleans()))
    shared = draw(st.booleans())
    return m, n, k, batch, dtype, turned, shared, draw(st.sampled_from(sorted(EPILOGUES)))


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@example(product=(1, 64, 64, (), "float32", (False, True), False, "bias and relu"), threads=2)
@example(product=(17, 17, 16, (2, 3), "float32", (False, True), False, "scaled"), threads=3)
@example(product=(129, 50, 65, (), "bfloat16", (True, False), False, "turned"), threads=2)
@given(product=products(), threads=st.integers(1, 3))
def test_products_have_the_same_bits(product, threads):
    m, n, k, batch, dtype, turned, shared, epilogue = product
    x = random(1, *batch, *((k, m) if turned[0] else (m, k)))
    y = random(2, *(() if shared else batch), *((n, k) if turned[1] else (k, n)))
    bias = random(3, n)

    def function(x, y, bias):
        if dtype == "int8":
            x, y = ((v * 20).astype("int8") for v in (x, y))
        else:
            x, y = x.astype(dtype), y.astype(dtype)
        x, y = x.realize(), y.realize()
        left = wf.swapaxes(x, -1, -2) if turned[0] else x
        right = wf.swapaxes(y, -1, -2) if turned[1] else y
        found = wf.matmul(left, right, dtype="int32").astype("float32") if dtype == "int8" else left @ right
        return EPILOGUES[epilogue](found, bias.astype(found.dtype))

    both(function, [x, y, bias], threads)


def test_all_layouts_of_a_product_have_a_generic_form():
    x, y, bias = random(1, 19, 35), random(2, 35, 40), random(3, 40)
    assert both(lambda x, y, b: x @ y + b, [x, y, bias]) == 1
    assert both(lambda x, y, b: x @ wf.swapaxes(y, 0, 1) + b, [x, y.T.copy(), bias]) == 1
    assert both(lambda x, y, b: wf.swapaxes(x, 0, 1) @ y + b, [x.T.copy(), y, bias]) == 1


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 20), st.integers(9, 50)),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 2),
    threads=st.integers(1, 2),
)
def test_convolutions_and_their_gradients_have_the_same_bits(
    sizes, kernel, stride, padding, dilation, threads
):
    batch, channels, out, length = sizes
    x, w = random(1, batch, channels, length), random(2, out, channels, kernel)

    def function(x, w):
        def loss(x, w):
            y = functional.conv1d(x, w, stride=stride, padding=padding, dilation=dilation)
            return wf.sum(functional.gelu(y)), y

        (_, y), (dx, dw) = wf.value_and_grad(loss, argnums=(0, 1), has_aux=True)(x, w)
        return y, dx, dw

    both(function, [x, w], threads)


def test_images_have_the_same_bits():
    x, w = random(1, 2, 8, 17, 23), random(2, 20, 8, 3, 3)
    for options in ({"padding": 1}, {"stride": 2, "padding": 1}, {"dilation": 2}, {}):
        both(lambda x, w, options=options: functional.relu(functional.conv2d(x, w, **options)), [x, w], 2)


def test_the_gates_of_an_lstm_are_one_generic_kernel():
    layer = nn.LSTM(12, 20)
    assert both(lambda x: layer(x)[0], [random(1, 7, 5, 12)], 2) >= 2


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)

    def forward(self, x):
        b, t, d = x.shape
        parts = wf.permute_dims(self.qkv(x).reshape(b, t, 3, 2, 16), (2, 0, 3, 1, 4))
        found = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        return self.out(wf.permute_dims(found, (0, 2, 1, 3)).reshape(b, t, d))


def training(lengths, monkeypatch):
    """A compiled step of training, called with sequences of some lengths: (losses and parameters, programs)."""
    wf.manual_seed(0)
    model = Attention()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @wf.compile
    def step(x, y):
        loss = wf.mean((model(x) - y) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    data = [(wf.tensor(random(t, 3, t, 32)), wf.tensor(random(99 * t, 3, t, 32))) for t in lengths]
    for x in (*[x for pair in data for x in pair], *model.parameters()):
        x.realize()
    made = programs_of(monkeypatch)
    losses = [step(x, y).numpy().tobytes() for x, y in data]
    return (losses, [p.numpy().tobytes() for p in model.parameters()]), made


def test_a_new_length_waits_for_no_code_of_its_own(monkeypatch):
    _, made = training([21, 22, 23, 24, 25, 24, 21], monkeypatch)
    assert len(made) == 5
    found = [tiles_of(p) for p in made]
    assert [generic for _, generic in found[:3]] == [0, 0, 0]  # few sizes, which are known to recur
    for count, generic in found[3:]:
        assert generic == count > 5
    codes = [{u.code for s, u in p._uses.items() if isinstance(s.kernel, Tiles)} for p in made]
    assert codes[3] == codes[4]


def test_a_network_has_the_same_bits_whichever_code_it_runs(monkeypatch):
    lengths = [9, 14, 33, 12, 14, 12, 9, 33, 17]
    generic, made = training(lengths, monkeypatch)
    assert any(tiles_of(p)[1] for p in made)
    monkeypatch.setattr("weft.backends.cpu.program.hardly_pays", lambda lost: False)
    special, made = training(lengths, monkeypatch)
    assert not any(tiles_of(p)[1] for p in made)
    assert generic == special


def test_what_recurs_gets_code_of_its_own(monkeypatch):
    monkeypatch.setattr(tiers, "SPECIAL", 2_000)
    _, made = training([7, 8, 9, *[14] * 30], monkeypatch)
    assert [p._tiers.generic for p in made] == [[], [], [], []]
    assert len([u for u in made[3]._tiers._replaced if u.values is not None]) > 5  # as it was made
    assert tiles_of(made[3])[1] == 0  # for whatever is laid out from now on


def test_sums_that_need_much_memory_have_no_generic_form():
    def product(k):
        return trace_graph(lambda x, y: [matmul(x, y)], [Aval((8, k), float32), Aval((k, 64), float32)])

    target = host_target()
    for k, there in ((1_000, True), (1_000_000, False)):
        (step,) = [s for s in CpuBackend().compile(product(k)).steps if isinstance(s.kernel, Tiles)]
        assert (generalize_tiles(step.kernel, 1, target) is not None) == there
