"""Calls of a compiled function that follow one another: quick, and nobody can tell from the results."""

import gc
import sys
import threading
from weakref import ref

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.backends.cpu import threads as cpu_threads
from weft.backends.cpu.standing import Standing
from weft.base.errors import IndexingError, TraceError
from weft.runtime.program import Program


@pytest.fixture(autouse=True)
def compiled_backend():
    with wf.config(backend="cpu"):
        yield


class Training:
    """A small network with its optimiser and a step, always from the same weights."""

    def __init__(self, compiled=True, optimizer=optim.Adam):
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        random = np.random.default_rng(0)
        with wf.no_grad():
            for p in self.net.parameters():
                p[...] = wf.tensor(random.normal(size=p.shape).astype(np.float32))
        self.opt = optimizer(self.net.parameters(), lr=0.1)
        self.weight = self.net[0].weight

        def step(x, y):
            self.opt.zero_grad()
            loss = nn.functional.mse_loss(self.net(x), y)
            loss.backward()
            self.opt.step()
            return loss

        self.step = wf.compile(step) if compiled else step

    @property
    def quick(self):
        """How many calls the newest way of calling at once has served."""
        ready = self.step.programs[-1].life.ready
        return 0 if ready is None else ready.used


def batches(count, rows=5):
    random = np.random.default_rng(1)
    return [
        tuple(wf.tensor(random.normal(size=(rows, n)).astype(np.float32)).realize() for n in (3, 2))
        for _ in range(count)
    ]


def calls(function):
    """How many Python functions, and how many built-in ones, a call takes."""
    counts = {"call": 0, "c_call": 0}

    def count(frame, event, _):
        if event in counts:
            counts[event] += 1

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return counts["call"], counts["c_call"]


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam])
def test_a_call_takes_few_functions_however_many_parameters_there_are(optimizer):
    t = Training(optimizer=optimizer)
    (x, y), *_ = batches(1)
    for _ in range(5):
        t.step(x, y)
    python, builtin = calls(lambda: t.step(x, y))
    assert t.quick >= 3
    assert python <= 20 and builtin <= 20, (python, builtin)


def disturbances():
    """What somebody may do between two calls: a function of a training, and of what was kept so far."""

    def change_rate(t, kept):
        t.opt.param_groups[0]["lr"] = 0.1 / (1 + len(kept))
        kept.append(None)

    def overwrite(t, kept):
        with wf.no_grad():
            t.weight[...] = t.weight * 0.5

    def clip_by_hand(t, kept):
        t.weight.grad *= 0.5

    def without_gradients(t, kept):
        t.weight.grad = None

    def use_gradient(t, kept):
        kept.append(t.weight.grad * 2.0)
        kept[-1].realize()

    return {
        "nothing": lambda t, kept: None,
        "detach": lambda t, kept: kept.append(t.weight.detach()),
        "numpy": lambda t, kept: kept.append(t.weight.numpy()),
        "part of it": lambda t, kept: kept.append(t.weight.numpy()[1:]),
        "dlpack": lambda t, kept: kept.append(np.from_dlpack(t.weight)),
        "gradient": lambda t, kept: kept.append(t.weight.grad),
        "gradient's memory": lambda t, kept: kept.append(t.net[2].bias.grad.numpy()),
        "pending": lambda t, kept: kept.append(t.weight * 3.0),
        "pending gradient": lambda t, kept: kept.append(t.weight.grad + 1.0),
        "look": lambda t, kept: t.weight.tolist(),
        "rate": change_rate,
        "overwrite": overwrite,
        "clip": clip_by_hand,
        "no gradient": without_gradients,
        "use of gradient": use_gradient,
        "evaluation": lambda t, kept: kept.append(t.net(batches(1)[0][0]).detach()),
    }


@pytest.mark.parametrize("often", [1, 3], ids=["always", "now and then"])
@pytest.mark.parametrize("what", disturbances())
def test_what_is_done_between_calls_shows_as_in_the_loop_as_written(what, often):
    found = []
    for compiled in (True, False):
        t, kept, losses = Training(compiled), [], []
        for i, (x, y) in enumerate(batches(14)):
            losses.append(t.step(x, y))
            if i % often == 0:
                disturbances()[what](t, kept)
        if compiled:
            assert t.step.traces <= 2
            if what == "nothing" or often == 3:
                assert t.quick > 0 or what != "nothing"
        found.append([np.array(v) for v in (*losses, *t.net.parameters(), *kept) if v is not None])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_may_be_what_is_read_or_one_another():
    captured, alone = wf.tensor([1.0, 2.0, 3.0]).realize(), wf.tensor([[4.0], [5.0]]).realize()

    @wf.compile
    def f(x):
        y = x + captured
        return captured, alone, y, y, x, wf.ones(2)

    found = [f(wf.full((3,), float(i)).realize()) for i in range(8)]
    for i, results in enumerate(found):
        y = [i + 1.0, i + 2.0, i + 3.0]
        assert [v.tolist() for v in results] == [
            [1.0, 2.0, 3.0], [[4.0], [5.0]], y, y, [float(i)] * 3, [1.0, 1.0]
        ]  # fmt: skip
    assert f.programs[-1].life.ready.used >= 4


def test_arguments_may_be_pending():
    """Batches are often slices of a larger tensor, which nobody has computed when the call comes."""
    found = []
    for compiled in (True, False):
        t, (x, y) = Training(compiled), batches(1, rows=60)[0]
        losses = [t.step(x[i : i + 5], y[i : i + 5] * 1.0).item() for i in range(0, 60, 5)]
        found.append([*losses, *t.weight.tolist()])
        if compiled:
            assert t.quick >= 9
    assert found[0] == found[1]


def test_arguments_may_depend_on_the_state():
    found = []
    for compiled in (True, False):
        t, (x, y) = Training(compiled), batches(1)[0]
        losses = [t.step(x + t.weight.detach().sum(), y).item() for _ in range(9)]
        found.append([*losses, *t.weight.tolist()])
    assert found[0] == found[1]


def test_what_was_looked_at_stays_as_it_was():
    t, seen = Training(), []
    for x, y in batches(10):
        loss = t.step(x, y)
        for v in (loss, t.weight.detach(), t.weight.grad):
            seen.append((v.numpy(), v.numpy().copy()))
    for view, copy in seen:
        np.testing.assert_array_equal(view, copy)


def test_results_that_are_kept_differ_and_those_dropped_are_used_again():
    t = Training()
    losses = [t.step(x, y) for x, y in batches(12)]
    assert len({v.item() for v in losses}) == 12 and t.quick >= 9
    addresses = set()
    for x, y in batches(12):
        addresses.add(t.step(x, y)._node.value.address)
    assert len(addresses) <= 3


def test_batches_of_another_size_in_between():
    found = []
    for compiled in (True, False):
        t = Training(compiled)
        data = [b for _ in range(3) for b in (*batches(4), *batches(1, rows=2))]
        losses = [t.step(x, y) for x, y in data]
        found.append([v.item() for v in losses] + t.weight.tolist())
        if compiled:
            assert t.step.traces == 2
    assert found[0] == found[1]


def test_two_compiled_functions_share_state():
    found = []
    for compiled in (True, False):
        t = Training(compiled)
        predict = wf.no_grad(lambda x, t=t: t.net(x))
        predict = wf.compile(predict) if compiled else predict
        seen = []
        for x, y in batches(10):
            seen.append(t.step(x, y))
            with wf.no_grad():
                seen += [predict(x), predict(x)]
        found.append([v.tolist() for v in seen])
        if compiled:
            assert t.quick > 5
    assert found[0] == found[1]


def test_arguments_are_looked_at_in_every_call():
    total = wf.zeros(3)

    @wf.compile
    def add(x):
        total[...] = total + x
        return total * 2

    x = wf.ones(3)
    for _ in range(4):
        add(x)
    assert add.programs[0].life.ready.used >= 2
    with pytest.raises(TraceError, match="also reads or changes"):
        add(total)
    add(wf.arange(3.0) + 1.0)  # not computed yet
    add(total.detach())
    assert total.tolist() == [10.0, 12.0, 14.0]
    add(wf.ones(1)[0].realize())
    assert total.tolist() == [11.0, 13.0, 15.0] and add.traces == 2


def test_what_the_function_reads_is_looked_at_in_every_call():
    factor = 2.0
    table = {"w": wf.ones(3)}

    @wf.compile
    def scaled(x):
        return x * table["w"] * factor

    x = wf.ones(3)
    for _ in range(4):
        assert scaled(x).tolist() == [2.0] * 3
    factor = 3.0
    assert scaled(x).tolist() == [3.0] * 3
    table["w"] = wf.zeros(3)
    assert scaled(x).tolist() == [0.0] * 3
    for _ in range(3):
        table["w"] += 1.0
        assert scaled(x).tolist() == [3.0 * table["w"].tolist()[0]] * 3


def test_methods_and_plain_arguments():
    class Model:
        def __init__(self):
            self.w = wf.ones(3)

        @wf.compile
        def step(self, x, sign):
            self.w += x * sign
            return self.w.sum()

    a, b, x = Model(), Model(), wf.ones(3)
    for _ in range(5):
        a.step(x, 1)
    for sign in (1, -1, 1, 1, -1):
        b.step(x, sign)
    assert a.w.tolist() == [6.0] * 3 and b.w.tolist() == [2.0] * 3


def test_numpy_arrays_are_as_quick_as_tensors():
    weight = wf.tensor([[1.0, 2.0], [3.0, 4.0]])
    f = wf.compile(lambda x, k: x @ weight * k)
    x = np.ones((3, 2), np.float32)
    for i in range(8):
        assert f(x + i, 2).tolist() == ((x + i) @ weight.numpy() * 2).tolist()
        assert f(wf.tensor(x - i), 2).tolist() == ((x - i) @ weight.numpy() * 2).tolist()
    (program,) = f.programs
    assert program.life.ready.used >= 12


def test_numpy_arrays_of_all_kinds():
    scale = wf.tensor(3.0)
    f = wf.compile(lambda x, y: x * scale + y)
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    y = wf.ones((3, 4))
    for _ in range(5):
        f(x, y)
    used = f.programs[-1].life.ready.used
    kept = [f(x, y)]
    for given in (x[::-1], x.T.copy().T, np.asfortranarray(x), np.broadcast_to(x[:1], (3, 4))):
        kept.append(f(given, y))
    assert f.programs[-1].life.ready.used == used + 5  # copied in whichever order they lie
    assert [k.tolist() for k in kept[:2]] == [(x * 3 + 1).tolist(), (x[::-1] * 3 + 1).tolist()]
    for given in (x.astype(np.float64), x.astype(">f4"), x[:2], x.astype(np.int8)):
        assert f(given, y[: len(given)]).tolist() == (given * 3 + 1).tolist()
    x += 1
    assert f(x, y).tolist() == (x * 3 + 1).tolist()
    with pytest.raises(TypeError):
        f(np.ma.masked_array(x, x > 3), y)


def test_numpy_arrays_are_read_where_they_lie():
    """Wherever that is; results have memory of their own."""
    f = wf.compile(lambda x: (x, x * 2.0))
    raw = bytearray(4 * 12 + 1)
    aside = np.frombuffer(raw, np.float32, 12, offset=1).reshape(3, 4)
    fixed = np.arange(12, dtype=np.float32).reshape(3, 4)
    fixed.flags.writeable = False
    x = fixed.copy()
    for _ in range(4):
        f(x)
    f(fixed)
    assert not f.programs[-1].life.ready._arrays, "copied"
    for given in (x, aside, fixed, x + 1, np.broadcast_to(x[:1], (3, 4))):
        same, twice = f(given)
        assert same.tolist() == given.tolist() and twice.tolist() == (given * 2).tolist()
        assert not np.shares_memory(same.numpy(), given)
    assert f.programs[-1].life.ready.used >= 5
    empty = wf.compile(lambda x: x.sum())
    assert [empty(np.ones((0, 3), np.float32)).item() for _ in range(6)] == [0.0] * 6


def test_numpy_arrays_that_share_memory_with_what_is_replaced():
    """The step writes over a tensor that an argument is a view of, but not before it has read that."""
    results = []
    for compiled in (False, True):
        w = wf.arange(5.0)

        def step(x, w=w):
            w[...] = w + wf.flip(x)
            return x.sum()

        step = wf.compile(step) if compiled else step
        sums = [step(w.numpy()).item() for _ in range(6)]
        shared = np.arange(5, dtype=np.float32)
        w._cell.node = wf.asarray(shared, copy=False)._cell.node
        results.append([*sums, *[step(shared).item() for _ in range(6)], *w.tolist()])
    assert results[0] == results[1]


def test_numpy_arrays_of_indices_are_copied():
    """Nobody may change them between the look whether they are inside and their use."""
    f = wf.compile(lambda x, i: wf.take(x, i))
    x, i = np.arange(4, dtype=np.float32), np.array([1, 3])
    for _ in range(5):
        assert f(x, i).tolist() == [1.0, 3.0]
    assert list(f.programs[-1].life.ready._arrays) == [1]


def test_an_index_out_of_range_leaves_the_state_as_it_was():
    w = wf.arange(4.0)

    @wf.compile
    def step(i):
        w[...] = w + wf.take(w, i).sum()
        return w.sum()

    good, bad = wf.tensor([0, 3]).realize(), wf.tensor([0, 4]).realize()
    for _ in range(4):
        step(good)
    before = w.tolist()
    for _ in range(3):
        with pytest.raises(IndexingError, match="test_standing"):
            step(bad)
        assert w.tolist() == before
    step(good)
    assert w.tolist() == [v + before[0] + before[3] for v in before]


def test_nothing_is_kept_that_the_function_has_let_go_of():
    t = Training()
    for x, y in batches(4):
        t.step(x, y)
    step = t.step
    assert t.quick
    memory = ref(t.weight._node.value)
    cell = ref(t.weight._cell)
    t.net = t.opt = t.weight = None
    gc.collect()
    assert cell() is None and memory() is None and step is not None


def test_a_function_that_is_let_go_of_takes_its_memory_with_it():
    t = Training()
    for x, y in batches(4):
        t.step(x, y)
    memory, ready = ref(t.weight._node.value), ref(t.step.programs[-1].life)
    gc.collect()
    gc.disable()
    try:
        t.step = None
        t.net = t.opt = t.weight = None
        assert ready() is None and memory() is None
    finally:
        gc.enable()


def test_other_threads_and_other_flags_take_the_ordinary_way():
    t = Training()
    data = batches(12)
    for x, y in data[:4]:
        t.step(x, y)
    used = t.quick
    ready = t.step.programs[-1].life.ready
    worker = threading.Thread(target=lambda: [_on_cpu(t.step, x, y) for x, y in data[4:6]])
    worker.start()
    worker.join()
    with wf.config(debug_nan=True):
        t.step(*data[6])
    with wf.profile() as p:
        t.step(*data[7])
    assert ready.used == used and any(r.kind == "kernel" for r in p.rows)
    for x, y in data[8:]:
        t.step(x, y)
    plain = Training(compiled=False)
    for x, y in data:
        plain.step(x, y)
    assert plain.weight.tolist() == t.weight.tolist()


def _on_cpu(step, x, y):
    with wf.config(backend="cpu"):
        step(x, y)


def test_what_is_read_is_held_while_the_program_runs(monkeypatch):
    """Another thread may give a tensor another value then: the old one's memory is not for anybody else yet."""
    w = wf.ones(1000).realize()
    x = wf.zeros(1000).realize()
    add = wf.compile(lambda x: x + w)
    for _ in range(5):
        add(x)
    old, seen, run = ref(w._cell.node.value), [], Standing.run

    def meanwhile(standing):
        monkeypatch.setattr(Standing, "run", run)
        w[...] = wf.tensor(np.full(1000, 2, np.float32))
        w.realize()
        gc.collect()
        seen.append(old() is not None)
        return run(standing)

    ready = add.programs[0].life.ready
    used = ready.used
    monkeypatch.setattr(Standing, "run", meanwhile)
    assert (add(x).numpy() == 1).all()
    assert seen == [True] and ready.used == used + 1


def test_a_tensor_that_another_thread_changes_has_one_of_its_values():
    """Whenever it is looked at: also where it waits to be computed, or does so again when that is done."""
    w = wf.ones(10000)
    x = wf.zeros(10000).realize()
    add = wf.compile(lambda x: x + w)
    found, over = [], threading.Event()

    def read():
        with wf.config(backend="cpu"):
            while not over.is_set():
                found.append({*np.unique(add(x).numpy()).tolist()})

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(3000):
        w[...] = wf.tensor(np.full(10000, k % 100, np.float32))
        (w * 2.0).numpy()
    over.set()
    reader.join()
    assert found and all(len(values) == 1 and values <= set(range(100)) for values in found)


def test_a_value_that_two_threads_compute_stays_where_it_was_first(monkeypatch):
    y = wf.ones(100) + 1
    found, run = [], Program.run

    def meanwhile(*args):
        monkeypatch.setattr(Program, "run", run)
        found.append(y.realize()._cell.node.value)
        return run(*args)

    monkeypatch.setattr(Program, "run", meanwhile)
    y.realize()
    assert y._cell.node.value is found[0]


class TestWeightsInOrder:
    """Kernels of convolutions are copied into the order that kernels want: once, until they change."""

    def setup_method(self):
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.Flatten())
        self.net.eval()
        self.x = wf.tensor(np.random.default_rng(0).normal(size=(1, 3, 6, 6)).astype(np.float32))

        @wf.compile
        def predict(x):
            with wf.no_grad():
                return self.net(x)

        self.predict = predict

    def check(self):
        with wf.config(backend="reference"), wf.no_grad():
            want = self.net(self.x).numpy()
        for _ in range(6):
            np.testing.assert_allclose(self.predict(self.x).numpy(), want, rtol=1e-4, atol=1e-5)

    def kept(self):
        return [s for s in gc.get_objects() if type(s) is Standing and s.keeps]

    def test_they_are_kept(self):
        gc.collect()
        before = len(self.kept())
        self.check()
        assert len(self.kept()) == before + 1

    def test_training_in_between(self):
        opt = optim.SGD(self.net.parameters(), lr=1e-3)

        @wf.compile
        def step(x):
            opt.zero_grad()
            loss = (self.net(x) ** 2).sum()
            loss.backward()
            opt.step()
            return loss

        for steps in (1, 2, 3, 4, 1, 5):
            for _ in range(steps):
                step(self.x)
            self.check()

    def test_other_weights(self):
        self.check()
        self.net.load_state_dict({k: v * 2 for k, v in self.net.state_dict().items()})
        self.check()
        with wf.no_grad():
            self.net[0].weight[0] = 0.0
        self.check()

    def test_an_interrupted_run_keeps_nothing(self, monkeypatch):
        self.check()
        self.net.load_state_dict({k: v + 1 for k, v in self.net.state_dict().items()})

        def interrupt(standing):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Standing, "run", interrupt)
            with pytest.raises(KeyboardInterrupt):
                for _ in range(6):
                    self.predict(self.x)
        self.check()


class TestOtherThreads:
    """Calls that follow one another go on with the threads that there are now."""

    @pytest.fixture(autouse=True)
    def threads_before(self):
        before = wf.get_num_threads()
        yield
        wf.set_num_threads(before)

    def pools(self, f):
        return {turn.standing._pool for turn in f.programs[-1].life.ready._turns}

    def called(self, f, x):
        served = f.programs[-1].life.ready.used
        got = [f(x).numpy() for _ in range(6)]
        assert f.programs[-1].life.ready.used >= served + 4
        return got[-1]

    def test_their_number_changes(self):
        f = wf.compile(lambda x: (x @ x).sum())
        x = wf.ones((50, 50)).realize()
        wf.set_num_threads(1)
        for _ in range(6):
            want = f(x).numpy()
        for count in (2, 3, 1, 2):
            wf.set_num_threads(count)
            assert self.called(f, x) == want
            (pool,) = self.pools(f)
            assert pool is cpu_threads.pool() and (1 if pool is None else pool.threads) == count

    def test_another_program_needs_more_scratch_memory(self):
        wf.set_num_threads(2)
        f = wf.compile(lambda x: (x @ x).sum())
        x = wf.ones((50, 50)).realize()
        for _ in range(6):
            f(x)
        (before,) = self.pools(f)
        more = cpu_threads.pool(before.scratch + 1)
        assert more is not before and before.retired
        self.called(f, x)
        assert self.pools(f) == {more}
