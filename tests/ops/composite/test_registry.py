"""Every composite is documented and stands in one of the tables beside this file."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import weft.ops.composite as package
from weft.ops.composite.define import registry

for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module(f"{package.__name__}.{module.name}")

TESTS = "\n".join(p.read_text(encoding="utf-8") for p in sorted(Path(__file__).parent.glob("test_*.py")))


#: The modules whose composites stand in tables here; those of others are tested with what they belong to.
MODULES = ("activations", "attention", "classes", "conv", "ctc", "dropout", "first", "grids", "heads", "images",
           "linear", "losses", "margins", "normalization", "order", "padding", "pooling", "recurrent", "resize",
           "similarity", "softmax", "weights")  # fmt: skip


def _own(name: str) -> bool:
    return registry[name].body.__module__.rpartition(".")[2] in MODULES


@pytest.mark.parametrize("name", sorted(n for n in registry if _own(n)))
def test_a_composite_is_documented_and_tested(name):
    found = registry[name]
    assert found.__doc__ and found.__doc__.strip().endswith((".", ")"))
    if not name.startswith("_"):  # parts of others are tested through them
        assert re.search(rf"\b{found.body.__name__}\b", TESTS), f"{name} stands in no table"
