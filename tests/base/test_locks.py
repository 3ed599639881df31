"""Locks that are held across a fork."""

from __future__ import annotations

import gc
import os
import threading
import time

import pytest

from weft.base import locks


def test_a_lock_is_reentrant_and_forgotten_when_nobody_has_it():
    gc.collect()  # those of other tests
    before = len(locks._known)
    lock = locks.new_lock(5)
    with lock, lock:
        assert len(locks._known) == before + 1
    del lock
    gc.collect()
    assert len(locks._known) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_does_not_find_it_taken_by_another_thread():
    lock = locks.new_lock(5)
    taken, let_go = threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            let_go.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    threading.Timer(0.1, let_go.set).start()
    child = os.fork()  # waits for the holder
    if child == 0:
        os._exit(0 if lock.acquire(timeout=5) else 1)
    _, status = os.waitpid(child, 0)
    holder.join()
    assert status == 0
    assert lock.acquire(blocking=False)
    lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_lock_that_is_made_while_a_fork_waits_for_another():
    first, made = locks.new_lock(5), []
    taken, waits, let_go = threading.Event(), threading.Event(), threading.Event()

    def hold():
        with first:
            taken.set()
            waits.wait(10)  # the fork has looked at the locks there are
            made.append(locks.new_lock(20))
            made[0].acquire()
        let_go.wait(10)
        made[0].release()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    threading.Timer(0.1, waits.set).start()
    threading.Timer(0.3, let_go.set).start()
    child = os.fork()
    if child == 0:
        os._exit(0 if made[0].acquire(timeout=5) else 1)
    _, status = os.waitpid(child, 0)
    holder.join()
    assert status == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_with_very_many_locks_takes_no_time():
    """Every compiled function has one; to look at all of them for each of them took a quarter of a minute."""
    kept = [locks.new_lock(rank=k % 90) for k in range(10_000)]
    began = time.process_time()
    child = os.fork()
    if child == 0:
        os._exit(0 if all(lock.acquire(blocking=False) for lock in kept) else 1)
    assert time.process_time() - began < 3
    assert os.waitpid(child, 0)[1] == 0
