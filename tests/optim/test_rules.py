"""The rules of the optimisers: against PyTorch, compiled, on parameters of every type."""

import numpy as np
import pytest

import weft as wf
from optim_cases import IN_TORCH, KINDS, OPTIONS, loss_of, parameter
from weft import optim
from weft.arrays.compile import compile
from weft.arrays.creation import tensor
from weft.base.errors import ArgumentError, DTypeError, ShapeError, TraceError
from weft.optim import LBFGS, SGD, Adam, Muon, RAdam, RMSprop, Rprop


@pytest.fixture
def torch_default():
    """PyTorch with a default dtype, in which it keeps the numbers of some rules."""
    torch = pytest.importorskip("torch")

    def chosen(dtype):
        torch.set_default_dtype(getattr(torch, dtype))
        return torch

    yield chosen
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "options"), IN_TORCH)
def test_twenty_steps_equal_pytorch(kind, options, dtype, rng, torch_default):
    torch = torch_default(dtype)
    start = [rng.normal(size=(3, 2)).astype(dtype), rng.normal(size=2).astype(dtype)]
    ours = [parameter(s, dtype) for s in start]
    theirs = [torch.tensor(s, requires_grad=True) for s in start]
    mine = KINDS[kind](ours, **options)
    other = getattr(torch.optim, kind)(theirs, **options)
    tolerance = 2e-6 if dtype == "float32" else 1e-12
    for step in range(20):
        for params, optimizer in ((ours, mine), (theirs, other)):
            optimizer.zero_grad()
            loss_of(*params).backward()
            optimizer.step()
        for a, b in zip(ours, theirs, strict=True):
            b = b.detach().numpy()
            np.testing.assert_allclose(a.numpy(), b, rtol=tolerance, atol=tolerance, err_msg=f"step {step}")


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("Lion", "Rprop")])
def test_groups_with_options_of_their_own_equal_pytorch(kind, rng):
    torch = pytest.importorskip("torch")
    start = [rng.normal(size=3).astype("float32") for _ in range(2)]
    ours, theirs = [parameter(s) for s in start], [torch.tensor(s, requires_grad=True) for s in start]
    pairs = [(ours, KINDS[kind]), (theirs, getattr(torch.optim, kind))]
    optimizers = [
        make([{"params": [p[0]]}, {"params": p[1], "lr": 0.01, "weight_decay": 0.3}], lr=0.1)
        for p, make in pairs
    ]
    for step in range(6):
        for (params, _), optimizer in zip(pairs, optimizers, strict=True):
            optimizer.zero_grad()
            loss_of(params[0], params[1]).backward()
            if step == 3:
                optimizer.param_groups[0]["lr"] = 0.03
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=2e-6, atol=1e-6)


LION = [options for kind, options in OPTIONS if kind == "Lion"]


@pytest.mark.parametrize("options", LION)
def test_twenty_steps_of_lion_equal_its_formula(options, rng):
    """Which PyTorch does not have: in NumPy, with the gradient of a quartic worked out by hand."""
    w = rng.normal(size=(3, 2))
    p = parameter(w, "float64")
    optimizer = optim.Lion([p], **options)
    (b1, b2), decay = options.get("betas", (0.9, 0.99)), options.get("weight_decay", 0.0)
    m, way = np.zeros_like(w), 1 if options.get("maximize") else -1
    for _ in range(20):
        g = w**3 + 0.3
        w = (1 - options["lr"] * decay) * w + way * options["lr"] * np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
        optimizer.zero_grad()
        ((p * p * p * p).sum() * 0.25 + (p * 0.3).sum()).backward()
        optimizer.step()
        np.testing.assert_allclose(p.numpy(), w, rtol=1e-12)


def take_step(params, optimizer):
    optimizer.zero_grad()
    loss = loss_of(*params)
    loss.backward()
    optimizer.step()
    return loss


def closed(params, optimizer):
    """The step as a function without arguments, which `compile` lets capture what it uses."""
    return lambda: take_step(params, optimizer)


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_a_compiled_step_gives_the_same_bits(kind, options, rng):
    start = [rng.normal(size=(3, 2)), rng.normal(size=2)]
    runs = []
    for compiled in (False, True):
        params = [parameter(s) for s in start]
        optimizer = KINDS[kind](params, **options)

        run = closed(params, optimizer)
        if compiled:
            run = compile(run)
        losses = [run().item() for _ in range(5)]
        optimizer.param_groups[0]["lr"] = 0.01
        losses += [run().item() for _ in range(3)]
        runs.append((losses, [p.numpy().tobytes() for p in params]))
        if compiled:
            assert run.traces == 1  # a new learning rate is no reason to trace again
    assert runs[0] == runs[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_without_gradient_stays(kind):
    p, q = parameter([1.0, 2.0]), parameter([3.0])
    optimizer = KINDS[kind]([p, q], lr=0.1)
    (p * p).sum().backward()
    optimizer.step()
    assert q.numpy().tolist() == [3.0]
    assert p.numpy().tolist() != [1.0, 2.0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_late_gradient_counts_its_own_steps(kind):
    """A parameter that gets its first gradient later is treated as at its first step."""
    p, q = parameter([1.0]), parameter([1.0])
    optimizer = KINDS[kind]([p, q], lr=0.1)
    moved = []
    for params in ([p], [p, q]):
        optimizer.zero_grad()
        for t in params:
            (t * t).sum().backward()
        before = p.numpy().copy()
        optimizer.step()
        moved.append((before - p.numpy(), 1 - q.numpy()))
    np.testing.assert_array_equal(moved[0][0], moved[1][1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_storage_types_are_updated_in_float32(kind, dtype):
    p = tensor([1.0, -2.0], dtype=dtype, requires_grad=True)
    others = {"SGD": {"momentum": 0.9}, "Adadelta": {"eps": 0.1}}
    optimizer = KINDS[kind]([p], lr=0.125, **others.get(kind, {}))
    for _ in range(3):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
    assert str(p.dtype) == dtype
    kinds = {"step": "int64", "mu_product": "float64", "eta": "float64", "mu": "float64"}
    assert all(str(t.dtype) == kinds.get(n, "float32") for n, t in optimizer.state[p].items())
    assert abs(p.numpy().astype("float32")).max() < 2


def test_complex_parameters():
    p = tensor(np.array([1 + 2j], "complex64"), requires_grad=True)
    optimizer = SGD([p], lr=0.5, momentum=0.9)
    p._cell.grad = tensor(np.array([2 - 2j], "complex64"))
    optimizer.step()
    assert p.numpy().tolist() == [3j]
    with pytest.raises(DTypeError, match="real and imaginary"):
        Adam([p])


# -- closures -------------------------------------------------------------------------------------------------------


def with_closure(params, optimizer, loss=loss_of):
    def closure():
        optimizer.zero_grad()
        out = loss(*params)
        out.backward()
        return out

    return closure


@pytest.mark.parametrize(
    "options",
    [
        dict(lr=0.3, max_iter=1),
        dict(lr=0.1, max_iter=2, history_size=3),
        dict(line_search_fn="strong_wolfe", max_iter=1),
        dict(line_search_fn="strong_wolfe", max_iter=3, history_size=2, max_eval=5),
    ],
)
def test_lbfgs_equals_pytorch(options, rng):
    torch = pytest.importorskip("torch")
    start = [rng.normal(size=(3, 2)), rng.normal(size=2)]
    ours = [parameter(s, "float64") for s in start]
    theirs = [torch.tensor(s, requires_grad=True) for s in start]
    mine, other = LBFGS(ours, **options), torch.optim.LBFGS(theirs, **options)
    for step in range(20):
        first = mine.step(with_closure(ours, mine)).item()
        assert first == pytest.approx(other.step(with_closure(theirs, other)).item(), rel=1e-9, abs=1e-12)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), atol=1e-8, err_msg=f"step {step}")
    for name in ("func_evals", "n_iter"):
        assert mine.state[ours[0]][name].item() == other.state[theirs[0]][name]


def test_lbfgs_goes_on_from_its_state(rng):
    start = [rng.normal(size=(3, 2)), rng.normal(size=2)]
    first, second = ([parameter(s) for s in start] for _ in range(2))
    one, two = LBFGS(first, max_iter=2, history_size=3), LBFGS(second, max_iter=2, history_size=3)
    for _ in range(3):
        one.step(with_closure(first, one))
    for a, b in zip(first, second, strict=True):
        b._cell.rebind(a.detach()._node)
    two.load_state_dict(one.state_dict())
    for optimizer, params in ((one, first), (two, second)):
        optimizer.step(with_closure(params, optimizer))
    assert [p.tolist() for p in first] == [p.tolist() for p in second]


def test_lbfgs_leaves_everything_as_it_was_if_the_closure_fails():
    p = parameter([3.0, -2.0])
    optimizer = LBFGS([p], lr=0.1)
    closure, calls = with_closure([p], optimizer, lambda p: (p * p * p * p).sum()), []
    optimizer.step(closure)
    before, state = p.tolist(), {k: v.tolist() for k, v in optimizer.state[p].items()}

    def fails():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return closure()

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(fails)
    assert p.tolist() == before and {k: v.tolist() for k, v in optimizer.state[p].items()} == state


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda p: LBFGS([p]).step(), ArgumentError, "takes a closure"),
        (lambda p: LBFGS([{"params": [p]}, {"params": [parameter([1.0])]}]), ArgumentError, "one group"),
        (lambda p: LBFGS([p], line_search_fn="armijo"), ArgumentError, "None or 'strong_wolfe'"),
        (lambda p: LBFGS([p], max_iter=0), ArgumentError, "positive integer"),
        (lambda p: compile(lambda: LBFGS([p]).step(lambda: p.sum()))(), TraceError, "outside compiled"),
        (lambda p: Muon([p]), ShapeError, "updates matrices"),
        (lambda p: Muon([parameter([[1.0]])], ns_steps=100), ArgumentError, "less than 100"),
        (lambda p: Muon([parameter([[1.0]])], adjust_lr_fn="adam"), ArgumentError, "one of None"),
        (lambda p: Rprop([p], etas=(1.2, 0.5)), ArgumentError, "0 < shrink < 1 < grow"),
        (lambda p: RMSprop([p], alpha=1.0), ArgumentError, "alpha must be at least 0 and less than 1"),
        (lambda p: RAdam([{"params": [p], "weight_decya": 0.1}]), ArgumentError, "weight_decay"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make(parameter([1.0, 2.0]))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.5), lambda p: optim.Adam(p, betas=(0.5, 0.5)),
        lambda p: optim.Adamax(p, betas=(0.5, 0.5)), lambda p: optim.Lion(p, betas=(0.5, 0.5)),
        lambda p: optim.RMSprop(p, alpha=0.5, momentum=0.5),
    ],
    ids=["SGD", "Adam", "Adamax", "Lion", "RMSprop"],
)  # fmt: skip
def test_averages_of_nothing_become_zero_and_not_subnormal(make):
    p = wf.tensor([1.0, 2.0], requires_grad=True)
    optimizer = make([p])
    for k in range(170):  # 0.5 ** 150 is below all numbers
        p.grad = wf.tensor([1.0 if k == 0 else 0.0, 1.0])
        optimizer.step()
    seen = 0
    for slots in optimizer.state_dict()["state"].values():
        for value in map(np.asarray, slots.values()):
            if value.shape == (2,) and value.dtype == np.float32:
                seen += 1
                assert value[0] == 0 or abs(value[0]) >= np.finfo(np.float32).tiny
    assert seen
    assert np.isfinite(p.numpy()).all()
