"""Muon: against PyTorch, and together with another optimiser for what is not a matrix."""

import pickle

import numpy as np
import pytest

import weft as wf
from optim_cases import parameter
from weft import nn
from weft.arrays.creation import tensor
from weft.base.errors import ArgumentError
from weft.optim import LBFGS, SGD, AdamW, Muon, OneCycleLR

MUON = [
    dict(lr=0.1),
    dict(lr=0.1, nesterov=False, weight_decay=0.0, momentum=0.5),
    dict(lr=0.1, adjust_lr_fn="match_rms_adamw", ns_steps=3, ns_coefficients=(2.0, -1.5, 0.5)),
]


@pytest.mark.parametrize("options", MUON)
def test_muon_equals_pytorch_in_double_precision(options, rng, monkeypatch):
    torch = pytest.importorskip("torch")
    # PyTorch rounds the iteration to bfloat16; here it keeps its precision.
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    start = [rng.normal(size=s) for s in ((3, 2), (2, 4), (5, 1))]
    ours = [parameter(s, "float64") for s in start]
    theirs = [torch.tensor(s, requires_grad=True) for s in start]
    mine, other = Muon(ours, **options), torch.optim.Muon(theirs, **options)
    for _ in range(20):
        for params, optimizer in ((ours, mine), (theirs, other)):
            optimizer.zero_grad()
            sum((p * p * p * p).sum() + (p * 0.3).sum() for p in params).backward()
            optimizer.step()
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_muon_makes_singular_values_about_one(rng):
    p = parameter(rng.normal(size=(6, 4)))
    optimizer = Muon([p], lr=1.0, weight_decay=0.0, adjust_lr_fn="original")
    before = p.numpy().copy()
    (p * tensor(rng.normal(size=(6, 4)).astype("float32"))).sum().backward()
    optimizer.step()
    values = np.linalg.svd((before - p.numpy()) / np.sqrt(6 / 4), compute_uv=False)
    assert values.min() > 0.5 and values.max() < 1.5


def network():
    wf.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 7))


def ends(net):
    return [*net[0].parameters(), *net[3].parameters()]


def learn(net, *optimizers, steps=5, compiled=False):
    tokens = tensor([0, 3, 6, 2])

    def step():
        loss = nn.functional.cross_entropy(net(tokens), (tokens + 1) % 7)
        for o in optimizers:
            o.zero_grad()
        loss.backward()
        for o in optimizers:
            o.step()
        return loss

    run = wf.compile(step) if compiled else step
    losses = [run().item() for _ in range(steps)]
    assert not compiled or run.traces == 1
    return losses


@pytest.mark.parametrize("compiled", [False, True])
def test_others_are_moved_as_by_an_optimiser_of_their_own(compiled):
    one, two = network(), network()
    hidden = {"params": one[1].parameters()}
    together = Muon(
        [hidden, {"params": ends(one), "others": True, "lr": 3e-3}], lr=0.02, others=AdamW(lr=1e-2)
    )
    apart = Muon([two[1].weight], lr=0.02), AdamW([two[1].bias], lr=1e-2), AdamW(ends(two), lr=3e-3)
    assert learn(one, together, compiled=compiled) == learn(two, *apart)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_matrices_are_told_from_others_with_names_too():
    net = network()
    optimizer = Muon(net.named_parameters(), others=SGD(lr=0.1, momentum=0.9))
    assert [(optimizer.kind_of(g).name, g.names) for g in optimizer.param_groups] == [
        ("Muon", ["0.weight", "1.weight", "3.weight"]),
        ("SGD", ["1.bias", "3.bias"]),
    ]
    assert [type(o) for o in (optimizer, optimizer.others)] == [Muon, SGD] and not optimizer.others.bound


def test_the_state_of_both_is_saved_and_goes_on():
    one, two = network(), network()
    first, second = [Muon(n.parameters(), lr=0.02, others=AdamW(lr=1e-2)) for n in (one, two)]
    learn(one, first)
    two.load_state_dict(one.state_dict())
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert learn(one, first) == learn(two, second)
    with pytest.raises(wf.errors.StateError, match="AdamW does not know"):
        saved = first.state_dict()
        saved["param_groups"][1]["momentum"] = 0.9
        second.load_state_dict(saved)


def test_a_cycle_moves_the_momentum_of_both():
    optimizer = Muon(network().parameters(), others=AdamW())
    OneCycleLR(optimizer, max_lr=[0.02, 0.002], total_steps=10)
    matrices, rest = optimizer.param_groups
    assert matrices["momentum"].item() == rest["betas"][0].item() == 0.95
    assert matrices["lr"].item() == pytest.approx(0.02 / 25) and rest["lr"].item() == pytest.approx(
        0.002 / 25
    )


def test_a_trainer_knows_it_by_name():
    wf.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 6)).astype("float32")
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    history = wf.Trainer(net, "cross_entropy", "muon").fit(
        x, (x[:, 0] > 0).astype(int), epochs=40, progress=False
    )
    assert history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: Muon([p], others=AdamW([parameter([1.0])])), "others is an optimiser without parameters"),
        (lambda p: Muon([p], others="adamw"), "others is an optimiser without parameters"),
        (lambda p: Muon([p], others=LBFGS()), "others is an optimiser without parameters"),
        (lambda p: Muon([p, p], others=AdamW()), "in this optimiser already"),
        (lambda p: Muon([p, {"params": [p], "others": True}], others=AdamW()), "a parameter group is a dict"),
        (
            lambda p: Muon([{"params": [p]}, {"params": [p], "others": True}], others=AdamW()),
            "in this optimiser already",
        ),
        (lambda p: Muon([{"params": [p], "others": True}]), "no option 'others'"),
        (lambda p: Muon([{"params": []}], others=AdamW()), "is empty"),
    ],
)
def test_errors(make, says):
    with pytest.raises(ArgumentError, match=says):
        make(parameter([[1.0, 2.0]]))
