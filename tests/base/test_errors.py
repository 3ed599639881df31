"""The exception tree, and the sentence that offers nearby names."""

import inspect

import pytest

from weft.base import errors
from weft.base.errors import FileError, MissingFileError, WeftError, nearest

KINDS = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, Exception)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_error_is_wefts_and_documented(kind):
    assert issubclass(kind, WeftError)
    assert kind.__doc__


@pytest.mark.parametrize("kind", [k for k in KINDS if k is not WeftError], ids=lambda k: k.__name__)
def test_every_error_refines_a_built_in_one(kind):
    builtins = [
        b for b in kind.__mro__ if b.__module__ == "builtins" and b not in (Exception, BaseException, object)
    ]
    assert builtins, "code that catches ValueError, TypeError, IndexError, ... must catch Weft's too"


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("ShapeError", ValueError), ("DTypeError", TypeError), ("IndexingError", IndexError),
        ("FormatError", ValueError),
        ("NumericError", ArithmeticError), ("FileError", OSError), ("MissingFileError", FileNotFoundError),
    ],
)  # fmt: skip
def test_which_one(kind, builtin):
    assert issubclass(getattr(errors, kind), builtin)


def test_file_errors_keep_what_the_system_said():
    error = MissingFileError(2, "cannot read", "x.weft")
    assert isinstance(error, FileError)
    assert (error.errno, error.filename) == (2, "x.weft")
    assert "x.weft" in str(error)


def test_nearest_names():
    assert nearest("adm", ["adam", "sgd"]) == "Did you mean 'adam'?"
    assert nearest("acuracy", ["accuracy", "accurate", "loss"]) == "Did you mean 'accuracy' or 'accurate'?"
    assert nearest("zzz", ["b", "a"]) == "Valid names: a, b."
    assert nearest("zzz", []) == "There are none."
