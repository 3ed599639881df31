"""What becomes of workers that raise, die, hang or run out of memory: errors that name them, no loop that waits."""

import collections
import dataclasses
import os
import signal
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from weft.base.errors import DataError
from weft.data import DataLoader, Dataset, parallel
from worker_types import Broken, Sums, plain, raising

POSIX = os.name == "posix"


def test_a_worker_that_raises():
    loader = DataLoader(Broken(raising), 2, num_workers=2)
    iterator = iter(loader)
    assert plain(next(iterator)) == [0, 1]
    next(iterator)
    with pytest.raises(DataError) as caught:
        next(iterator)
    text = str(caught.value)
    assert (
        "of 2 (process" in text and "batch 2 (samples 4, 5)" in text and "KeyError: 'no such thing'" in text
    )
    assert "in raising" in text and "sample 5 of Broken" in text
    assert isinstance(caught.value.__cause__, KeyError)
    # The other batches are well.
    assert [plain(b) for b in iterator] == [[6, 7], [8, 9], [10, 11]]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (lambda: os._exit(3), "exit code 3"),
        (lambda: os.kill(os.getpid(), 9), "SIGKILL.*memory"),
        (lambda: os.kill(os.getpid(), 11), "SIGSEGV"),
        (lambda: (_ for _ in ()).throw(MemoryError("too much")), "raised MemoryError: too much"),
        (lambda: sys.exit("enough"), "raised SystemExit: enough"),
        (lambda: next(iter(())), "StopIteration"),
    ],
)
@pytest.mark.skipif(not POSIX, reason="signals")
def test_a_worker_that_dies(how, says):
    loader = DataLoader(Broken(how), 2, num_workers=2, timeout=60)
    with pytest.raises(DataError, match=f"(?s)worker [01] of 2.*{says}.*batch 2"):
        list(loader)


def test_after_a_death_the_iterator_does_not_pretend_to_be_at_its_end():
    iterator = iter(DataLoader(Broken(lambda: os._exit(1)), 3, num_workers=1))
    next(iterator)
    for _ in range(2):
        with pytest.raises(DataError, match="exit code 1"):
            next(iterator)


@pytest.mark.skipif(not POSIX, reason="forks")
def test_a_death_is_seen_though_a_grandchild_holds_the_pipe():
    def leave_a_child():
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
        os._exit(4)

    began = time.monotonic()
    with pytest.raises(DataError, match="exit code 4"):
        list(DataLoader(Broken(leave_a_child), 2, num_workers=1))
    assert time.monotonic() - began < 18


def sleeping():
    time.sleep(1000)


def test_a_worker_that_hangs():
    began = time.monotonic()
    with pytest.raises(
        DataError, match=r"(?s)batch 2 \(samples 4, 5\) within the timeout of 3 s.*in sleeping"
    ):
        list(DataLoader(Broken(sleeping), 2, num_workers=1, timeout=3))
    assert time.monotonic() - began < 100


@pytest.fixture
def impatient(monkeypatch):
    """Limits of seconds instead of minutes."""
    monkeypatch.setattr(parallel, "LIMIT", 3.0)
    monkeypatch.setattr(parallel, "_WARN_AFTER", 1.0)


#: On a busy machine a worker may take longer than the warning's second to start.
slow_start = pytest.mark.filterwarnings("ignore:worker . of . .process .* has not started")


@slow_start
def test_nothing_hangs_without_a_timeout(impatient):
    with (
        pytest.warns(
            RuntimeWarning, match=r"(?s)batch 2 \(samples 4, 5\) for .* waiting until 3 s.*in sleeping"
        ),
        pytest.raises(
            DataError, match=r"(?s)worker 0 of 1.*batch 2 .*timeout of 3 s.*timeout=seconds.*in sleeping"
        ),
    ):
        list(DataLoader(Broken(sleeping), 2, num_workers=1))
    assert parallel.LIMIT == 3 and DataLoader(Sums(), num_workers=1).timeout is None


def test_a_worker_that_hangs_at_its_start(impatient, monkeypatch):
    monkeypatch.setattr(parallel, "_START_LIMIT", 6.0)
    with (
        pytest.warns(RuntimeWarning, match=r"(?s)worker 0 of 1 .*has not started for "),
        pytest.raises(
            DataError, match=r"(?s)worker 0 of 1 .*has not started within the timeout.*in sleeping"
        ),
    ):
        list(DataLoader(Sums(), num_workers=1, worker_init_fn=lambda number: sleeping()))


@slow_start
@pytest.mark.skipif(not POSIX, reason="signals")
def test_a_worker_that_is_stopped(impatient):
    stop = lambda: os.kill(os.getpid(), signal.SIGSTOP)
    with (
        pytest.warns(RuntimeWarning, match="It does not say where it is"),
        pytest.raises(DataError, match=r"batch 2 .*timeout of 3 s.*does not say where it is"),
    ):
        list(DataLoader(Broken(stop), 2, num_workers=1))


@slow_start
def test_a_slow_worker_may_take_its_time_where_the_user_says_so(impatient):
    slow = DataLoader(Broken(lambda: time.sleep(5)), 6, num_workers=1, timeout=0)
    with pytest.warns(RuntimeWarning, match="waiting for ever") as caught:
        assert [plain(b) for b in slow] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert caught[-1].filename == __file__


def test_what_cannot_be_sent_is_named():
    import threading

    class Locked(Dataset):
        def __init__(self):
            self.parts = {"lock": threading.Lock()}

        def __len__(self):
            return 3

    with pytest.raises(DataError, match=r"dataset.parts\['lock'\] cannot be sent.*lock.*num_workers=0"):
        iter(DataLoader(Locked(), num_workers=1))
    lock = threading.Lock()
    with pytest.raises(DataError, match=r"collate_fn .its variable 'lock'. cannot be sent"):
        iter(DataLoader(Sums(), num_workers=1, collate_fn=lambda s: lock))


def test_a_batch_that_cannot_be_sent():
    with pytest.raises(DataError, match=r"(?s)pickle.*while the batch was sent"):
        list(DataLoader(Sums(), num_workers=1, collate_fn=lambda s: (x for x in s)))


def test_a_dataset_that_cannot_be_made_in_the_worker():
    class Stubborn(Dataset):
        def __init__(self):
            self.n = 3

        def __len__(self):
            return 3

        def __setstate__(self, state):
            raise RuntimeError("not here")

    with pytest.raises(DataError, match=r"(?s)worker 0 of 1 .* raised RuntimeError: not here at its start"):
        list(DataLoader(Stubborn(), num_workers=1))


def test_workers_have_no_workers():
    class Nested(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, i):
            return list(DataLoader(Sums(), num_workers=1))

    with pytest.raises(DataError, match="cannot start workers of its own"):
        list(DataLoader(Nested(), num_workers=1))


@pytest.mark.skipif(not POSIX, reason="limits")
def test_a_worker_without_memory():
    def limit(number):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))

    class Huge(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, i):
            return np.ones(2**31)

    with pytest.raises(DataError, match=r"(?s)worker 0 of 1.*MemoryError.*in __getitem__"):
        list(DataLoader(Huge(), num_workers=1, worker_init_fn=limit))


# -- objects on their way back ------------------------------------------------------------------------------


def of_types_inside_a_function():
    """A dataset whose samples have types that no module has under their names, and the types."""

    @dataclasses.dataclass
    class Record:
        number: int

    class Wrong(Exception):
        pass

    kinds = SimpleNamespace(Record=Record, Wrong=Wrong, Point=collections.namedtuple("Point", "u v"))

    class Records(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            if i == 3:
                raise Wrong(f"sample {i}")
            return kinds.Record(i), kinds.Point(i, 2 * i), kinds.Record

    return Records(), kinds


def test_what_was_sent_comes_back_as_the_same_types():
    dataset, kinds = of_types_inside_a_function()
    iterator = iter(DataLoader(dataset, 2, num_workers=1, collate_fn=list))
    assert next(iterator) == [dataset[0], dataset[1]]
    with pytest.raises(DataError, match="sample 3") as caught:
        next(iterator)
    assert type(caught.value.__cause__) is kinds.Wrong


def test_types_that_a_worker_made_for_itself_are_named():
    class Odd(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, i):
            class Inner:
                pass

            return Inner()

    with pytest.raises(
        DataError, match=r"(?s)Inner was made in the worker.*return arrays.*while it made batch 0"
    ):
        list(DataLoader(Odd(), num_workers=1, collate_fn=list))
