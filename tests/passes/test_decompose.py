"""Calls opened up."""

from __future__ import annotations

from passes_shared import calls
from weft.passes.decompose import decompose


def test_decompose_leaves_no_call_and_keeps_what_it_is_told_to():
    assert "call" not in {n.prim.name for n in decompose(calls()).nodes}
    kept = decompose(calls(), lambda n: n.attrs["name"] == "test_inner")
    assert [n.attrs["name"] for n in kept.nodes if n.prim.name == "call"] == ["test_inner"]
