"""The kernel cache on disk: what it finds, what it refuses, and what it survives."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from weft.backends.cpu import cache as cache_module
from weft.backends.cpu.cache import KernelCache, cache_folder, cache_limit
from weft.base.errors import ArgumentError

MB = 1_000_000


def key(n: int) -> str:
    return f"{n:064x}"


#: A key whose writer looks at the whole folder.
LOOKS = next(n for n in range(1000, 10_000) if cache_module._is_drawn(key(n)))


def fresh(folder: Path, limit: int = MB) -> KernelCache:
    """A cache as another process would open it."""
    return KernelCache(folder, limit)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "cache" / "kernels"


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_was_put_is_found_again(folder):
    cache = fresh(folder)
    assert cache.get(key(1)) is None
    cache.put(key(1), b"code")
    assert cache.get(key(1)) == b"code"
    assert fresh(folder).get(key(1)) == b"code"
    assert fresh(folder).get(key(2)) is None
    assert [p.suffix for p in folder.iterdir()] == [".kernel"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX systems")
def test_the_folder_and_its_files_are_for_the_user_alone(folder):
    old = os.umask(0)
    try:
        fresh(folder).put(key(1), b"code")
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert only(folder).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX systems")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_is_refused(folder, mode):
    fresh(folder).put(key(1), b"code")
    folder.chmod(mode)
    cache = fresh(folder)
    with pytest.warns(RuntimeWarning, match="other users may write there"):
        assert cache.get(key(1)) is None
    cache.put(key(2), b"more")  # silently: it has been said once
    assert len(list(folder.iterdir())) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users of POSIX systems")
def test_a_folder_of_another_user_is_refused(folder, monkeypatch):
    fresh(folder).put(key(1), b"code")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.warns(RuntimeWarning, match="belongs to another user"):
        assert fresh(folder).get(key(1)) is None


def test_a_file_in_the_place_of_the_folder_is_refused(folder):
    folder.parent.mkdir()
    folder.write_text("not a folder")
    cache = fresh(folder)
    with pytest.warns(RuntimeWarning, match="not used"):
        cache.put(key(1), b"code")
    assert cache.get(key(1)) is None
    assert folder.read_text() == "not a folder"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_serves_but_does_not_grow(folder):
    fresh(folder).put(key(1), b"code")
    folder.chmod(0o500)
    try:
        cache = fresh(folder)
        assert cache.get(key(1)) == b"code"
        cache.put(key(2), b"more")
        assert len(list(folder.iterdir())) == 1
    finally:
        folder.chmod(0o700)


def test_a_full_disk_costs_nothing_but_the_entry(folder, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    cache = fresh(folder)
    monkeypatch.setattr(os, "replace", full)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(key(1), b"code")
    assert list(folder.iterdir()) == []
    assert cache.get(key(1)) is None


@pytest.mark.parametrize(
    "damage", ["cut in the code", "cut in the head", "empty", "one bit", "longer", "other entry"]
)
def test_a_damaged_entry_is_found_out_and_made_anew(folder, damage):
    fresh(folder).put(key(1), b"code" * 100)
    path = only(folder)
    whole = path.read_bytes()
    if damage == "one bit":
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "other entry":  # whole, but in the place of another
        path.rename(folder / path.name.replace(key(1), key(2)))
    else:
        ends = {"cut in the code": len(whole) - 7, "cut in the head": 20, "empty": 0}
        path.write_bytes(whole + b"x" if damage == "longer" else whole[: ends[damage]])
    wanted = key(2) if damage == "other entry" else key(1)
    cache = fresh(folder)
    assert cache.get(wanted) is None
    assert list(folder.iterdir()) == []
    cache.put(wanted, b"new")
    assert fresh(folder).get(wanted) == b"new"


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="symbolic links of POSIX systems")
def test_an_entry_is_never_read_through_a_link(folder, tmp_path):
    fresh(folder).put(key(1), b"code")
    path = only(folder)
    moved = tmp_path / "elsewhere"
    path.rename(moved)
    path.symlink_to(moved)
    assert fresh(folder).get(key(1)) is None


def test_the_least_recently_used_go_first(folder):
    cache = fresh(folder, limit=10_000)
    for n in range(9):
        cache.put(key(n), b"x" * 1000)
        os.utime(folder / f"{key(n)}.kernel", (n + 1000, n + 1000))
    assert cache.get(key(0)) is not None  # used now
    cache.put(key(9), b"x" * 1000)  # more than 10,000 bytes with the heads
    size = sum(p.stat().st_size for p in folder.iterdir())
    assert size <= 10_000
    left = {n for n in range(10) if cache.get(key(n)) is not None}
    assert {0, 9} <= left
    assert left - {0, 9} == set(range(10 - len(left) + 1, 9))  # the newest of the rest


def test_what_other_processes_wrote_counts(folder):
    first, second = fresh(folder, limit=50_000), fresh(folder, limit=50_000)
    for n in range(0, 40, 2):
        first.put(key(n), b"x" * 1000)
    for n in range(1, 40, 2):
        second.put(key(n), b"x" * 1000)
    third = fresh(folder, limit=20_000)
    third.put(key(LOOKS), b"x")
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 20_000


def test_processes_that_write_little_seldom_look_at_the_whole_folder(folder, monkeypatch):
    """It may hold hundreds of thousands of entries. Together they look as often as one process would."""
    looks = []
    entries = KernelCache.entries
    monkeypatch.setattr(KernelCache, "entries", lambda self: looks.append(1) or entries(self))
    for n in range(1000):
        fresh(folder).put(key(n), b"x" * 1000)
    assert 1 <= len(looks) <= 12
    once = len(looks)
    one = fresh(folder, limit=2 * MB)
    for n in range(1000):
        one.put(key(n), b"x" * 1000)
    assert once < len(looks) <= once + 24


def test_unfinished_files_of_killed_writers_go(folder):
    fresh(folder).put(key(1), b"code")
    for name, age in (("old", 7200), ("young", 0)):
        path = folder / f"{name}.part"
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    fresh(folder).put(key(LOOKS), b"code")
    assert sorted(p.name for p in folder.glob("*.part")) == ["young.part"]
    fresh(folder).clear()
    assert list(folder.iterdir()) == []


def test_clear(folder):
    cache = fresh(folder)
    assert cache.clear() == 0
    for n in range(3):
        cache.put(key(n), b"code")
    assert len(cache.entries()) == 3
    assert cache.clear() == 3
    assert cache.get(key(0)) is None
    cache.put(key(0), b"code")
    assert cache.get(key(0)) == b"code"


def test_threads_and_writers_of_the_same_entry(folder):
    caches = [fresh(folder, limit=30_000) for _ in range(4)]
    wrong = []

    def work(cache: KernelCache) -> None:
        for n in range(200):
            k = n % 40
            cache.put(key(k), bytes([k]) * 1000)
            found = cache.get(key(k))
            if found is not None and found != bytes([k]) * 1000:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(c,)) for c in caches]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert not list(folder.glob("*.part"))


# -- settings -------------------------------------------------------------------------------------------------


def test_where_it_is(monkeypatch, tmp_path):
    for name in ("WEFT_CACHE", "WEFT_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if sys.platform.startswith("linux"):
        assert cache_folder() == tmp_path / ".cache" / "weft" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "weft" / "kernels"
    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("WEFT_CACHE", "0")
    assert cache_folder() is None


def test_its_size(monkeypatch):
    monkeypatch.setenv("WEFT_CACHE_SIZE", "2.5")
    assert cache_limit() == 2_500_000
    monkeypatch.setenv("WEFT_CACHE_SIZE", "")
    assert cache_limit() == 512_000_000
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("WEFT_CACHE_SIZE", wrong)
        with pytest.raises(ArgumentError, match="WEFT_CACHE_SIZE must be a number of megabytes"):
            cache_limit()


def test_off():
    cache = KernelCache(None, MB)
    cache.put(key(1), b"code")
    assert cache.get(key(1)) is None
    assert cache.entries() == []


# -- whole processes ------------------------------------------------------------------------------------------

PROGRAM = """
import numpy as np, warnings
warnings.simplefilter("error")
import weft as wf
from weft.backends.cpu import compiling
count = 0
make = compiling.Compiler.object_code
def counted(*args, **kwargs):
    global count
    count += 1
    return make(*args, **kwargs)
compiling.Compiler.object_code = counted
x = wf.tensor(np.arange(35, dtype=np.float32).reshape(5, 7))
y = wf.sum(wf.exp(-x) @ x.T, axis=1) + 1
bits = y.numpy().tobytes().hex()
print(count, bits)
"""


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    given = {k: v for k, v in os.environ.items() if not k.startswith("WEFT_CACHE")}
    given |= {"WEFT_BACKEND": "cpu", "WEFT_CACHE_DIR": str(folder), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(how many modules it compiled itself, the bits of its result)"""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    compiled, bits = out.split()
    return int(compiled), bits


def test_a_second_process_compiles_nothing_and_damage_is_mended(folder):
    first, bits = finish(start(folder))
    assert first > 1
    assert finish(start(folder)) == (0, bits)
    least, *_, code, more = sorted(folder.iterdir(), key=lambda p: p.stat().st_size)
    least.write_bytes(least.read_bytes()[:-1])  # the numbers that a kernel is called with
    code.write_bytes(code.read_bytes()[:-1])
    more.write_bytes(more.read_bytes().replace(b"\x00", b"\x01"))
    assert finish(start(folder)) == (2, bits)
    assert finish(start(folder)) == (0, bits)
    assert finish(start(folder, WEFT_CACHE="0")) == (first, bits)
    other = "x86-64-v2" if os.environ.get("WEFT_CPU") != "x86-64-v2" else "x86-64-v3"
    if os.uname().machine == "x86_64":
        assert finish(start(folder, WEFT_CPU=other))[0] == first


def test_two_processes_fill_it_at_the_same_time(folder):
    processes = [start(folder) for _ in range(2)]
    results = [finish(p) for p in processes]
    assert results[0][1] == results[1][1]
    assert finish(start(folder)) == (0, results[0][1])
    assert not list(folder.glob("*.part"))
