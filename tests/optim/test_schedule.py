"""Learning-rate schedules: values against PyTorch, resuming, errors, no retracing."""

import pytest

from optim_cases import parameter
from weft.arrays.compile import compile
from weft.base.errors import ArgumentError, StateError, TraceError
from weft.optim import (
    SGD,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    Schedule,
    SequentialLR,
    StepLR,
)

TABLE = [
    (StepLR, dict(step_size=3, gamma=0.5)),
    (MultiStepLR, dict(milestones=[2, 5], gamma=0.1)),
    (ExponentialLR, dict(gamma=0.9)),
    (CosineAnnealingLR, dict(T_max=8, eta_min=0.01)),
    (LinearLR, dict(start_factor=0.25, total_iters=4)),
    (LambdaLR, dict(lr_lambda=lambda t: 1 / (1 + t))),
]


def optimizer(lr=0.5):
    return SGD([{"params": [parameter([1.0])]}, {"params": [parameter([2.0])], "lr": 0.1}], lr=lr)


def lrs(opt):
    return [g["lr"].item() for g in opt.param_groups]


@pytest.mark.parametrize(("kind", "options"), TABLE)
def test_rates_equal_pytorch(kind, options):
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.1}]
    theirs = torch.optim.SGD(groups, lr=0.5)
    ours = optimizer()
    mine = kind(ours, **options)
    other = getattr(torch.optim.lr_scheduler, kind.__name__)(theirs, **options)
    for _ in range(12):
        assert lrs(ours) == pytest.approx([g["lr"] for g in theirs.param_groups], rel=1e-12)
        assert mine.get_last_lr() == lrs(ours)
        theirs.step()
        other.step()
        mine.step()


@pytest.mark.parametrize(("kind", "options"), TABLE)
def test_a_resumed_schedule_goes_on(kind, options):
    ours, others = optimizer(), optimizer(lr=0.3)
    mine = kind(ours, **options)
    for _ in range(3):
        mine.step()
    again = kind(others, **options)
    again.load_state_dict(mine.state_dict())
    assert lrs(others) == lrs(ours)
    for _ in range(5):
        mine.step()
        again.step()
        assert lrs(others) == lrs(ours)


def test_warm_up_then_cosine():
    opt = optimizer(lr=1.0)
    schedule = SequentialLR(
        opt, [LinearLR(opt, 0.5, total_iters=2), CosineAnnealingLR(opt, T_max=4)], milestones=[2]
    )
    seen = []
    for _ in range(7):
        seen.append(round(lrs(opt)[0], 3))
        schedule.step()
    assert seen == [0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]


def test_a_compiled_step_follows_the_schedule():
    p = parameter([0.0])
    opt = SGD([p], lr=1.0)
    schedule = StepLR(opt, 1, 0.5)

    @compile
    def step():
        (p * 1.0).sum().backward()
        opt.step()
        opt.zero_grad()

    seen = []
    for _ in range(3):
        step()
        schedule.step()
        seen.append(p.item())
    assert seen == [-1.0, -1.5, -1.75]
    assert step.traces == 1


def inside_compile():
    schedule = StepLR(optimizer(), 1)
    compile(lambda: schedule.step())()


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: StepLR(optimizer(), 0), ArgumentError, "step_size must be a positive integer"),
        (lambda: CosineAnnealingLR(optimizer(), 2.5), ArgumentError, "T_max"),
        (lambda: LinearLR(optimizer(), 0.0), ArgumentError, "between 0 and 1"),
        (lambda: StepLR(SGD(), 1), ArgumentError, "no parameters yet"),
        (lambda: StepLR(0.1, 1), ArgumentError, "takes an optimiser"),
        (lambda: SequentialLR(optimizer(), [], []), ArgumentError, "0 schedules"),
        (lambda: SequentialLR(optimizer(), [StepLR(optimizer(), 1)], []), ArgumentError, "same optimiser"),
        (lambda: StepLR(optimizer(), 1).load_state_dict({"gamma": 1}), StateError, "missing"),
        (lambda: Schedule(optimizer()), NotImplementedError, "must define rate"),
        (inside_compile, TraceError, "call it outside"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_groups_of_the_saved_schedule_must_fit():
    saved = StepLR(optimizer(), 1).state_dict()
    with pytest.raises(StateError, match="2 groups, the optimiser 1"):
        StepLR(SGD([parameter([1.0])]), 1).load_state_dict(saved)
