"""Learning-rate schedules: values against PyTorch, resuming, errors, no retracing."""

import warnings

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
    (OneCycleLR, dict(max_lr=1.0, total_steps=52, cycle_momentum=False)),
    (OneCycleLR, dict(max_lr=[1.0, 2.0], epochs=4, steps_per_epoch=13, pct_start=0.5, anneal_strategy="linear",
                      three_phase=True, div_factor=10.0, final_div_factor=100.0, cycle_momentum=False)),
    (CyclicLR, dict(base_lr=0.1, max_lr=0.5, step_size_up=3, cycle_momentum=False)),
    (CyclicLR, dict(base_lr=[0.1, 0.2], max_lr=0.5, step_size_up=2, step_size_down=3, mode="triangular2",
                    cycle_momentum=False)),
    (CyclicLR, dict(base_lr=0.1, max_lr=0.5, step_size_up=3, mode="exp_range", gamma=0.9, cycle_momentum=False)),
    (CyclicLR, dict(base_lr=0.1, max_lr=0.5, step_size_up=3, scale_fn=lambda x: 1 / x, cycle_momentum=False)),
    (LambdaLR, dict(lr_lambda=[lambda t: 0.9**t, lambda t: 1 / (1 + t)])),
    (MultiplicativeLR, dict(lr_lambda=[lambda t: 0.9, lambda t: 1.0 + 0.1 / t])),
    (SWALR, dict(swa_lr=[0.05, 0.2], anneal_epochs=20)),
    (SWALR, dict(swa_lr=0.05, anneal_epochs=7, anneal_strategy="linear")),
]  # fmt: skip
#: Those made of others, from the library: `torch.optim.lr_scheduler` or `weft.optim.lr_scheduler`, and the optimiser.
COMBINED = {
    "warm-up and cosine": lambda m, o, **k: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, total_iters=5, **k), m.CosineAnnealingLR(o, 45, **k)], [5], **k
    ),
    "three parts": lambda m, o, **k: m.SequentialLR(
        o, [m.ConstantLR(o, 0.1, 3, **k), m.ExponentialLR(o, 0.9, **k), m.StepLR(o, 10, **k)], [4, 20], **k
    ),
    "factors": lambda m, o: m.ChainedScheduler([m.ConstantLR(o, 0.1, 4), m.ExponentialLR(o, 0.9)]),
    "function and steps": lambda m, o: m.ChainedScheduler(
        [m.MultiplicativeLR(o, lambda t: 0.98), m.StepLR(o, 9, 0.5)]
    ),
}
LONG = 50


def test_every_schedule_is_in_a_table():
    """Those of both libraries, by name."""
    found = {n for n in weft.optim.__all__ if isinstance(getattr(weft.optim, n), type)}
    found = {n for n in found if issubclass(getattr(weft.optim, n), Schedule)}
    tested = {kind.__name__ for kind, _ in TABLE} | {"ReduceLROnPlateau", "ChainedScheduler", "SequentialLR"}
    assert found == tested | {"Schedule"}
    torch = pytest.importorskip("torch")
    theirs = {n for n in torch.optim.lr_scheduler.__all__ if n != "LRScheduler"}
    assert theirs <= tested


def optimizer(lr=0.5):
    return SGD([{"params": [parameter([1.0])]}, {"params": [parameter([2.0])], "lr": 0.1}], lr=lr)


def lrs(opt):
    return [g["lr"].item() for g in opt.param_groups]


def steps_of(options):
    """50, or as many as the cycle has that must not be left."""
    one_cycle = options.get("total_steps") or options.get("epochs", 0) * options.get("steps_per_epoch", 0)
    return min(LONG, one_cycle) if one_cycle else LONG


@pytest.mark.parametrize(("kind", "options"), TABLE)
def test_rates_equal_pytorch(kind, options):
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.1}]
    theirs = torch.optim.SGD(groups, lr=0.5)
    ours = optimizer()
    mine = kind(ours, **options)
    where = torch.optim.swa_utils if kind is SWALR else torch.optim.lr_scheduler
    other = getattr(where, kind.__name__)(theirs, **options)
    for _ in range(steps_of(options)):
        assert lrs(ours) == pytest.approx([g["lr"] for g in theirs.param_groups], rel=1e-12)
        assert mine.get_last_lr() == lrs(ours)
        theirs.step()
        other.step()
        mine.step()


@pytest.mark.parametrize("name", COMBINED)
def test_combinations_equal_pytorch(name):
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.1}]
    theirs, ours = torch.optim.SGD(groups, lr=0.5), optimizer()
    other = COMBINED[name](torch.optim.lr_scheduler, theirs)
    mine = COMBINED[name](weft.optim.lr_scheduler, ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch, about how it combines its own
        for _ in range(LONG):
            assert lrs(ours) == pytest.approx([g["lr"] for g in theirs.param_groups], rel=1e-9, abs=1e-15)
            theirs.step()
            other.step()
            mine.step()


def schedules():
    for kind, options in TABLE:
        yield pytest.param(lambda o, k=kind, p=options, **more: k(o, **p, **more), id=kind.__name__)
    for name in COMBINED:
        yield pytest.param(lambda o, n=name, **more: COMBINED[n](weft.optim.lr_scheduler, o, **more), id=name)


@pytest.mark.parametrize("make", list(schedules()))
@pytest.mark.parametrize("at", [1, 7, 30])
def test_a_resumed_schedule_goes_on(make, at):
    """Its state and the optimiser's, loaded into new ones: the rates are those of a run that was not interrupted."""
    whole, ours = optimizer(), optimizer()
    uninterrupted, first = make(whole), make(ours)
    for _ in range(at):
        uninterrupted.step()
        first.step()
    others = optimizer(lr=0.3)
    again = make(others)
    others.load_state_dict(ours.state_dict())
    again.load_state_dict(first.state_dict())
    assert lrs(others) == lrs(whole)
    for _ in range(20):
        uninterrupted.step()
        again.step()
        assert lrs(others) == lrs(whole)


@pytest.mark.parametrize("make", [m for m in schedules() if m.id not in ("factors", "function and steps")])
@pytest.mark.parametrize("at", [0, 5, 30])
def test_a_schedule_made_late_goes_on_from_the_initial_rates(make, at):
    """`last_epoch` says which time is over, and the state of the optimiser where the rates began."""
    whole = optimizer()
    uninterrupted = make(whole)
    for _ in range(at):
        uninterrupted.step()
    others = optimizer(lr=0.3)
    others.load_state_dict(whole.state_dict())
    if not isinstance(uninterrupted, (OneCycleLR, CyclicLR)):  # these are told where they begin
        with pytest.raises(ArgumentError, match="initial_lr"):
            make(optimizer(), last_epoch=at)
    late = make(others, last_epoch=at)
    for _ in range(10):
        uninterrupted.step()
        assert (
            lrs(others) == pytest.approx(lrs(whole), rel=1e-14)
            and late.last_epoch == uninterrupted.last_epoch
        )
        late.step()


def test_parts_of_a_late_sequence_are_late_too():
    opt = optimizer()
    StepLR(opt, 3)
    with pytest.raises(ArgumentError, match="make the parts with last_epoch too"):
        SequentialLR(opt, [ConstantLR(opt), ExponentialLR(opt, 0.9)], [4], last_epoch=3)


#: PyTorch does not look for the cycle that a late time lies in where cycles grow.
ALIKE = [t for t in TABLE if t[0] is not SWALR and "T_mult" not in t[1]]


@pytest.mark.parametrize(("kind", "options"), ALIKE)
def test_a_schedule_made_late_equals_pytorch(kind, options):
    torch = pytest.importorskip("torch")
    first = optimizer()
    early = kind(first, **options)
    for _ in range(7):
        early.step()
    now = lrs(first)  # PyTorch takes them over where a factor would be applied
    groups = [
        {"params": [torch.zeros(1)], "lr": lr, "initial_lr": base}
        for lr, base in zip(now, early.base_lrs, strict=True)
    ]
    theirs, ours = torch.optim.SGD(groups, lr=0.5), optimizer()
    if kind is OneCycleLR:  # PyTorch keeps the limits of a cycle in the groups
        tops = options["max_lr"] if isinstance(options["max_lr"], list) else [options["max_lr"]] * 2
        for g, base, top in zip(theirs.param_groups, early.base_lrs, tops, strict=True):
            g.update(max_lr=top, min_lr=base / options.get("final_div_factor", 1e4))
    ours.load_state_dict(first.state_dict())
    mine = kind(ours, **options, last_epoch=6)
    other = getattr(torch.optim.lr_scheduler, kind.__name__)(theirs, **options, last_epoch=6)
    for _ in range(20):
        assert lrs(ours) == pytest.approx([g["lr"] for g in theirs.param_groups], rel=1e-12)
        theirs.step()
        other.step()
        mine.step()


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


#: Falls, stays, rises again, jumps.
FIGURES = [
    1.0,
    0.9,
    0.95,
    0.9,
    0.91,
    0.92,
    0.5,
    *[0.6] * 13,
    *[0.4 - 0.01 * i for i in range(15)],
    *[0.3] * 15,
]


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
        (lambda: StepLR(optimizer(), 1, last_epoch=-2), ArgumentError, "last_epoch is -1"),
        (
            lambda: optimizer().param_groups[0].update(initial_lr="a"),
            ArgumentError,
            "initial_lr must be a number",
        ),
        (
            lambda: ChainedScheduler([ReduceLROnPlateau(optimizer())]),
            ArgumentError,
            "cannot be part of a combination",
        ),
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
