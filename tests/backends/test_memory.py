"""Memory of results is used again only when nobody can see it."""

import numpy as np
import pytest

import weft as wf
from weft.backends.cpu import memory


@pytest.fixture(params=["reference", "cpu"])
def backend(request):
    with wf.config(backend=request.param):
        yield


def _busy(x):
    """Programs with results of the same size, thrown away."""
    for i in range(5):
        (x * float(i) - 100.0).numpy()


EXPORTS = {
    "numpy": lambda y: y.numpy(),
    "slice": lambda y: y.numpy()[1:],
    "transposed": lambda y: np.asarray(y).reshape(2, 2).T,
    "dlpack": lambda y: np.from_dlpack(y),
}


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_exports_keep_their_values_when_the_tensor_is_gone(backend, export):
    x = wf.ones(4)
    y = x * 2 + wf.tensor([0.0, 1.0, 2.0, 3.0])
    held = export(y)
    want = held.copy()
    del y
    _busy(x)
    np.testing.assert_array_equal(held, want)


def test_exports_of_state_keep_their_values_when_it_is_replaced(backend):
    w = wf.ones(4)

    @wf.compile
    def step(x):
        w[...] = w * 2.0 + x

    step(wf.ones(4))
    held = w.numpy()
    want = held.copy()
    for _ in range(3):
        step(wf.ones(4))
    np.testing.assert_array_equal(held, want)
    assert w.numpy().tolist() == [31.0] * 4


def test_memory_that_nobody_sees_is_used_again():
    with wf.config(backend="cpu"):
        y = wf.ones(1 << 12) * 3.0
        address = y.numpy().ctypes.data
        del y
        assert any(at == address for stack in memory._free.values() for _, at, _ in stack)


def test_kernels_wait_for_the_results_of_steps_on_the_host():
    x, y = (wf.tensor(np.linspace(a, 1.0, 3), dtype="float64") for a in (-1.0, 0.2))

    def f(x, y):
        s, v = wf.cond(wf.tensor(True), lambda: ((x * x * y).sum(), wf.sin(x)), lambda: (y.sum(), y))
        return s * v.sum()

    found = []
    for name in ("reference", "cpu"):
        with wf.config(backend=name):
            h = wf.hessian(f, (0, 1))(x, y)
            found.append([h[i][j].numpy() for i in range(2) for j in range(2)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_idle_blocks_of_a_size_that_is_not_needed_any_more_are_let_go():
    memory.trim()
    sizes = 1 << 20, 1 << 21
    for size in sizes:
        memory.give_back(memory.take_block(size))
    memory.exchange(*sizes)
    assert [len(memory._free.get(size, [])) for size in sizes] == [0, 1]
    memory.exchange(1 << 21, (1 << 21) - 1)  # served by the same blocks
    assert len(memory._free[1 << 21]) == 1
