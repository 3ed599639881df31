"""Models of the library through files: their state, and as programs that need no model."""

import os
import subprocess
import sys

import numpy as np
import pytest

import weft as wf
from weft import inspect, nn, optim
from weft.base.errors import FormatError, StateError


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(64, 10),
    )  # fmt: skip


def mlp():
    return nn.Sequential(nn.Linear(64, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 10))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(8, 12, batch_first=True)
        self.head = nn.Linear(12, 10)

    def forward(self, x):
        out, _ = self.cell(x)
        return self.head(out[:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.head(self.norm(x + y).mean(1))


MODELS = {
    "cnn": (cnn, (1, 8, 8)),
    "mlp": (mlp, (64,)),
    "lstm": (Recurrent, (8, 8)),
    "attention": (Attentive, (8, 8)),
}


def images(n, shape, seed=0):
    return wf.tensor(np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32))


def trained(make, shape):
    model = make()
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    x, y = images(8, shape), wf.tensor(np.arange(8) % 10)
    for _ in range(2):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    return model, optimizer


@pytest.mark.parametrize("name", MODELS)
def test_state_comes_back(tmp_path, name):
    make, shape = MODELS[name]
    model, _ = trained(make, shape)
    wf.save(model, tmp_path / "model.weft")
    other = make()
    other.eval()
    x = images(3, shape, seed=1)
    before = other(x).numpy()
    other.load_state_dict(wf.load(tmp_path / "model.weft"))
    assert not np.array_equal(before, other(x).numpy())
    np.testing.assert_array_equal(other(x).numpy(), model(x).numpy())
    wf.save(other, tmp_path / "again.weft")
    assert (tmp_path / "again.weft").read_bytes() == (tmp_path / "model.weft").read_bytes()


def test_state_of_another_architecture(tmp_path):
    wf.save(cnn(), tmp_path / "model.weft")
    model = mlp()
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    with pytest.raises(StateError, match="the state saved from Sequential does not fit Sequential"):
        model.load_state_dict(wf.load(tmp_path / "model.weft"))
    for k, v in model.state_dict().items():
        np.testing.assert_array_equal(v.numpy(), before[k])


def test_a_checkpoint_continues_exactly(tmp_path):
    """Model and optimiser in one file: training goes on as if it had not stopped."""
    model, optimizer = trained(mlp, (64,))
    wf.save({"model": model, "optimizer": optimizer, "epoch": 2}, tmp_path / "checkpoint.weft")
    found = wf.load(tmp_path / "checkpoint.weft")
    other = mlp()
    other.load_state_dict(found["model"])
    second = optim.Adam(other.parameters(), lr=1e-2)
    second.load_state_dict(found["optimizer"])
    assert found["epoch"] == 2
    x, y = images(8, (64,)), wf.tensor(np.arange(8) % 10)
    for m, o in ((model, optimizer), (other, second)):
        m.train()
        for _ in range(3):
            loss = nn.functional.cross_entropy(m(x), y)
            o.zero_grad()
            loss.backward()
            o.step()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("name", MODELS)
def test_programs_run_for_every_batch_size(tmp_path, name):
    make, shape = MODELS[name]
    model, _ = trained(make, shape)
    predict = wf.compile(model)
    with wf.no_grad():
        wf.save(predict.trace(wf.spec((wf.Dim("batch"), *shape))), tmp_path / "program.weft")
    program = wf.load(tmp_path / "program.weft")
    for n in (1, 3, 5):
        x = images(n, shape, seed=n)
        np.testing.assert_array_equal(program(x).numpy(), model(x).numpy())
    assert set(program.state) <= set(model.state_dict())
    assert set(program.state) >= {k for k, _ in model.named_parameters()}
    drawing = inspect.draw(program)
    assert len(drawing.boxes) > 5 and drawing.svg
    assert inspect.count(program).parameters >= sum(p.size for p in model.parameters())


def test_a_process_without_the_model(tmp_path):
    model, _ = trained(Recurrent, (8, 8))
    with wf.no_grad():
        wf.save(wf.compile(model).trace(wf.spec((wf.Dim("batch"), 8, 8))), tmp_path / "program.weft")
    x = images(3, (8, 8), seed=4)
    np.save(tmp_path / "x.npy", x.numpy())
    code = "import sys, numpy as np, weft as wf; np.save('y.npy', wf.load('program.weft')(np.load('x.npy')).numpy())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), model(x).numpy())


def test_a_whole_training_step_as_a_program(tmp_path):
    """Model, optimiser, random generator: everything that the step reads and replaces goes with it."""
    model = cnn()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = images(8, (1, 8, 8)), wf.tensor(np.arange(8) % 10)

    @wf.compile
    def step(x, y):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step(x, y).item()
    step(x, y).item()
    wf.save(step.trace(x, y), tmp_path / "step.weft")
    program = wf.load(tmp_path / "step.weft")
    for _ in range(3):
        assert program(x, y).item() == step(x, y).item()
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(program.state[name].numpy(), parameter.numpy())


def test_a_damaged_program_of_a_model(tmp_path):
    model, _ = trained(mlp, (64,))
    with wf.no_grad():
        wf.save(wf.compile(model).trace(wf.spec((2, 64))), tmp_path / "p.weft")
    data = bytearray((tmp_path / "p.weft").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "p.weft").write_bytes(data)
    with pytest.raises(FormatError, match="altered or damaged"):
        wf.load(tmp_path / "p.weft")


# -- control flow and derivatives of one's own through files --------------------------------------------------


def come_back(tmp_path, function, *args):
    """The program of `function` for these arguments, from a file."""
    with wf.no_grad():
        wf.save(wf.compile(function).trace(*args), tmp_path / "p.weft")
    return wf.load(tmp_path / "p.weft")


N = wf.Dim("n")
VECTOR = np.linspace(-1, 2, 5, dtype=np.float32)


@wf.custom_vjp
def straight_through(x):
    return wf.sign(x)


straight_through.defvjp(lambda x: (wf.sign(x), None), lambda residuals, ct: (ct * 3,))


@wf.custom_jvp
def doubled(x):
    return x * 2


doubled.defjvp(lambda primals, tangents: (primals[0] * 2, tangents[0] * 7))


FUNCTIONS = {
    "scan": lambda x: wf.scan(lambda c, v: (c + v * v, wf.tanh(c)), wf.zeros(()), x)[0],
    "cond": lambda x: wf.cond(x.sum() > 0, lambda v: (v * v).sum(), lambda v: v.sum(), x),
    "while": lambda x: wf.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (wf.tensor(0), x))[
        1
    ].sum(),
    "checkpoint": lambda x: wf.checkpoint(lambda v: wf.tanh(v * v).sum())(x),
    "custom vjp": lambda x: (straight_through(x) * x).sum(),
    "custom jvp": lambda x: (doubled(x) * x).sum(),
    "batched custom vjp": lambda x: wf.vmap(lambda v: straight_through(v) * v)(x).sum(),
    "inner gradient": lambda x: wf.grad(lambda v: (wf.exp(v) * v).sum())(x).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("size", [5, N], ids=["fixed", "open"])
def test_values_and_gradients_come_back(tmp_path, name, size):
    function, x = FUNCTIONS[name], wf.tensor(VECTOR)
    program = come_back(tmp_path, function, wf.spec((size,)))
    np.testing.assert_array_equal(program(x).numpy(), function(x).numpy())
    if name == "while":
        return  # has no reverse mode
    np.testing.assert_allclose(wf.grad(program)(x).numpy(), wf.grad(function)(x).numpy(), rtol=1e-6)
    _, found = wf.jvp(program, (x,), (wf.ones((5,)),))
    _, wanted = wf.jvp(function, (x,), (wf.ones((5,)),))
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"while"}))
def test_programs_that_hold_their_own_gradient(tmp_path, name):
    function, x = FUNCTIONS[name], wf.tensor(VECTOR)
    program = come_back(tmp_path, wf.value_and_grad(function), x)
    value, gradient = program(x)
    wanted, expected = wf.value_and_grad(function)(x)
    np.testing.assert_array_equal(value.numpy(), wanted.numpy())
    np.testing.assert_array_equal(gradient.numpy(), expected.numpy())


def test_a_training_step_of_a_recurrent_model(tmp_path):
    model = Recurrent()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    x, y = images(4, (8, 8)), wf.tensor([0, 1, 2, 3])

    @wf.compile
    def step(x, y):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step(x, y).item()
    step(x, y).item()
    wf.save(step.trace(x, y), tmp_path / "step.weft")
    program = wf.load(tmp_path / "step.weft")
    for _ in range(2):
        assert program(x, y).item() == step(x, y).item()


def test_vmap_of_a_program(tmp_path):
    program = come_back(tmp_path, lambda x: wf.tanh(x).sum(), wf.spec((N,)))
    x = wf.tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    np.testing.assert_allclose(wf.vmap(program)(x).numpy(), np.tanh(x.numpy()).sum(1), rtol=1e-6)
