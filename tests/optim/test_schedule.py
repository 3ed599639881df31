"""Learning-rate schedules: values against PyTorch, resuming, errors, no retracing."""

import pytest

import weft
from optim_cases import parameter
from weft.arrays.compile import compile
from weft.base.errors import ArgumentError, StateError, TraceError
from weft.optim import (
    SGD,
    SWALR,
    Adagrad,
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    Schedule,
    SequentialLR,
    StepLR,
    l1_penalty,
    l2_penalty,
)

TABLE = [
    (StepLR, dict(step_size=3, gamma=0.5)),
    (MultiStepLR, dict(milestones=[2, 5], gamma=0.1)),
    (ExponentialLR, dict(gamma=0.9)),
    (CosineAnnealingLR, dict(T_max=8, eta_min=0.01)),
    (LinearLR, dict(start_factor=0.25, total_iters=4)),
    (LambdaLR, dict(lr_lambda=lambda t: 1 / (1 + t))),
    (MultiplicativeLR, dict(lr_lambda=lambda t: 0.9 + 0.01 * t)),
    (ConstantLR, dict(factor=0.25, total_iters=3)),
    (PolynomialLR, dict(total_iters=7, power=2.0)),
    (CosineAnnealingWarmRestarts, dict(T_0=3)),
    (CosineAnnealingWarmRestarts, dict(T_0=2, T_mult=2, eta_min=0.01)),
    (OneCycleLR, dict(max_lr=1.0, total_steps=13, cycle_momentum=False)),
    (OneCycleLR, dict(max_lr=[1.0, 2.0], epochs=4, steps_per_epoch=4, pct_start=0.5, anneal_strategy="linear",
                      three_phase=True, div_factor=10.0, final_div_factor=100.0, cycle_momentum=False)),
    (CyclicLR, dict(base_lr=0.1, max_lr=0.5, step_size_up=3, cycle_momentum=False)),
    (CyclicLR, dict(base_lr=[0.1, 0.2], max_lr=0.5, step_size_up=2, step_size_down=3, mode="triangular2",
                    cycle_momentum=False)),
    (CyclicLR, dict(base_lr=0.1, max_lr=0.5, step_size_up=3, mode="exp_range", gamma=0.9, cycle_momentum=False)),
    (CyclicLR, dict(base_lr=0.1, max_lr=0.5, step_size_up=3, scale_fn=lambda x: 1 / x, cycle_momentum=False)),
]  # fmt: skip


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


@pytest.mark.parametrize("make", [lambda m, o: m.optim.SGD(o, momentum=0.5), lambda m, o: m.optim.Adam(o)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("OneCycleLR", dict(max_lr=1.0, total_steps=10)),
        ("OneCycleLR", dict(max_lr=1.0, total_steps=10, three_phase=True, base_momentum=0.5)),
        ("CyclicLR", dict(base_lr=0.1, max_lr=0.5, step_size_up=3)),
    ],
)
def test_momentum_cycles_as_in_pytorch(make, kind, options):
    torch = pytest.importorskip("torch")
    found = []
    for library, p in ((weft, parameter([1.0])), (torch, torch.zeros(1))):
        opt = make(library, [p])
        where = library.optim if library is weft else torch.optim.lr_scheduler
        schedule, seen = getattr(where, kind)(opt, **options), []
        for step in range(10):
            group = opt.param_groups[0]
            momentum = group["momentum"] if "momentum" in group else group["betas"][0]
            seen += [float(group["lr"]), float(momentum)]
            opt.step()
            if step < 9:
                schedule.step()
        found.append(seen)
    assert found[0] == pytest.approx(found[1], rel=1e-12)


FIGURES = [1.0, 0.9, 0.95, 0.9, 0.91, 0.92, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]


@pytest.mark.parametrize(
    "options",
    [
        dict(patience=1),
        dict(patience=0, cooldown=2, factor=0.5, min_lr=[0.05, 0.0]),
        dict(mode="max", patience=1, threshold=0.05, threshold_mode="abs"),
        dict(patience=1, threshold=0.2, eps=0.02),
    ],
)
def test_a_plateau_is_noticed_as_in_pytorch(options):
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.1}]
    theirs = torch.optim.SGD(groups, lr=0.5)
    ours = optimizer()
    mine = ReduceLROnPlateau(ours, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    again = None
    for i, figure in enumerate(FIGURES):
        mine.step(figure)
        other.step(figure)
        assert lrs(ours) == pytest.approx([g["lr"] for g in theirs.param_groups], rel=1e-12)
        if again is not None:
            again.step(figure)
            assert lrs(again.optimizer) == lrs(ours)
        if i == 5:
            again = ReduceLROnPlateau(optimizer(), **options)
            again.load_state_dict(mine.state_dict())


def test_factors_of_chained_schedules_multiply_as_in_pytorch():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.optim.SGD([torch.zeros(1)], lr=1.0), SGD([parameter([1.0])], lr=1.0)
    s = torch.optim.lr_scheduler
    other = s.ChainedScheduler([s.ConstantLR(theirs, 0.1, 4), s.ExponentialLR(theirs, 0.9)])
    mine = ChainedScheduler([ConstantLR(ours, 0.1, 4), ExponentialLR(ours, 0.9)])
    for _ in range(8):
        assert lrs(ours) == pytest.approx([theirs.param_groups[0]["lr"]], rel=1e-12)
        theirs.step()
        other.step()
        mine.step()


@pytest.mark.parametrize("shape", ["cos", "linear"])
def test_averaging_ends_at_its_own_rate(shape):
    opt = optimizer()
    schedule = SWALR(opt, [0.05, 0.2], anneal_epochs=2, anneal_strategy=shape)
    seen = []
    for _ in range(4):
        seen.append(lrs(opt))
        schedule.step()
    assert seen[0] == pytest.approx([0.5, 0.1]) and seen[2] == seen[3] == pytest.approx([0.05, 0.2])
    assert seen[1] == pytest.approx([0.275, 0.15])


def test_time_between_whole_numbers():
    opt = SGD([parameter([1.0])], lr=1.0)
    schedule = CosineAnnealingWarmRestarts(opt, 2)
    schedule.step(0.5)
    assert lrs(opt) == pytest.approx([0.8535533905932737])
    schedule.step(2.0)
    assert lrs(opt) == [1.0]


def test_cycles_take_over_after_a_warm_up():
    opt = SGD([parameter([1.0])], lr=1.0)
    parts = [LinearLR(opt, 0.5, total_iters=2), CyclicLR(opt, 0.1, 0.3, 2, cycle_momentum=False)]
    assert [SequentialLR(opt, parts, [2]).rates(t) for t in range(5)] == [[0.5], [0.75], [0.1], [0.2], [0.3]]


def test_penalties_and_their_gradients():
    w, b = parameter([[1.0, -2.0]]), parameter([0.0, 3.0])
    assert l1_penalty([w, b]).item() == 6.0 and l2_penalty([w, b]).item() == 14.0
    (l1_penalty(iter([w, b])) + l2_penalty(w)).backward()
    assert w.grad.tolist() == [[3.0, -5.0]] and b.grad.tolist() == [0.0, 1.0]
    for wrong in ([], [1.0]):
        with pytest.raises(ArgumentError, match="floating tensor"):
            l1_penalty(wrong)


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
        (lambda: OneCycleLR(optimizer(), 1.0), ArgumentError, "total_steps, or epochs"),
        (lambda: OneCycleLR(optimizer(), 1.0, 5, anneal_strategy="sin"), ArgumentError, "'cos', 'linear'"),
        (lambda: OneCycleLR(optimizer(), 1.0, 5, pct_start=2), ArgumentError, "between 0 and 1"),
        (
            lambda: [s.step() for s in [OneCycleLR(optimizer(), 1.0, 1, cycle_momentum=False)] * 2],
            ArgumentError,
            "comes after its end",
        ),
        (lambda: OneCycleLR(Adagrad([parameter([1.0])]), 1.0, 5), ArgumentError, "no momentum to cycle"),
        (lambda: CyclicLR(optimizer(), 0.1, [1.0]), ArgumentError, "one for each group"),
        (lambda: CyclicLR(optimizer(), 0.1, 1.0, mode="square"), ArgumentError, "'triangular'"),
        (
            lambda: ReduceLROnPlateau(optimizer(), mode="least"),
            ArgumentError,
            "mode must be one of 'min', 'max'",
        ),
        (lambda: ReduceLROnPlateau(optimizer(), factor=1.0), ArgumentError, "less than 1"),
        (lambda: ReduceLROnPlateau(optimizer()).step(), ArgumentError, "takes the figure"),
        (lambda: ChainedScheduler([]), ArgumentError, "one schedule or more"),
        (lambda: ConstantLR(optimizer(), 2.0), ArgumentError, "between 0 and 1"),
        (lambda: SWALR(optimizer(), 0.1, -1), ArgumentError, "0 or more"),
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


def test_one_cycle_in_the_loop_that_steps_after_its_last_batch():
    opt = optimizer()
    schedule = OneCycleLR(opt, max_lr=1.0, total_steps=5, cycle_momentum=False)
    seen = []
    for _ in range(5):
        opt.step()
        schedule.step()
        seen.append(schedule.get_last_lr()[0])
    assert seen[-1] == seen[-2] == min(seen)  # the end of the cycle
    with pytest.raises(ArgumentError, match="step 6 comes after its end"):
        schedule.step()


def test_a_function_for_each_parameter_group():
    opt = SGD([{"params": [parameter([1.0])]}, {"params": [parameter([2.0])], "lr": 0.3}], lr=1.0)
    schedule = LambdaLR(opt, [lambda t: 0.5**t, lambda t: 1.0])
    opt.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.5, pytest.approx(0.3)]
    with pytest.raises(ArgumentError, match="1 functions for an optimiser with 2 parameter groups"):
        LambdaLR(opt, [lambda t: 1.0])
