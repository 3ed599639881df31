"""Parameters that are computed from others: weight norm, spectral norm, and modules of one's own."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import weft as wf
from composites import spread
from weft import nn
from weft.base.errors import ArgumentError, ShapeError, StateError

parametrize, ready = nn.utils.parametrize, nn.utils.parametrizations

LAYERS = {
    "Linear": ((3, 4), spread(5, 3)),
    "Conv2d": ((3, 4, 2), spread(2, 3, 4, 5)),
    "ConvTranspose1d": ((3, 4, 2), spread(2, 3, 4)),
}


@pytest.mark.parametrize("kind", ["weight_norm", "weight_norm whole", "spectral_norm"])
@pytest.mark.parametrize("name", LAYERS)
def test_norms_are_those_of_torch(name, kind):
    torch = pytest.importorskip("torch")
    arguments, x = LAYERS[name]
    found, initial = [], {}
    for library, utils in ((torch, torch.nn.utils.parametrizations), (wf, ready)):
        layer = getattr(library.nn, name)(*arguments).double()
        apply, *whole = kind.split()
        layer = getattr(utils, apply)(layer, **({"dim": None} if whole else {}))
        if library is wf:
            theirs = found[0][0]
            assert list(layer.state_dict()) == list(theirs.state_dict())
            layer.load_state_dict({k: v.detach().numpy() for k, v in initial.items()})
        else:
            initial = {k: v.clone() for k, v in layer.state_dict().items()}
        outs = []
        for _ in range(2):  # spectral norm goes on iterating
            out = layer(library.tensor(x))
            (out * out).sum().backward()
            outs.append(out.detach().numpy())
        layer.eval()
        outs.append(layer(library.tensor(x)).detach().numpy())
        found.append((layer, outs, [p.grad.numpy() for p in layer.parameters()]))
    for a, b in zip(found[0][1] + found[0][2], found[1][1] + found[1][2], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-9)


ORTHOGONAL = [
    (options, shape)
    for options in ({}, {"orthogonal_map": "cayley"}, {"orthogonal_map": "matrix_exp"},
                    {"orthogonal_map": "householder"},
                    {"orthogonal_map": "householder", "use_trivialization": False})
    for shape in ((4, 4), (3, 5), (5, 3))
]  # fmt: skip


@pytest.mark.parametrize(("options", "shape"), ORTHOGONAL)
def test_orthogonal_matrices_are_those_of_torch(options, shape):
    torch = pytest.importorskip("torch")
    x = spread(4, shape[0])
    theirs = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(*shape).double(), **options)
    ours = ready.orthogonal(nn.Linear(*shape).double(), **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    optimizers = [torch.optim.SGD(theirs.parameters(), lr=0.1), wf.optim.SGD(ours.parameters(), lr=0.1)]
    for _ in range(3):  # away from the start
        for library, layer, optimizer in zip((torch, wf), (theirs, ours), optimizers):
            optimizer.zero_grad()
            library.tanh(layer(library.tensor(x)) - 0.3).sum().backward()
            optimizer.step()
        np.testing.assert_allclose(ours.weight.numpy(), theirs.weight.detach().numpy(), rtol=1e-7, atol=1e-9)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("options", "shape"), ORTHOGONAL)
def test_orthogonal_matrices_start_where_the_weight_points_and_stay_orthogonal(options, shape):
    layer = nn.Linear(*shape)
    weight = layer.weight.numpy().astype("float64")
    wide = weight.shape[0] < weight.shape[1]
    q, r = np.linalg.qr(weight.T if wide else weight)
    nearest = q * np.sign(np.diagonal(r))
    ready.orthogonal(layer, **options)
    np.testing.assert_allclose(layer.weight.numpy(), nearest.T if wide else nearest, atol=1e-5)
    layer.weight = layer.weight.detach() * 3  # assigned: again its orthogonal part
    np.testing.assert_allclose(layer.weight.numpy(), nearest.T if wide else nearest, atol=1e-5)
    optimizer = wf.optim.Adam(layer.parameters(), lr=0.05)

    @wf.compile
    def step(x):
        optimizer.zero_grad()
        loss = wf.tanh(layer(x)).sum()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(wf.ones((2, shape[0]))).item() for _ in range(10)]
    assert losses[-1] < losses[0]
    w = layer.weight.numpy()
    eye = w @ w.T if wide else w.T @ w
    np.testing.assert_allclose(eye, np.eye(len(eye)), atol=1e-5)


def test_what_cannot_be_made_orthogonal_is_named():
    with pytest.raises(ArgumentError, match="a matrix is expected"):
        ready.orthogonal(nn.Linear(3, 3), "bias")
    with pytest.raises(ArgumentError, match="without a base"):
        ready.orthogonal(nn.Linear(3, 3), use_trivialization=False)
    with pytest.raises(ArgumentError, match="'householder'"):
        ready.orthogonal(nn.Linear(3, 3), orthogonal_map="housholder")
    with pytest.raises(ArgumentError, match="no parameter"):
        ready.orthogonal(nn.Linear(3, 3), "wait")


def test_the_spectral_norm_becomes_one():
    layer = nn.utils.spectral_norm(nn.Linear(6, 4))
    for _ in range(30):
        layer.weight
    assert np.linalg.norm(layer.weight.numpy(), 2) == pytest.approx(1, rel=1e-3)
    bias = nn.utils.spectral_norm(nn.Linear(6, 4), "bias")
    assert np.linalg.norm(bias.bias.numpy()) == pytest.approx(1, rel=1e-5)


class Double(nn.Module):
    def forward(self, x):
        return x * 2.0

    def right_inverse(self, x):
        return x / 2.0


class Symmetric(nn.Module):
    def forward(self, x):
        return (x + x.T) / 2.0


def test_a_chain_of_modules_and_back():
    layer = nn.Linear(3, 3)
    before, original = layer.weight.numpy().copy(), layer.weight
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert layer.parametrizations.weight.original is original
    np.testing.assert_allclose(layer.weight.numpy(), (before + before.T) / 2)
    parametrize.register_parametrization(layer, "bias", Double())
    bias = layer.bias.numpy()
    layer.bias = wf.ones(3)
    assert layer.bias.tolist() == [1.0] * 3 and layer.parametrizations.bias.original.tolist() == [0.5] * 3
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "bias")
    assert isinstance(layer, nn.Linear) and repr(layer).startswith("ParametrizedLinear(")
    parametrize.register_parametrization(layer, "bias", Double())
    assert layer.bias.tolist() == [1.0] * 3 and layer.parametrizations.bias.original.tolist() == [0.25] * 3
    parametrize.remove_parametrizations(layer, "bias")
    assert layer.bias.tolist() == [1.0] * 3 and len(bias) == 3
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert type(layer) is nn.Linear and layer.weight is original
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"] or set(dict(layer.named_parameters())) == {
        "weight", "bias",
    }  # fmt: skip


def test_it_is_learned_compiled_copied_and_saved():
    net = nn.Sequential(
        nn.utils.weight_norm(nn.Linear(3, 4)), nn.Tanh(), nn.utils.spectral_norm(nn.Linear(4, 1))
    )
    plain = copy.deepcopy(net)
    x, runs = wf.tensor(spread(6, 3).astype("float32")), []
    for model, compiled in ((plain, False), (net, True)):
        optimizer = wf.optim.SGD(model.parameters(), lr=0.1)

        def step(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = wf.compile(step) if compiled else step
        runs.append([run().item() for _ in range(6)])
    assert runs[0] == runs[1] and runs[0][-1] < runs[0][0]
    again = pickle.loads(pickle.dumps(net))
    assert type(again[0]) is type(net[0])
    np.testing.assert_array_equal(again.eval()(x).numpy(), net.eval()(x).numpy())
    assert nn.utils.weight_norm(nn.Linear(3, 4)).bfloat16()(x.astype("bfloat16")).dtype is wf.bfloat16


def test_values_are_computed_once_where_asked():
    calls = []

    class Counting(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x

    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Counting())
    calls.clear()
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert len(calls) == 1
    layer.weight
    assert len(calls) == 2


def test_all_parameters_as_one_vector():
    net, other = nn.Linear(3, 2), nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (8,)
    weight = other.weight
    nn.utils.vector_to_parameters(vector, other.parameters())
    assert other.weight is weight and other.weight.tolist() == net.weight.tolist()
    with pytest.raises(ShapeError, match="8 elements together"):
        nn.utils.vector_to_parameters(wf.ones(7), net.parameters())


class Wide(nn.Module):
    def forward(self, x):
        return x[:1]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda m: parametrize.register_parametrization(m, "weigth", Double()), ArgumentError, "'weight'"),
        (lambda m: parametrize.register_parametrization(m, "weight", wf.abs), ArgumentError, "is a module"),
        (lambda m: parametrize.register_parametrization(m, "weight", Wide()), ShapeError, "unsafe=True"),
        (lambda m: parametrize.remove_parametrizations(m, "weight"), ArgumentError, "not parametrized"),
        (lambda m: setattr(parametrize.register_parametrization(m, "weight", Symmetric()), "weight", wf.ones((3, 3))),
         StateError, "no right_inverse"),
        (lambda m: parametrize.remove_parametrizations(nn.utils.weight_norm(m), "weight", False), ArgumentError,
         "several tensors"),
        (lambda m: nn.utils.weight_norm(m, dim=2), ArgumentError, "dim 2 is outside"),
        (lambda m: nn.utils.spectral_norm(m, "wight"), ArgumentError, "no parameter 'wight'"),
        (lambda m: nn.utils.spectral_norm(m, n_power_iterations=0), ArgumentError, "n_power_iterations"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call(nn.Linear(3, 3))
