"""Loaders with worker processes: the same batches, and what becomes of workers that raise, die, hang or are left."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.arrays.creation import tensor
from weft.base.errors import ArgumentError, DataError, StateError
from weft.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    TensorDataset,
    get_worker_info,
    item_rng,
)
from worker_types import Broken, Pair, Sums, children, gone, plain, raising

POSIX = os.name == "posix"


class Stream(IterableDataset):
    def __init__(self, n=11):
        self.n = n

    def __iter__(self):
        for i in range(self.n):
            yield i, item_rng().uniform()


class Shared(IterableDataset):
    """A stream that shares itself out."""

    def __iter__(self):
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, 10, step))


def two_epochs(dataset, **options):
    loader = DataLoader(dataset, seed=5, **options)
    return [plain(b) for _ in range(2) for b in loader]


@pytest.fixture(scope="module", autouse=True)
def nobody_left():
    yield
    gc.collect()  # what pytest's own frames hold
    # Workers of loaders that are gone end within their grace.
    end = time.monotonic() + 30
    while children() and time.monotonic() < end:
        time.sleep(0.05)
    assert children() == []


# -- the same batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        (Sums(), dict(batch_size=4, shuffle=True)),
        (Sums(), dict(batch_size=4, drop_last=True, collate_fn=lambda s: (len(s), item_rng().uniform()))),
        (Sums(3), dict(batch_size=None)),
        (Sums(), dict(batch_sampler=[[3, 1], [7], [0, 2, 4]])),
        (TensorDataset(np.arange(10), np.ones((10, 3), np.float32)), dict(batch_size=3, shuffle=True)),
        (Stream(), dict(batch_size=4)),
        (Stream(), dict(batch_size=4, drop_last=True)),
        (Stream(3), dict(batch_size=None)),
        (Stream(0), dict(batch_size=2)),
    ],
)
def test_any_number_of_workers_makes_the_same_batches(dataset, options):
    here = two_epochs(dataset, **options)
    assert two_epochs(dataset, num_workers=2, persistent_workers=True, **options) == here


@settings(max_examples=4)
@given(
    n=st.integers(1, 30),
    size=st.integers(1, 12),
    workers=st.integers(1, 3),
    prefetch=st.integers(1, 4),
    shuffle=st.booleans(),
)
def test_any_sizes(n, size, workers, prefetch, shuffle):
    options = dict(batch_size=size, shuffle=shuffle, seed=1)
    here = [plain(b) for b in DataLoader(Sums(n), **options)]
    there = DataLoader(Sums(n), num_workers=workers, prefetch_factor=prefetch, **options)
    assert [plain(b) for b in there] == here


class Weftish(Dataset):
    """Samples that Weft computes, from its own random numbers."""

    def __init__(self):
        self.scale = tensor([2.0, 3.0])

    def __len__(self):
        return 5

    def __getitem__(self, i):
        import weft as wf

        return wf.random.uniform((2,)) * self.scale + i, wf.compile(lambda x: x * x)(wf.asarray(i))


def test_samples_that_weft_computes():
    import weft as wf

    wf.manual_seed(1)
    expected = wf.rand(1).item()
    wf.manual_seed(1)
    here = two_epochs(Weftish(), batch_size=2)
    assert wf.rand(1).item() == expected
    assert two_epochs(Weftish(), batch_size=2, num_workers=1) == here and here[0] != here[3]


def test_global_random_numbers_of_this_process_are_left_alone():
    import random

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.Random(1).random(), np.random.RandomState(1).rand()
    list(DataLoader(Sums(), 4))
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002


@settings(max_examples=4)
@given(n=st.integers(1, 20), size=st.integers(1, 5), stop=st.integers(0, 6), data=st.data())
def test_a_loader_goes_on_from_its_state(n, size, stop, data):
    workers = data.draw(st.integers(0, 2))
    stream = data.draw(st.booleans())
    make = (lambda w: DataLoader(Stream(n), size, seed=2, num_workers=w)) if stream else (
        lambda w: DataLoader(Sums(n), size, True, seed=2, num_workers=w)
    )  # fmt: skip
    whole = make(0)
    expected = [[plain(b) for b in whole] for _ in range(2)]
    interrupted = make(0)
    iterator = iter(interrupted)
    first = [plain(b) for _, b in zip(range(stop), iterator, strict=False)]
    state = pickle.loads(pickle.dumps(interrupted.state_dict()))
    resumed = make(workers)
    resumed.load_state_dict(state)
    rest = [plain(b) for b in resumed]
    if state["epoch"] == 0:
        assert first + rest == expected[0]
        rest = [plain(b) for b in resumed]
    assert rest == expected[1]


def test_state_with_workers_counts_what_was_handed_out():
    loader = DataLoader(Sums(), 2, num_workers=1, prefetch_factor=4, seed=0)
    iterator = iter(loader)
    for _ in range(3):
        next(iterator)
    assert loader.state_dict() == {"seed": 0, "epoch": 0, "position": 3}


def test_a_stream_that_shares_itself_out():
    batches = [b.tolist() for b in DataLoader(Shared(), 2, num_workers=3)]
    assert batches == [[0, 3], [1, 4], [2, 5], [6, 9], [7], [8]]


def test_worker_init_fn_may_share_the_stream_out():
    def init(number):
        info = get_worker_info()
        info.dataset.n = 3 + number

    batches = [plain(b[0]) for b in DataLoader(Stream(), 2, num_workers=2, worker_init_fn=init)]
    assert batches == [[0, 1], [0, 1], [2], [2, 3]]


def test_a_stream_that_asks_too_late():
    class Late(IterableDataset):
        def __iter__(self):
            yield 0
            get_worker_info()
            yield 1

    with pytest.raises(DataError, match="must ask before"):
        list(DataLoader(Late(), 2, num_workers=1))
    assert len(list(DataLoader(Late(), 2))) == 1


def test_workers_know_who_they_are():
    class Who(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, i):
            info = get_worker_info()
            return info.id, info.num_workers, info.seed, len(info.dataset)

    ids, count, seeds, lengths = (
        np.concatenate([b[i].numpy() for b in DataLoader(Who(), 2, num_workers=2, seed=1)]) for i in range(4)
    )
    assert set(ids) == {0, 1} and set(count) == {2} and set(lengths) == {8} and len(set(seeds)) == 2
    assert get_worker_info() is None


# -- what is sent -------------------------------------------------------------------------------------------


class Kinds(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        import ml_dtypes

        half = np.full(3, i, ml_dtypes.bfloat16)
        return (
            Pair(np.full((300, 1000), i, np.uint8), half),
            tensor([1.0, i]),
            np.array([i, 1j * i]),
            b"bytes",
        )


def test_arrays_of_every_kind_arrive():
    (here,) = DataLoader(Kinds(), 4)
    (there,) = DataLoader(Kinds(), 4, num_workers=1)
    assert type(there[0]).__name__ == "Pair" and str(there[0].y.dtype) == "bfloat16"
    for a, b in zip([*here[0], *here[1:3]], [*there[0], *there[1:3]], strict=True):
        assert a.dtype is b.dtype and np.array_equal(a.numpy(), b.numpy())
    assert there[3] == [b"bytes"] * 4


def test_batches_of_workers_can_be_computed_with_and_written_to():
    (x,) = next(iter(DataLoader(TensorDataset(np.ones((4, 3), np.float32)), 4, num_workers=1)))
    x += 1
    assert (x @ x.T).tolist() == [[12.0] * 4] * 4


# -- who lives how long -------------------------------------------------------------------------------------


class Pids(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return os.getpid()


def pids(loader):
    return {int(p) for b in loader for p in b.numpy()}


def test_workers_end_with_their_epoch_or_persist():
    fresh = DataLoader(Pids(), 1, num_workers=1)
    first, second = pids(fresh), pids(fresh)
    assert first != second and os.getpid() not in first
    assert all(gone(p) for p in first | second)
    kept = DataLoader(Pids(), 1, num_workers=1, persistent_workers=True)
    first = pids(kept)
    assert pids(kept) == first
    del kept
    assert gone(*first)


def test_persistent_workers_live_as_long_as_their_iterator():
    iterator = iter(DataLoader(Pids(), 1, num_workers=1, prefetch_factor=1, persistent_workers=True))
    gc.collect()
    (pid,) = next(iterator).tolist()
    time.sleep(2.5)  # longer than workers get to end by themselves
    assert [p for b in iterator for p in b.tolist()] == [pid] * 5
    del iterator
    assert gone(pid)


def test_workers_end_when_the_iterator_is_dropped():
    iterator = iter(DataLoader(Pids(), 1, num_workers=1))
    (pid,) = next(iterator).tolist()
    del iterator
    assert gone(pid)


def test_an_error_does_not_keep_the_workers():
    gc.disable()
    try:
        loader = DataLoader(Broken(raising), 4, num_workers=1, collate_fn=lambda s: os.getpid())
        pid = next(iter(loader))
        for batch in loader:
            assert gone(pid)
            pid = batch
    except DataError:
        pass
    finally:
        gc.enable()
    del batch, loader
    assert gone(pid)


def test_a_new_iteration_takes_persistent_workers_over():
    loader = DataLoader(Sums(), 2, num_workers=2, persistent_workers=True, seed=1)
    old = iter(loader)
    next(old)
    loader.epoch = 0
    new = [plain(b) for b in loader]
    assert new == [plain(b) for b in DataLoader(Sums(), 2, seed=1)]
    with pytest.raises(StateError, match="iterated over anew"):
        next(old)


def test_persistent_workers_come_back_after_a_death():
    class Mortal(Pids):
        def __getitem__(self, i):
            if i == 2 and item_rng().chance(1.0) and os.path.exists(self.path):
                os.remove(self.path)
                os._exit(9)
            return i

    import tempfile

    with tempfile.NamedTemporaryFile(delete=False) as f:
        Mortal.path = f.name
    loader = DataLoader(Mortal(), 2, num_workers=1, persistent_workers=True)
    with pytest.raises(DataError, match="exit code 9"):
        list(loader)
    assert [plain(b) for b in loader] == [[0, 1], [2, 3], [4, 5]]


def test_another_seed_reaches_persistent_workers():
    loader = DataLoader(Sums(4), 4, num_workers=1, persistent_workers=True, seed=1)
    list(loader)
    loader.load_state_dict({"seed": 2, "epoch": 0, "position": 0})
    assert [plain(b) for b in loader] == [plain(b) for b in DataLoader(Sums(4), 4, seed=2)]


@pytest.mark.skipif(not POSIX, reason="forks")
def test_nothing_forks(monkeypatch):
    monkeypatch.setattr(os, "fork", None)
    forks = []
    os.register_at_fork(before=lambda: forks.append(1))
    assert len(list(DataLoader(Sums(), 4, num_workers=1))) == 3
    assert not forks


# -- scripts ------------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys, time
import weft as wf
from weft.data import DataLoader, Dataset
factor = 3
class Mine(Dataset):
    def __len__(self): return 8
    def __getitem__(self, i):
        return times(i)
def times(i): return i * factor
"""


SLOW = """
class Slow(Mine):
    def __getitem__(self, i):
        if i > 1: time.sleep(1000)
        return os.getpid()
"""


def run(text, *arguments, **options):
    """A Python process that runs a script, by default from a file's text on its standard input."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, *(arguments or ("-c", SCRIPT + text))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **options,
    )  # fmt: skip


def test_a_script_needs_no_guard(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(
        SCRIPT + "print('once')\nloader = DataLoader(Mine(), 4, num_workers=2, collate_fn=lambda s: sum(s))\n"
        "print(list(loader), sys.argv[1:])\n"
    )
    out, err = run("", str(path), "an argument").communicate(timeout=60)
    assert out == "once\n[18, 66] ['an argument']\n", err


def test_code_from_standard_input_needs_no_file():
    out, err = run("", "-").communicate(
        SCRIPT + "print([b.tolist() for b in DataLoader(Mine(), 4, num_workers=1)])\n", 60
    )
    assert out == "[[0, 3, 6, 9], [12, 15, 18, 21]]\n", err


def test_a_module_that_trains_when_it_is_imported(tmp_path):
    (tmp_path / "mod.py").write_text(
        SCRIPT + "print([b.tolist() for b in DataLoader(Mine(), 4, num_workers=1)])\n"
    )
    done = run("", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import mod")
    _, err = done.communicate(timeout=60)
    assert done.returncode == 1 and "__main__" in err and "a worker process cannot start workers" in err


def test_what_workers_print_does_not_mix_with_batches():
    text = (
        "class Loud(Mine):\n    def __getitem__(self, i):\n        print('sample', i); os.write(1, b'raw');"
        " os.system('cat')\n        return i\nprint(len(list(DataLoader(Loud(), 4, num_workers=1))))\n"
    )
    out, err = run(text).communicate("not for workers", timeout=60)
    assert out == "2\n" and "sample 7" in err and "not for workers" not in err


@pytest.mark.skipif(not POSIX, reason="a shell")
def test_a_process_without_standard_streams(tmp_path):
    path = tmp_path / "quiet.py"
    path.write_text(
        SCRIPT + "class Loud(Mine):\n    def __getitem__(self, i):\n        print(i)\n        return i\n"
        "with open('out', 'w') as f:\n    print([b.tolist() for b in DataLoader(Loud(), 4, num_workers=1)], file=f)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = f"{sys.executable} {path} >&- 2>&- <&-"
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, timeout=60)
    assert (tmp_path / "out").read_text() == "[[0, 1, 2, 3], [4, 5, 6, 7]]\n"


@pytest.mark.skipif(not POSIX, reason="signals")
def test_no_worker_outlives_a_killed_parent():
    process = run(
        SLOW + "it = iter(DataLoader(Slow(), 1, num_workers=2))\n"
        "print(int(next(it).item()), int(next(it).item()), flush=True)\nnext(it)\n"
    )
    workers = [int(p) for p in process.stdout.readline().split()]
    assert len(workers) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert all(gone(p) for p in workers)


@pytest.mark.skipif(not POSIX, reason="signals")
def test_an_interrupt_is_clean():
    process = run(
        SLOW + "it = iter(DataLoader(Slow(), 1, num_workers=2))\n"
        "print(int(next(it).item()), int(next(it).item()), flush=True)\nnext(it)\n",
        start_new_session=True,
    )
    workers = [int(p) for p in process.stdout.readline().split()]
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert err.count("Traceback") == 1 and err.rstrip().endswith("KeyboardInterrupt")
    assert all(gone(p) for p in workers)


def test_the_interpreter_ends_at_once_in_the_middle_of_an_epoch():
    process = run(
        SLOW + "it = iter(DataLoader(Slow(), 1, num_workers=1, persistent_workers=True))\n"
        "print(int(next(it).item()), flush=True); print(time.time())\n"
    )
    out, err = process.communicate(timeout=60)
    ended = time.time()
    assert err == "" and process.returncode == 0
    pid, printed = out.split()
    assert ended - float(printed) < 30
    assert gone(int(pid))


# -- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(num_workers=-1), "0 or more"),
        (dict(num_workers=True), "0 or more"),
        (dict(prefetch_factor=2), "num_workers too"),
        (dict(num_workers=1, prefetch_factor=0), "positive"),
        (dict(persistent_workers=True), "num_workers too"),
        (dict(num_workers=1, timeout=-1), "seconds"),
        (dict(num_workers=1, multiprocessing_context="fork"), "cannot be forked"),
        (dict(worker_init_fn=3), "worker_init_fn must be a function"),
        (dict(batch_sampler=[[1]], batch_size=4), "leave out batch_size"),
        (dict(sampler=[1], shuffle=True), "leave out shuffle"),
        (dict(sampler=iter([1])), "sampler must give its numbers anew in every epoch, got list_iterator"),
        (dict(batch_sampler=([i] for i in range(3))), "batch_sampler must give .* got generator"),
        (dict(sampler=3), "got int"),
        (dict(batch_size=None, drop_last=True), "no batches"),
    ],
)
def test_arguments(options, says):
    with pytest.raises(ArgumentError, match=says):
        DataLoader(Sums(), **options)


def test_batch_sampler_in_workers():
    sampler = BatchSampler(SequentialSampler(range(5)), 2, False)
    loader = DataLoader(TensorDataset(np.arange(5)), batch_sampler=sampler, num_workers=1)
    assert len(loader) == 3 and [plain(b) for b in loader] == [[[0, 1]], [[2, 3]], [[4]]]


def test_programs_that_python_is_built_into(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/opt/editor/bin/editor")
    with pytest.raises(DataError, match=r"Python interpreter.*editor; use num_workers=0"):
        iter(DataLoader(Sums(), num_workers=1))
