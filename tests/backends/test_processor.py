"""What LLVM says of the processor, and what is kept of it on disk."""

from __future__ import annotations

import sys

import pytest

from weft.backends.cpu import processor
from weft.backends.cpu.cache import KernelCache
from weft.backends.cpu.llvm import llvm
from weft.backends.cpu.processor import Facts


@pytest.fixture
def disk(tmp_path, monkeypatch):
    cache = KernelCache(tmp_path / "kernels", 1_000_000)
    monkeypatch.setattr(processor, "disk_cache", lambda: cache)
    return cache


def facts() -> Facts:
    return processor.facts.__wrapped__()


def test_they_are_what_llvm_says():
    found = facts()
    assert found.version == list(llvm().llvm_version_info)
    assert (found.triple, found.cpu) == (llvm().get_process_triple(), llvm().get_host_cpu_name())
    has = llvm().get_host_cpu_features()
    assert set(found.features) == {name for name in has if has[name]}


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say which processor it is")
def test_llvm_is_asked_once(disk, monkeypatch):
    first = facts()
    asked = []
    monkeypatch.setattr(processor, "_asked", lambda: asked.append(1) or first)
    assert facts() == first and not asked
    (entry,) = disk.folder.iterdir()
    entry.write_bytes(entry.read_bytes()[:-1])
    assert facts() == first and asked == [1]
    assert facts() == first and asked == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say which processor it is")
def test_another_processor_is_another_entry(disk, monkeypatch):
    first = facts()
    about = processor._identity()
    assert about is not None and "mhz" not in about.lower()
    other = first._replace(cpu="another", features=["avx2"])
    monkeypatch.setattr(processor, "_identity", lambda: about.replace("model", "made"))
    monkeypatch.setattr(processor, "_asked", lambda: other)
    assert facts() == other
    monkeypatch.setattr(processor, "_identity", lambda: about)
    assert facts() == first


def test_where_the_system_does_not_say(disk, monkeypatch):
    monkeypatch.setattr(processor, "_identity", lambda: None)
    found = facts()
    assert found.cpu == llvm().get_host_cpu_name()
    assert not disk.folder.exists()


def test_a_processor_without_features(monkeypatch, disk):
    bare = Facts([22, 1, 0], "x86_64-unknown-linux-gnu", "x86-64", [])
    monkeypatch.setattr(processor, "_asked", lambda: bare)
    assert facts() == bare == facts()
    monkeypatch.delenv("WEFT_CPU", raising=False)
    monkeypatch.setattr(processor, "facts", lambda: bare)
    assert processor.host_target.__wrapped__().name == "x86-64-v2"
