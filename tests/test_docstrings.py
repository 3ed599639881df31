"""The examples in docstrings run, with the public names at hand."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import weft as wf
from weft import data, metrics, nn, optim, train

MODULES = [m.name for m in pkgutil.walk_packages(wf.__path__, "weft.") if not m.name.endswith("__main__")]
SHADOWING = {"abs", "all", "any", "bool", "compile", "max", "min", "pow", "round", "sum"}


def cases():
    for name in MODULES:
        for case in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
            if case.examples:
                yield pytest.param(case, id=case.name)


@pytest.mark.parametrize("case", list(cases()))
def test_examples(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {n: getattr(wf, n) for n in wf.__all__ if n not in SHADOWING}
    for module in (nn, optim, data, metrics, train):
        names |= {n: getattr(module, n) for n in module.__all__}
    case.globs = {**names, "wf": wf, "weft": wf, "np": np, **case.globs}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False)
    report: list[str] = []
    runner.run(case, out=report.append)
    assert runner.failures == 0, "".join(report)
