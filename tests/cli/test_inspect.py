"""The command `weft inspect`."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

import weft as wf
from weft.cli import main

MODEL = """
import weft as wf
from weft import nn

model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())

def loss(x):
    return (model(x) ** 2).mean()
"""

TRAINED = (
    MODEL
    + """
step = wf.compile(loss)
step(wf.ones((3, 6)))
"""
)

TWO = (
    MODEL
    + """
first = wf.compile(loss)
second = wf.compile(loss)
"""
)


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """Runs the command on a file with the given text; (status, output, errors)."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def run(text, *arguments, name="shown_model.py", target=None):
        (tmp_path / name).write_text(text)
        status = main(["inspect", target or name, *arguments])
        out = capsys.readouterr()
        return status, out.out, out.err

    yield run
    for name in set(sys.modules) - before:
        if name.startswith("shown_"):
            del sys.modules[name]


def test_a_function_that_the_file_has_called(shown):
    status, out, _ = shown(TRAINED)
    assert status == 0
    for part in ("== the graph as it was written ==", "call[linear]", "== the graph after all passes ==",
                 "dot_general", "== the kernels as loops ==", "kernel k0", "== the kernels ==", "arena"):  # fmt: skip
        assert part in out, part
    assert "after each pass" not in out


@pytest.mark.parametrize(
    ("target", "inputs"),
    [
        ("shown_model.py", ["--input", "f32[5,6]"]),
        ("shown_model.py:model", ["--input", "5,6"]),
        ("shown_model:loss", ["--input", "float32[5,6]"]),
        ("shown_model.py:loss", ["--input", "f32[batch,6]", "--dim", "batch=5"]),
    ],
)
def test_models_and_functions_by_name(shown, target, inputs):
    status, out, err = shown(MODEL, *inputs, "--show", "passes,table", target=target)
    assert status == 0, err
    assert "-- decompose --" in out and "the kernels as loops" not in out
    assert "shown_model.py:8" in out or not target.endswith("loss")
    assert "f32[5,4]" in out


LAZY = """
from weft import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))

class Sized(nn.Module):
    def __init__(self, n):
        super().__init__()
"""


@pytest.mark.parametrize("inputs", [["--input", "2,4,5"], ["--input", "f32[n,4,5]", "--dim", "n=2"]])
def test_what_makes_a_model_and_layers_that_find_their_sizes(shown, inputs):
    status, out, err = shown(LAZY, *inputs, "--show", "table", target="shown_model.py:make")
    assert status == 0, err
    assert "linear f32[2,3]" in out


def test_a_saved_program(shown, tmp_path):
    f = wf.compile(lambda x: wf.exp(x) + 1)
    wf.save(f.trace(wf.spec((wf.Dim("n"), 3))), tmp_path / "program.weft")
    status, out, _ = shown("", "--dim", "n=4", target="program.weft")
    assert status == 0 and "f32[4,3]" in out


def test_pictures_and_texts(shown, tmp_path):
    status, _, _ = shown(TRAINED, "--output", "seen", "--show", "table")
    assert status == 0
    for name in ("before", "after", "kernels"):
        ET.parse(tmp_path / "seen" / f"{name}.svg")
        assert (tmp_path / "seen" / f"{name}.dot").read_text().startswith("digraph")
        assert (tmp_path / "seen" / f"{name}.txt").stat().st_size
    assert "kernel k0" in (tmp_path / "seen" / "loops.txt").read_text()
    # The inputs have the names that the user knows them by.
    assert "0.weight" in (tmp_path / "seen" / "before.svg").read_text()


@pytest.mark.parametrize(
    ("text", "target", "arguments", "says"),
    [
        (MODEL, "shown_model.py", [], "--input f32[8,64]"),
        (MODEL, "shown_model.py:los", ["--input", "5,6"], "loss"),
        (LAZY, "shown_model.py:Sized", ["--input", "5,6"], "a class that takes arguments"),
        (MODEL, "nowhere.py", [], "weft: there is no such file: 'nowhere.py'"),
        (MODEL, ".", [], "no module '.'"),
        (MODEL, "nowhere/program.weft", [], "no module"),
        (MODEL, "shown_nowhere", [], "no module"),
        (MODEL, "shown_model.py:loss", ["--input", "f32[5,6"], "no type of an argument"),
        (MODEL, "shown_model.py:loss", ["--input", "q7[5,6]"], "not a data type"),
        (MODEL, "shown_model.py:loss", ["--input", "f32[n,6]"], "how large n is: --dim n=32"),
        (
            MODEL,
            "shown_model.py:loss",
            ["--input", "f32[n,6]", "--dim", "n=3", "--dim", "m=2"],
            "no open dimension 'm'; it has n",
        ),
        (
            MODEL,
            "shown_model.py:loss",
            ["--input", "5,6", "--input", "5,6"],
            "loss(x) cannot be called with 2",
        ),
        (
            MODEL,
            "shown_model.py:model",
            ["--input", "5,6", "--input", "5"],
            "cannot be called with 2 arguments",
        ),
        (TWO, "shown_model.py:first", ["--input", "5,6", "--input", "5,6"], "--input once for each"),
        (TWO, "shown_model.py", ["--input", "5,6"], "shown_model:first, shown_model:second"),
        ("x = 1", "shown_model.py", [], "no compiled function and no model"),
        ("import weft as wf\nf = wf.compile(lambda x: x)", "shown_model.py", [], "was not called"),
    ],
)
def test_mistakes_are_named(shown, text, target, arguments, says):
    status, _, err = shown(text, *arguments, target=target)
    assert status == 1 and says in err


def test_mistakes_in_options(capsys):
    for arguments in (["--show", "pictures"], ["--show", ""], ["--dim", "n"], ["--dim", "n=0"]):
        with pytest.raises(SystemExit):
            main(["inspect", "x.py", *arguments])
    assert "invalid" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="pipes end otherwise")
def test_a_reader_that_has_seen_enough(tmp_path):
    """As in `weft inspect model.py | head`: no traceback."""
    (tmp_path / "model.py").write_text(TRAINED)
    command = [sys.executable, "-m", "weft", "inspect", str(tmp_path / "model.py")]
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        done = subprocess.run(
            command, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=100, check=False
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_the_script_of_the_command_is_nobodys_line(tmp_path):
    """The model itself is traced without a line of the file that holds it."""
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "script.py").write_text("import sys\nfrom weft.cli import main\nsys.exit(main())\n")
    command = [
        sys.executable,
        "script.py",
        "inspect",
        "model.py:model",
        "--input",
        "f32[3,6]",
        "--show",
        "table",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=True)
    assert "linear, relu f32[3,4]" in done.stdout and "script.py" not in done.stdout
