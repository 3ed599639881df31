"""Flags: per thread, restored, checked."""

import os
import subprocess
import sys
import threading

import pytest

from weft.base.config import config
from weft.base.errors import ArgumentError
from weft.base.state import state, version


def test_reading_and_setting():
    assert config.eager is False
    config.eager = True
    try:
        assert config.eager is True and state.eager is True
    finally:
        config.eager = False
    assert state.eager is False


def test_inside_a_block_only():
    with config(eager=True, debug=2) as inner:
        assert inner is config
        assert (config.eager, config.debug) == (True, 2)
        with config(eager=False):
            assert (config.eager, config.debug) == (False, 2)
        assert config.eager is True
    assert (config.eager, config.debug) == (False, 0)


def test_restored_after_an_error():
    with pytest.raises(ZeroDivisionError), config(debug_nan=True):
        1 / 0
    assert config.debug_nan is False and state.debug_nan is False


def test_nothing_is_set_if_one_flag_is_wrong():
    with pytest.raises(ArgumentError), config(eager=True, debug="much"):
        pass
    with pytest.raises(ArgumentError), config(eager=True, unknown=1):
        pass
    assert config.eager is False


@pytest.mark.parametrize(
    "use", [lambda: config.egaer, lambda: setattr(config, "egaer", True), lambda: config(egaer=1).__enter__()]
)
def test_unknown_flags_name_the_nearest(use):
    with pytest.raises(ArgumentError, match=r"no flag 'egaer'\. Did you mean 'eager'\?"):
        use()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("eager", 1, "'eager' takes a bool, got 1"),
        ("eager", "yes", "takes a bool"),
        ("debug", True, "takes a int"),
        ("debug", 6, "goes from 0 to 5, got 6"),
        ("debug", -1, "goes from 0 to 5"),
        ("backend", None, "takes a str"),
    ],
)
def test_values_of_the_wrong_kind(flag, value, message):
    with pytest.raises(ArgumentError, match=message):
        setattr(config, flag, value)


def test_each_thread_has_its_own():
    seen = []

    def work():
        seen.append((config.eager, config.debug, state.debug_nan))
        config.debug = 3
        seen.append(config.debug)

    with config(eager=True, debug=1, debug_nan=True):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert config.debug == 1
    assert seen == [(False, 0, False), 3]


def test_a_change_moves_the_version_and_no_change_does_not():
    before = version.value
    config.eager = False
    assert version.value == before
    with config(eager=True):
        assert version.value > before


def test_pythons_own_questions_are_answered():
    import copy
    import inspect

    assert not hasattr(config, "__wrapped__")
    assert inspect.unwrap(config) is config
    assert copy.copy(config) is not None
    assert set(dir(config)) >= {"eager", "debug", "backend"}
    assert repr(config).startswith("config(eager=False, debug_nan=False")


@pytest.mark.parametrize(
    ("variable", "value", "expression", "result"),
    [
        ("WEFT_DEBUG", "2", "config.debug", "2"),
        ("WEFT_DEBUG", "", "config.debug", "0"),
        ("WEFT_VERIFY", "1", "config.verify", "True"),
        ("WEFT_VERIFY", "0", "config.verify", "False"),
        ("WEFT_BACKEND", "other", "config.backend", "other"),
        ("WEFT_BACKEND", "", "config.backend", "cpu"),
    ],
)
def test_the_environment(variable, value, expression, result):
    assert (
        ask(variable, value, f"from weft.base.config import config; print({expression})").stdout.strip()
        == result
    )


def test_a_wrong_environment_is_named():
    done = ask("WEFT_DEBUG", "lots", "import weft.base.config")
    assert "WEFT_DEBUG takes a number from 0 to 5, got 'lots'" in done.stderr


def ask(variable, value, code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), variable: value}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
