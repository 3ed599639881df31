"""What all optimisers share: options, parameter groups, the step, saved state."""

import copy
import gc
import pickle
from functools import partial
from weakref import ref

import numpy as np
import pytest

from optim_cases import KINDS, OPTIONS, loss_of, parameter
from weft import nn
from weft.arrays.compile import compile
from weft.arrays.creation import ones, tensor
from weft.arrays.grad import no_grad
from weft.base.errors import ArgumentError, DTypeError, GradientError, ShapeError, StateError
from weft.optim import SGD, Adam, AdamW, Muon


def descend(p, optimizer, scale=1.0):
    """One step on a loss whose gradient is `scale` everywhere."""
    optimizer.zero_grad()
    (p * scale).sum().backward()
    optimizer.step()


def test_options_are_tensors_that_change_in_place():
    optimizer = Adam([parameter([1.0])], lr=0.1)
    (group,) = optimizer.param_groups
    lr = group["lr"]
    group["lr"] = 0.05
    assert group["lr"] is lr
    assert lr.item() == 0.05
    group["betas"] = (0.5, 0.25)
    assert [b.item() for b in group["betas"]] == [0.5, 0.25]
    group["lr"] *= 0.5
    assert lr.item() == 0.025
    assert set(group) == {"params", "lr", "betas", "eps", "weight_decay", "amsgrad", "maximize"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: 0.5,
        lambda: tensor(0.5),
        lambda: tensor([0.5]),
        lambda: tensor(0.5, dtype="float64"),
        lambda: np.float32(0.5),
        lambda: tensor(0.25, requires_grad=True) * 2.0,
    ],
)
def test_learning_rates_of_every_kind(make):
    p = parameter([1.0])
    descend(p, SGD([p], lr=make()))
    assert p.item() == 0.5


def test_a_float64_tensor_is_kept_and_read_at_every_step():
    lr = tensor(0.5, dtype="float64")
    assert SGD([parameter([1.0])], lr=lr).param_groups[0]["lr"] is lr


@pytest.mark.parametrize("wrap", [lambda f: f, compile], ids=["eager", "compiled"])
def test_an_option_switched_on_later_takes_part(wrap):
    """weight_decay 0 leaves its term out of the program; setting it later must bring it back."""
    p = parameter([2.0])
    optimizer = SGD([p], lr=0.5)
    step = wrap(lambda: descend(p, optimizer, 0.0))
    step()
    assert p.item() == 2.0
    optimizer.param_groups[0]["weight_decay"] = 1.0
    step()
    assert p.item() == 1.0
    optimizer.param_groups[0]["maximize"] = True
    step()
    assert p.item() == 0.5  # the decay is part of the loss that is descended, whatever the sign of the rest
    optimizer.param_groups[0]["weight_decay"] = 0
    step()
    assert p.item() == 0.5


@pytest.mark.parametrize("wrap", [lambda f: f, compile], ids=["eager", "compiled"])
def test_momentum_switched_on_later(wrap):
    p = parameter([0.0])
    optimizer = SGD([p], lr=1.0)
    step = wrap(lambda: descend(p, optimizer))
    step()
    assert p.item() == -1.0
    optimizer.param_groups[0]["momentum"] = 0.5
    for expected in (-2.0, -3.5):
        step()
        assert p.item() == expected


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda p: SGD([]), ArgumentError, "empty list"),
        (lambda p: SGD(p), ArgumentError, "single tensor"),
        (lambda p: SGD([p, p]), ArgumentError, "updated once"),
        (lambda p: SGD([{"params": [p]}, {"params": [p]}]), ArgumentError, "updated once"),
        (lambda p: SGD([1.0]), ArgumentError, "float as parameter 0"),
        (lambda p: SGD([tensor([1, 2])]), DTypeError, "int64"),
        (lambda p: SGD([p * 2.0]), GradientError, "computed from other tensors"),
        (lambda p: SGD([p], lr=-1.0), ArgumentError, "lr must be finite and at least 0, got -1.0"),
        (lambda p: SGD([p], lr=float("nan")), ArgumentError, "lr must be"),
        (lambda p: SGD([p], lr="fast"), ArgumentError, "must be a number"),
        (lambda p: SGD([p], lr=True), ArgumentError, "must be a number"),
        (lambda p: SGD([p], lr=(0.1, 0.2)), ArgumentError, "takes 1 number,"),
        (lambda p: SGD([p], lr=tensor([0.1, 0.2])), ShapeError, "one number"),
        (lambda p: SGD([p], lr=tensor(True)), DTypeError, "bool"),
        (lambda p: SGD([p], nesterov=True), ArgumentError, "nesterov needs a momentum"),
        (lambda p: SGD([p], momentum=0.9, dampening=0.1, nesterov=True), ArgumentError, "no dampening"),
        (lambda p: SGD([p], maximize=1), ArgumentError, "True or False"),
        (lambda p: SGD([{"params": [p], "rate": 1.0}]), ArgumentError, "no option 'rate'"),
        (lambda p: SGD([{"lr": 1.0}]), ArgumentError, '"params"'),
        (lambda p: SGD([{"params": []}]), ArgumentError, "empty"),
        (lambda p: SGD([("w", p), parameter([1.0])]), ArgumentError, "names or none"),
        (lambda p: SGD(lr=-1.0), ArgumentError, "lr must be"),
        (lambda p: SGD().step(), ArgumentError, "no parameters"),
        (lambda p: SGD([p]).bind([p]), ArgumentError, "already"),
        (lambda p: Adam([p], betas=(1.0, 0.9)), ArgumentError, "less than 1"),
        (lambda p: Adam([p], betas=(0.9,)), ArgumentError, "takes 2 numbers"),
        (lambda p: Adam([p], betas=0.9), ArgumentError, "takes 2 numbers"),
        (lambda p: SGD([p]).param_groups[0].__setitem__("params", []), ArgumentError, "add_param_group"),
        (lambda p: SGD([p]).param_groups[0].__delitem__("lr"), ArgumentError, "cannot be removed"),
        (lambda p: SGD([p]).load_state_dict({}), StateError, "state_dict"),
        (lambda p: SGD().load_state_dict({}), StateError, "no parameters"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make(parameter([1.0]))


def test_lazy_layers_must_see_data_first():
    """Their parameters are replaced when they take their shape: an optimiser would hold on to the old ones."""
    with pytest.raises(StateError, match="Call the model once"):
        SGD(nn.LazyLinear(3).parameters())


@pytest.mark.parametrize(
    ("gradient", "error", "says"),
    [
        ([1.0, 2.0], ShapeError, r"parameter w is float32 \(2,\), the parameter float32 \(3,\)"),
        (np.ones(3), DTypeError, "float64"),
    ],
)
def test_gradients_that_do_not_fit(gradient, error, says):
    p = parameter([1.0, 2.0, 3.0])
    optimizer = SGD([("w", p)], lr=1.0)
    p._cell.grad = tensor(gradient)
    with pytest.raises(error, match=says):
        optimizer.step()
    assert p.numpy().tolist() == [1.0, 2.0, 3.0]


# -- the step ---------------------------------------------------------------------------------------------------


def test_bind_gives_parameters_later():
    p = parameter([1.0])
    optimizer = SGD(lr=0.5)
    assert not optimizer.bound
    optimizer.bind([p])
    descend(p, optimizer)
    assert p.item() == 0.5


def test_zero_grad():
    p = parameter([1.0, 2.0])
    optimizer = SGD([p], lr=0.5)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is None
    (p * p).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.numpy().tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None


def test_the_step_computes_what_is_pending():
    p = parameter([1.0])
    optimizer = SGD([p], lr=0.5)
    loss = (p * p).sum()
    loss.backward()
    optimizer.step()
    assert p._cell.node.value is not None and loss._cell.node.value is not None


def test_closure_recomputes_the_loss():
    p = parameter([1.0])
    optimizer = SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with no_grad():
        assert optimizer.step(closure).item() == 1.0
    assert p.item() == 0.0


def test_old_values_survive_a_step():
    p = parameter([1.0])
    optimizer = SGD([p], lr=0.5)
    before, seen = p.detach(), p.numpy()
    descend(p, optimizer)
    assert before.item() == 1.0 and seen.tolist() == [1.0] and p.item() == 0.5


def test_captured_state_has_names():
    p = parameter([1.0])
    optimizer = Adam([("w", p)])

    @compile
    def step():
        (p * p).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    names = step.programs[0].capture.names
    assert {"group0.lr", "group0.betas1", "group0.w.exp_avg", "group0.w.step"} <= set(names)


# -- state ------------------------------------------------------------------------------------------------------


def run(optimizer, params, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(*params).backward()
        optimizer.step()


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_a_resumed_run_gives_the_same_bits(kind, options, rng):
    start = [rng.normal(size=(3, 2)), rng.normal(size=2)]
    params = [parameter(s) for s in start]
    optimizer = KINDS[kind](params, **options)
    run(optimizer, params, 3)
    saved, values = optimizer.state_dict(), [p.numpy().copy() for p in params]
    run(optimizer, params, 3)
    others = [parameter(v) for v in values]
    other = KINDS[kind](others, **{**options, "lr": 0.7})
    other.load_state_dict(saved)
    run(other, others, 3)
    for a, b in zip(params, others, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_state_dict_is_a_snapshot():
    params = [parameter([1.0, 2.0]), parameter([1.0])]
    optimizer = Adam(params)
    run(optimizer, params, 1)
    saved = optimizer.state_dict()
    kept = saved["state"][0]["exp_avg"].numpy().copy()
    run(optimizer, params, 2)
    assert np.array_equal(saved["state"][0]["exp_avg"].numpy(), kept)
    assert saved["state"][0]["step"].item() == 1
    options = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False)
    assert saved["param_groups"] == [{**options, "params": [0, 1]}]


def test_state_of_pytorch_loads():
    """The layout is PyTorch's, so its saved state can be taken over."""
    torch = pytest.importorskip("torch")
    p = torch.tensor([1.0, 2.0], requires_grad=True)
    theirs = torch.optim.Adam([p], lr=0.1)
    (p * p).sum().backward()
    theirs.step()
    saved = theirs.state_dict()
    mine = Adam([parameter(p.detach().numpy())])
    known = set(mine.param_groups[0])
    groups = [{k: v for k, v in g.items() if k in known} for g in saved["param_groups"]]
    slots = {i: {k: t.numpy() for k, t in s.items()} for i, s in saved["state"].items()}
    mine.load_state_dict({"state": slots, "param_groups": groups})
    (found,) = mine.state.values()
    assert found["step"].item() == 1
    np.testing.assert_array_equal(found["exp_avg_sq"].numpy(), slots[0]["exp_avg_sq"])
    assert mine.param_groups[0]["lr"].item() == 0.1


def changed(change):
    optimizer = Adam([("w", parameter([1.0, 2.0])), ("b", parameter([1.0]))])
    saved = copy.copy(optimizer.state_dict())
    change(saved)
    return optimizer, saved


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("state"), "state_dict"),
        (lambda s: s["param_groups"].append({}), "2 parameter groups, the optimiser 1"),
        (lambda s: s["param_groups"][0]["params"].pop(), "1 parameters, the optimiser's 2"),
        (lambda s: s["param_groups"][0].pop("lr"), "lacks the option 'lr'"),
        (lambda s: s["param_groups"][0].update(momentum=0.1), "'momentum', which Adam does not know"),
        (lambda s: s["param_groups"][0].update(lr=-1.0), "lr must be"),
        (lambda s: s["state"].pop(1), "parameter b has no state"),
        (lambda s: s["state"][0].pop("exp_avg"), "parameter w: the slot 'exp_avg' is missing"),
        (lambda s: s["state"][0].update(momentum_buffer=tensor(1.0)), "'momentum_buffer' is unknown"),
        (lambda s: s["state"][1].update(exp_avg=tensor([1.0, 2.0])), r"shape \(2,\), expected \(1,\)"),
    ],
)
def test_state_that_does_not_fit(change, says):
    optimizer, saved = changed(change)
    with pytest.raises(StateError, match=says):
        optimizer.load_state_dict(saved)


def test_nothing_changes_when_the_state_does_not_fit():
    def change(saved):
        saved["param_groups"][0]["lr"] = 0.5
        saved["state"][0]["step"] = tensor(7)
        del saved["state"][1]["exp_avg"]
        saved["state"][1]["step"] = tensor([1, 2])

    optimizer, saved = changed(change)
    with pytest.raises(StateError, match=r"(?s)exp_avg.*step") as caught:
        optimizer.load_state_dict(saved)
    assert str(caught.value).count("\n  - ") == 2
    assert optimizer.param_groups[0]["lr"].item() == 1e-3
    assert all(s["step"].item() == 0 for s in optimizer.state.values())


def test_a_step_is_worked_out_again_for_another_shape_and_for_a_slot_that_is_gone():
    p = tensor([1.0, 1.0])  # which does not require a gradient, so that it may change its shape
    optimizer = SGD([p], lr=0.5, momentum=0.5)
    for count in (2, 3):
        if count != p.size:
            p._cell.rebind(ones(count)._node)
            optimizer.param_groups[0].slots[0].clear()
        for expected in (0.5, -0.25):  # 1 - 0.5, then - 0.5 * (1 + 0.5)
            p.grad = ones(count)
            optimizer.step()
            np.testing.assert_array_equal(p.numpy(), np.full(count, expected, np.float32))


def test_pickle_and_deepcopy_in_the_middle_of_training():
    def run(copy_at, copied):
        p = parameter([1.0, 2.0])
        optimizer = Adam([p], lr=0.1)
        for i in range(4):
            if i == copy_at:
                p, optimizer = copied((p, optimizer))
            descend(p, optimizer)
            optimizer.zero_grad()
        return p.numpy()

    expected = run(None, None)
    for copied in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        assert np.array_equal(run(2, copied), expected)


@pytest.mark.parametrize("kind", [SGD, Adam, partial(Muon, others=AdamW())])
def test_it_is_freed_without_the_garbage_collector(kind):
    gc.disable()
    try:
        made = kind([parameter([[1.0, 2.0], [3.0, 4.0]])], lr=0.1)
        gone = ref(made)
        del made
        assert gone() is None
    finally:
        gc.enable()
