"""The command `weft cache`."""

from __future__ import annotations

import os

import pytest

from weft.backends.cpu.cache import disk_cache
from weft.cli.command import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("WEFT_CACHE", raising=False)
    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path / "kernels"))
    disk_cache.cache_clear()
    yield tmp_path / "kernels"
    disk_cache.cache_clear()


def test_it_shows_and_clears(folder, capsys):
    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    assert str(folder) in out and "kernels  0" in out and "size     0.0 MB" in out
    for n in range(3):
        disk_cache().put(f"{n:064x}", b"x" * 500_000)
    assert main(["cache", "show"]) == 0
    out = capsys.readouterr().out
    assert "kernels  3" in out and "size     1.5 MB" in out
    assert main(["cache", "clear"]) == 0
    assert "removed 3 kernels" in capsys.readouterr().out
    assert list(folder.iterdir()) == []


def test_it_says_when_it_is_off(folder, monkeypatch, capsys):
    monkeypatch.setenv("WEFT_CACHE", "0")
    assert main(["cache"]) == 0
    assert "off (WEFT_CACHE=0)" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert "removed 0 kernels" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="folders have no such permissions")
def test_it_says_why_a_folder_is_not_used(folder, capsys):
    folder.mkdir()
    folder.chmod(0o777)
    assert main(["cache"]) == 0
    assert "not used: other users may write there" in capsys.readouterr().out
    folder.chmod(0o700)
    assert main(["cache"]) == 0
    assert "not used" not in capsys.readouterr().out
