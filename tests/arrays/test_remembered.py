"""Functions that remember what they build: the same nodes as when they are called plainly, and nothing else."""

import inspect

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.arrays import remembered as module
from weft.arrays.remembered import remembered
from weft.base.errors import ArgumentTypeError, DTypeError, ShapeError

F = nn.functional


@pytest.fixture
def calls(monkeypatch):
    """Counts the calls that were worked out."""
    found = []
    first = module._first
    monkeypatch.setattr(module, "_first", lambda f, *rest: found.append(f) or first(f, *rest))
    return found


def structure(*tensors):
    """What tensors are computed by, as plain data."""
    number = {}

    def walk(n):
        if n not in number:
            key = (
                n.sig,
                n.flags,
                tuple(walk(a) for a in n.args),
                n.value if isinstance(n.value, float) else None,
            )
            number[n] = key
        return number[n]

    return [walk(t._node) for t in tensors]


def data(*shape, grad=False):
    x = wf.asarray(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    x.requires_grad = grad
    return x


FUNCTIONS = {
    "reshape": lambda x: x.reshape(-1, 2),
    "swapaxes": lambda x: wf.swapaxes(x, 0, 1),
    "split": lambda x: wf.split(x, 2, axis=1),
    "mean": lambda x: wf.mean(x, axis=0, keepdims=True),
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "linear": lambda x: F.linear(x, x * 2.0, None),
    "layer_norm": lambda x: F.layer_norm(x, (4,), None, None, 1e-3),
    "max_pool2d": lambda x: F.max_pool2d(x[None, None], 2),
    "cross_entropy": lambda x: F.cross_entropy(x, wf.asarray([0, 1, 2, 3])),
    "softmax": lambda x: F.softmax(x, 1),
    "concat": lambda x: wf.concat([x, x * 2.0], axis=1),
    "stack": lambda x: wf.stack((x, x * 2.0)),
    "where": lambda x: wf.where(x > 0.0, x, 0.5),
    "methods": lambda x: x.sum(1).mean() + x.T.max(axis=0, keepdims=True),
    "sums over letters": lambda x: wf.einsum("ij,jk->ki", x, x * 2.0),
    "another type": lambda x: x.astype(wf.float64),
    "between bounds": lambda x: wf.clip(x, -0.5, 0.5),
    "rows and columns": lambda x: x[None, 1:, -1],
    "a vector's product": lambda x: x @ x[0],
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_built_is_what_was_built(name, grad):
    x = data(4, 4, grad=grad) * 1.0
    found = [FUNCTIONS[name](x) for _ in range(3)]
    several = [f if isinstance(f, tuple) else (f,) for f in found]
    assert type(found[0]) is type(found[1])
    assert structure(*several[0]) == structure(*several[1]) == structure(*several[2])
    with wf.no_grad():
        plain = FUNCTIONS[name](x)
    assert all(not t.requires_grad for t in (plain if isinstance(plain, tuple) else (plain,)))
    for a, b in zip(several[0], several[2]):
        assert a.requires_grad == b.requires_grad == grad
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_call_of_known_types_is_not_worked_out_again(calls):
    for _ in range(3):
        F.silu(data(3, 5) * 1.0)
    assert len(calls) == 1
    F.silu(data(5, 3) * 1.0)
    F.silu(data(3, 5, grad=True) * 1.0)
    with wf.no_grad():
        F.silu(data(3, 5, grad=True) * 1.0)
    assert len(calls) == 4


def test_a_derivative_around_does_not_change_what_is_known(calls):
    x = data(3, 6, grad=True) * 1.0
    for _ in range(3):
        want = wf.grad(lambda v: F.silu(v * x).sum())(data(3, 6) * 1.0)
        with wf.no_grad():
            found = wf.grad(lambda v: F.silu(v * x).sum())(data(3, 6) * 1.0)
        np.testing.assert_array_equal(found.numpy(), want.numpy())
        assert want.requires_grad and not found.requires_grad
        assert F.silu(x).requires_grad
    assert len([f for f in calls if f.__name__ == "silu"]) == 3


def test_tensors_made_of_options_alone():
    for _ in range(3):
        assert [wf.arange(n).dtype for n in (3, 3.0)] == [wf.int64, wf.float32]
        assert wf.arange(3).tolist() == [0, 1, 2] and wf.arange(1, 3).tolist() == [1, 2]
        assert wf.arange(wf.tensor(4)).tolist() == [0, 1, 2, 3]
        assert wf.zeros((2, 1)).tolist() == [[0.0], [0.0]] and wf.ones((2,), dtype=wf.int8).tolist() == [1, 1]
        assert wf.zeros_like(data(3), dtype="int32").dtype == wf.int32 and wf.eye(2).tolist() == [
            [1, 0],
            [0, 1],
        ]
        x = wf.zeros(2)
        x += 1.0
        assert x.tolist() == [1.0, 1.0] and wf.zeros(2).tolist() == [0.0, 0.0]
        with wf.config(eager=True):
            assert wf.zeros(2).tolist() == [0.0, 0.0]
        assert wf.zeros(2).requires_grad_().requires_grad and not wf.zeros(2).requires_grad
        with pytest.raises(wf.errors.ArgumentError):
            wf.zeros((2,), device="gpu")
    x = data(3)
    assert x.float() is x and x.astype(x.dtype, copy=False) is x and x.astype(x.dtype) is not x


def test_lists_of_tensors(calls):
    x, y = data(2, 3) * 1.0, data(4, 3) * 2.0
    for _ in range(3):
        assert wf.concat([x, y]).shape == (6, 3) and wf.concat((x, y)).shape == (6, 3)
    assert len(calls) == 2  # a list and a tuple
    np.testing.assert_array_equal(wf.concat([y, x]).numpy(), np.concatenate([y.numpy(), x.numpy()]))
    assert wf.concat([x, x, y]).shape == (8, 3) and wf.stack([x, x], axis=1).shape == (2, 2, 3)
    assert wf.concat([x, np.ones((1, 3), np.float32)]).shape == (3, 3)
    for _ in range(2):
        with pytest.raises(ShapeError):
            wf.stack([x, y])


def test_numbers_beside_tensors_are_looked_at_every_time():
    x = data(3) * 1.0
    integers = wf.asarray([1, -1, 2], dtype=wf.int8)
    for number in (0.0, -0.0, 2, float("inf")):
        expected = np.where(x.numpy() > 0, x.numpy(), np.float32(number))
        assert wf.where(x > 0, x, number).numpy().tobytes() == expected.tobytes()
    assert np.isnan(wf.where(x > 5, x, float("nan")).numpy()).all()
    for _ in range(2):
        assert wf.where(integers > 0, integers, 100).dtype == wf.int8
        with pytest.raises(DTypeError, match="does not fit int8"):
            wf.where(integers > 0, integers, 1000)
        with pytest.raises(DTypeError, match="must be boolean"):
            wf.where(integers, integers, 100)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda n, x: wf.where(x > 0.0, n, x), lambda n, a: np.where(a > 0, n, a)),
        (lambda n, x: wf.stack([n, n + 1.0]), lambda n, a: np.stack([n, n + 1])),
        (lambda n, x: wf.concat([n.reshape(1), x]), lambda n, a: np.concatenate([[n], a])),
        (lambda n, x: wf.clip(x, n, None), lambda n, a: np.maximum(a, n)),
        (lambda n, x: F.relu(n) + n.reshape(1, 1), lambda n, a: (np.maximum(n, 0) + n).reshape(1, 1)),
        (lambda n, x: wf.broadcast_to(n, (2, 2)), lambda n, a: np.full((2, 2), n)),
    ],
    ids=["where", "stack", "concat", "clip", "relu", "broadcast_to"],
)
@pytest.mark.parametrize(
    "made",
    [lambda n: wf.zeros(()) + n, wf.tensor, lambda n: wf.full((), n, dtype=wf.float32)],
    ids=["sum", "tensor", "full"],
)
def test_operands_that_are_numbers_are_not_part_of_what_is_built(function, expected, made):
    x = data(4) * 1.0
    for number in (0.5, -2.0, 3.0, 0.25):
        got = function(made(number), x).numpy()
        np.testing.assert_array_equal(got, expected(np.float32(number), x.numpy()).astype(np.float32))


def test_options_are_told_apart_by_type_too():
    x = data(2, 2)
    assert x.reshape(4, 1).shape == (4, 1)
    for wrong in ((4.0, 1), (4, 1.0), ((4.0, 1),)):
        with pytest.raises((ArgumentTypeError, ShapeError)):
            x.reshape(*wrong)
    assert F.threshold(-x * x, 0.0, -0.0).numpy().tobytes() != F.threshold(-x * x, 0.0, 0.0).numpy().tobytes()


def test_one_tensor_twice_is_not_two():
    x, y = data(3, 3), data(3, 3) + 1.0
    for _ in range(2):
        np.testing.assert_allclose(F.linear(x, x).numpy(), x.numpy() @ x.numpy().T, rtol=1e-5)
        np.testing.assert_allclose(F.linear(x, y).numpy(), x.numpy() @ y.numpy().T, rtol=1e-5)
        np.testing.assert_allclose(F.linear(y, y).numpy(), y.numpy() @ y.numpy().T, rtol=1e-5)


def test_what_depends_on_more_than_arguments_is_called_every_time():
    outside = [data(2), data(2) + 1.0]
    changed, called = wf.zeros(2), []

    @remembered
    def captures(x):
        called.append(x)
        return x + outside[len(called) % 2]

    @remembered
    def changes(x):
        changed.__iadd__(x)
        return x * 2.0

    @remembered
    def gives_back(x):
        return x

    @remembered
    def looks(x, y):
        return x * 2.0 if y.item() > 0 else x * 3.0

    @remembered
    def nothing(*tensors):
        return [t * 2.0 for t in tensors]

    x = data(2)
    for turn in range(4):
        captures(x)
        changes(x)
        assert gives_back(x) is x
        assert looks(wf.ones(1), wf.asarray([turn % 2 - 0.5])).item() == 3 - turn % 2
        assert nothing() == []
    assert len(called) == 4
    np.testing.assert_allclose(changed.numpy(), 4 * x.numpy(), rtol=1e-6)
    torn = [nn.functional.rrelu(-wf.ones(8), training=True).tolist() for _ in range(2)]
    assert torn[0] != torn[1]


def test_batch_statistics_move_every_time():
    layer = nn.BatchNorm1d(3)
    x = data(5, 3)
    seen = []
    for _ in range(3):
        layer(x)
        seen.append(layer.running_mean.tolist())
    assert seen[0] != seen[1] != seen[2]


def test_lines_are_those_of_each_call():
    table, indices = wf.ones((2, 2)), wf.asarray([5])
    for line in (1, 2):
        if line == 1:
            wrong, here = F.embedding(indices, table), inspect.currentframe().f_lineno
        else:
            wrong, here = F.embedding(indices, table), inspect.currentframe().f_lineno
        with pytest.raises(IndexError, match=f"test_remembered.py:{here}"):
            wrong.numpy()


def test_inside_of_traces_and_eager_mode():
    x = data(4, 4)
    want = F.gelu(x).numpy()
    with wf.config(eager=True):
        for _ in range(2):
            y = F.gelu(x)
            assert y._node.value is not None
    np.testing.assert_array_equal(wf.compile(F.gelu)(x).numpy(), want)
    np.testing.assert_allclose(wf.vmap(F.gelu)(x).numpy(), want, rtol=1e-6)
    np.testing.assert_array_equal(F.gelu(x).numpy(), want)


def test_signatures_and_words_are_those_of_the_function():
    assert "weight" in inspect.signature(F.linear).parameters and "weight" in F.linear.__doc__
    with pytest.raises(ArgumentTypeError, match="linear"):
        F.linear(wf.ones((2, 2)), nonsense=1)


def test_tensors_of_other_classes_are_left_to_the_function():
    class Loud(wf.Tensor):
        __slots__ = ()

        def __mul__(self, other):
            return super().__mul__(other) + 100.0

    @remembered
    def doubled(x):
        return x * 2.0

    loud = Loud(wf.ones(2)._node)
    for _ in range(2):
        assert doubled(loud).tolist() == [102.0, 102.0]
        assert doubled(wf.ones(2)).tolist() == [2.0, 2.0]
