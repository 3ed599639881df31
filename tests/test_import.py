"""What `import weft` loads, and that every public name is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import weft as wf


def loaded_by(statement: str) -> set[str]:
    """The modules in a fresh process after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(run.stdout))


def test_import_is_light():
    loaded = loaded_by("import weft")
    heavy = {"matplotlib", "tqdm", "safetensors", "sklearn", "scipy", "pandas", "torch", "concurrent.futures"}
    assert not loaded & heavy
    later = {"nn", "optim", "data", "metrics", "train", "formats", "inspect", "cli", "kernel", "passes"}
    assert not loaded & {f"weft.{name}" for name in later}


def test_sub_modules_load_when_used():
    assert "weft.nn" in loaded_by("import weft\nweft.nn")


@pytest.mark.parametrize(
    "statement",
    [
        "from weft.errors import ShapeError",
        "import weft.linalg; weft.linalg.solve",
        "from weft.fft import rfft",
        "from weft.random import normal",
        "from weft.pytree import tree_map",
        "from weft.nn.functional import relu",
        "import weft.inspect; weft.inspect.draw",
        "from weft import *",
    ],
)
def test_import_statements(statement):
    assert loaded_by(statement)


@pytest.mark.parametrize("name", sorted(set(wf.__all__)))
def test_public_names_exist(name):
    assert getattr(wf, name) is not None or name in ("newaxis",)
    assert name in dir(wf)


def test_public_names_are_listed_once():
    assert len(wf.__all__) == len(set(wf.__all__))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'zeroes'"):
        wf.zeroes


def test_public_functions_are_documented():
    plain = [n for n in wf.__all__ if callable(getattr(wf, n)) and not (getattr(wf, n).__doc__ or "").strip()]
    assert plain == []


def test_typed():
    assert (Path(wf.__file__).parent / "py.typed").exists()
