"""Code for AArch64, on whatever machine this is: run by an emulator, if there is one, and compared with the reference.

Another processor's programs are whole ones: kernels, driver and loops as the backend makes them there.
"""

from __future__ import annotations

import numpy as np
import pytest

import emulated  # noqa: F401  (the backend)
import weft as wf
from emulated import EMULATOR, EmulatedBackend
from samples import check_sample, quick_samples, reference
from weft import nn, optim
from weft.backends.cpu import host
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.nn import functional as F
from weft.runtime.buffer import Buffer

pytestmark = pytest.mark.skipif(
    EMULATOR is None, reason="qemu-aarch64, which runs programs of AArch64, is not installed"
)


def _native(cases):
    """Those that Python has no part in."""
    return [c for c in cases if not any(host.on_host(n.sig) for n in c.values[1].nodes)]


@pytest.mark.parametrize(("prim", "graph", "args"), _native(quick_samples()))
def test_samples(prim, graph, args):
    want = reference(graph, args)
    for recurs in (False, True):
        program = EmulatedBackend().compile(graph, recurs)
        got = program.run([Buffer(np.ascontiguousarray(a)) for a in args])
        for w, g in zip(want, got, strict=True):
            check_sample(prim, graph, args, g.array, w)


def _gradients(f, *places):
    """The gradients of the sum of f's results, each times another number."""

    def total(*args):
        y = f(*args)
        return (y * wf.reshape(wf.cos(wf.arange(y.size, dtype=y.dtype)), y.shape)).sum()

    return lambda *args: (f(*args), *wf.grad(total, argnums=places)(*args))


def _conv(**options):
    return _gradients(lambda x, w: F.conv2d(x, w, **options), 0, 1)


def _product(x, y):
    return F.gelu(x @ y + 1)


def _formula(x):
    several = wf.exp(-x), wf.tanh(x), F.gelu(x), wf.erf(x), wf.log(x * x + 1e-3), wf.abs(x) ** 1.7
    return *several, wf.sin(x) * wf.log1p(wf.abs(x))


def _sums(x):
    return (
        x.sum(),
        x.sum(axis=0),
        x.mean(axis=(0, 2)),
        wf.max(x, axis=1),
        wf.prod(x, axis=2),
        wf.std(x, axis=-1),
    )


def _counted(x):
    """A loop of as many turns as a value says, and a branch."""
    y = wf.while_loop(lambda v: (v * v).sum() < 1e4, lambda v: v * 1.5, x)
    return y, wf.cond(y.sum() > 0, lambda v: v + 1, lambda v: v - 1, y)


def _scanned(x, w):
    """The states of a recurrence."""
    return wf.scan(lambda h, v: (wf.tanh(v + h @ w / 8),) * 2, wf.zeros_like(x[0]), x)[1]


def _looked_up(table):
    at = wf.tensor(np.random.default_rng(3).integers(0, table.shape[0], (50, 4)))
    return F.embedding(at, table)


def _crossed(x):
    return F.cross_entropy(x, wf.arange(x.shape[0]) % x.shape[1])


def _rounded(x, y):
    """Storage types, whose sums are those of float32."""
    a, b = x.astype("bfloat16"), y.astype("float16")
    return (a @ a.T).astype("float32"), (b @ b.T).astype("float32"), (wf.exp(b) + 1).astype("float32")


def _complex(x, y):
    z = x + 1j * y
    return wf.exp(z), z @ z.T, wf.abs(z)


#: name -> (function, shapes): results and gradients, near those of float64.
CASES = {
    "elementwise": (_formula, [(1037,)]),
    "elementwise, turned": (lambda x, y: wf.exp(x.T) * y, [(70, 45), (45, 70)]),
    "softmax": (_gradients(lambda x: F.softmax(x, dim=-1), 0), [(33, 257)]),
    "softmax of long rows": (lambda x: F.log_softmax(x, dim=-1), [(3, 9001)]),
    "softmax of columns": (_gradients(lambda x: F.softmax(x, dim=0), 0), [(40, 37)]),
    "layer norm": (_gradients(lambda x, w, b: F.layer_norm(x, (96,), w, b), 0, 1, 2), [(37, 96), (96,), (96,)]),
    "batch norm": (_gradients(lambda x: F.batch_norm(x, None, None, training=True), 0), [(9, 7, 6, 5)]),
    "cross-entropy": (_gradients(_crossed, 0), [(50, 31)]),
    "sums": (_sums, [(9, 31, 6)]),
    "long sum": (lambda x: (x.mean(), (x * x).sum()), [(200_003,)]),
    "cumulative": (lambda x: (wf.cumulative_sum(x, axis=0), wf.cumulative_sum(x, axis=1)), [(60, 33)]),
    "sort": (lambda x: (wf.sort(x, axis=0), wf.sort(x, axis=1, descending=True)), [(77, 40)]),
    "look up": (_gradients(_looked_up, 0), [(30, 24)]),
    "A B": (_gradients(_product, 0, 1), [(100, 70), (70, 90)]),
    "A B, large": (lambda x, y: x @ y, [(200, 300), (300, 250)]),
    "A B, few columns": (_gradients(_product, 0, 1), [(64, 128), (128, 3)]),
    "A B, few rows": (_gradients(_product, 0, 1), [(3, 300), (300, 200)]),
    "a vector": (_gradients(_product, 0, 1), [(500,), (500, 60)]),
    "A' B, A B'": (lambda x, y: (x.T @ y, x @ y.T), [(65, 65), (65, 65)]),
    "batched": (_gradients(_product, 0, 1), [(6, 20, 17), (6, 17, 35)]),
    "repeated": (_gradients(_product, 0, 1), [(6, 20, 17), (17, 35)]),
    "convolution": (_conv(), [(2, 3, 12, 13), (16, 3, 3, 3)]),
    "convolution in steps": (_conv(stride=2, padding=1), [(2, 8, 15, 14), (24, 8, 3, 3)]),
    "convolution 7x7": (_conv(stride=2, padding=3), [(1, 3, 32, 32), (32, 3, 7, 7)]),
    "convolution of pixels": (_conv(), [(2, 32, 9, 9), (48, 32, 1, 1)]),
    "convolution in groups": (_conv(groups=2, padding=1, dilation=2), [(2, 8, 9, 9), (12, 4, 3, 3)]),
    "depthwise": (_conv(groups=20, padding=1), [(2, 20, 12, 11), (20, 1, 3, 3)]),
    "Winograd": (_conv(padding=1), [(4, 32, 14, 14), (64, 32, 3, 3)]),
    "Winograd, pooled": (lambda x, w: F.max_pool2d(F.relu(F.conv2d(x, w)), 2), [(4, 32, 14, 14), (32, 32, 3, 3)]),
    "max-pool": (_gradients(lambda x: F.max_pool2d(x, 3, stride=2, padding=1), 0), [(2, 9, 13, 12)]),
    "mean of windows": (_gradients(lambda x: F.avg_pool2d(x, 2), 0), [(2, 9, 12, 12)]),
    "pixels repeated": (_gradients(lambda x: F.interpolate(x, scale_factor=2), 0), [(2, 5, 6, 7)]),
    "pixels between": (_gradients(lambda x: F.interpolate(x, size=(9, 40), mode="bilinear"), 0), [(2, 5, 6, 17)]),
    "attention": (
        _gradients(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), 0, 1, 2),
        [(2, 3, 40, 16)] * 3,
    ),
    "loop and branch": (_counted, [(33,)]),
    "scan": (_gradients(_scanned, 0, 1), [(7, 5, 24), (24, 24)]),
    "storage types": (_rounded, [(33, 40), (40, 33)]),
    "complex": (_complex, [(17, 17), (17, 17)]),
}  # fmt: skip


def _numbers(*tensors):
    return [t.numpy() for t in tensors]


def _all(results):
    return results if isinstance(results, (tuple, list)) else (results,)


@pytest.mark.parametrize("case", CASES)
def test_results_and_gradients(case):
    f, shapes = CASES[case]
    rng = np.random.default_rng(8)
    args = [rng.normal(size=s) for s in shapes]
    with wf.config(backend="reference"):
        kind = np.float32 if case == "storage types" else np.float64
        want = _numbers(*_all(f(*[wf.tensor(a.astype(kind)) for a in args])))
    with wf.config(backend="emulated"):
        got = _numbers(*_all(f(*[wf.tensor(a.astype(np.float32)) for a in args])))
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-5 + 3e-6 * np.abs(w).max(initial=0))


def _exact():
    """Integers, booleans, random bits and what moves."""
    rng = np.random.default_rng(9)
    x, y = (wf.tensor(rng.integers(-100, 100, (37, 53)).astype(np.int8)) for _ in range(2))
    wide, bits = x.astype("int64") * 1234567, (x * 3).astype("uint32")
    wf.manual_seed(5)
    floats = wf.tensor(rng.normal(size=(37, 53)).astype(np.float32))
    at = wf.tensor(rng.integers(0, 37, 90))
    return [
        wide // 7, wide % 11, wide ^ (wide << 3), bits >> 5, bits * bits, (x > y) & (x != 3), wf.any(x > 98, axis=1),
        x.astype("int32") @ y.astype("int32").T, x.astype("int16").astype("int32").T @ y.astype("int32"),
        wf.argsort(x, axis=1, stable=True), wf.argmax(floats, axis=0), wf.topk(floats, 5)[1],
        wf.cumulative_sum(wide, axis=0), wf.take(floats, at, axis=0), wf.roll(floats, 5, axis=1)[::-1, ::2],
        floats.astype("float16"), floats.astype("bfloat16").astype("float32"), (floats * 1e3).astype("int16"),
        wf.searchsorted(wf.sort(floats[0]), floats[1]), wf.rand(33, 5), wf.randint(0, 1000, (100,)),
    ]  # fmt: skip


def test_exact_results():
    with wf.config(backend="reference"):
        want = _numbers(*_exact())
    with wf.config(backend="emulated"):
        got = _numbers(*_exact())
    for w, g in zip(want, got, strict=True):
        np.testing.assert_array_equal(g, w)


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Dropout(0.2), nn.Linear(40, 10)), (32, 50)),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 49, 10)
        ),
        (8, 1, 16, 16),
    ),
    "attention": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True), nn.Flatten(), nn.Linear(96, 10)
        ),
        (8, 6, 16),
    ),
    "lstm": (lambda: _Last(), (6, 7, 20)),
}  # fmt: skip


class _Last(nn.Module):
    """An LSTM whose last state is judged."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(20, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def _losses(name):
    """Those of three steps of Adam, as a compiled function."""
    make, shape = MODELS[name]
    wf.manual_seed(7)
    model, rng = make(), np.random.default_rng(7)
    x, y = wf.tensor(rng.normal(size=shape).astype(np.float32)), wf.tensor(rng.integers(0, 10, shape[0]))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    @wf.compile
    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return [step(x, y).item() for _ in range(3)]


@pytest.mark.parametrize("name", MODELS)
def test_training(name):
    with wf.config(backend="reference"):
        want = _losses(name)
    with wf.config(backend="emulated"):
        got = _losses(name)
    assert want[2] < want[0]
    np.testing.assert_allclose(got, want, rtol=2e-4)


def test_time_passes():
    """The driver sees when its time is up, between two products."""
    graph = trace_graph(lambda x, y: [x @ y @ y], [Aval((300, 300), float32)] * 2)
    program, x = EmulatedBackend().compile(graph), np.ones((300, 300), np.float32)
    program.slice = 1
    with pytest.raises(TimeoutError):
        program.run([Buffer(x), Buffer(x)])
    program.slice = 1 << 40
    np.testing.assert_array_equal(program.run([Buffer(x), Buffer(x)])[0].array, x @ x @ x)
