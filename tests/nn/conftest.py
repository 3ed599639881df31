"""Parameters are drawn at random: every test starts from the same seeds."""

import sys

import pytest

import weft as wf


@pytest.fixture(autouse=True)
def seeded() -> None:
    wf.manual_seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
