"""The garbage collector while programs are made."""

from __future__ import annotations

import gc
import os
import threading

import pytest

from weft.base.collector import paused


def test_it_rests_inside_and_works_again_after():
    assert gc.isenabled()
    with paused():
        assert not gc.isenabled()
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_inside_and_another_thread():
    inside, leave = threading.Event(), threading.Event()

    def work():
        with paused():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=work)
    other.start()
    inside.wait(10)
    with pytest.raises(ValueError), paused():
        raise ValueError
    assert not gc.isenabled()
    leave.set()
    other.join()
    assert gc.isenabled()


def test_one_that_is_off_stays_off():
    gc.disable()
    try:
        with paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_collects():
    with paused():
        child = os.fork()
        if not child:
            os._exit(0 if gc.isenabled() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
