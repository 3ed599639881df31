"""A file is replaced whole or not at all, whatever goes wrong."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading

import pytest

from weft.base.atomic import replacing
from weft.base.errors import FileError, MissingFileError


def write(path, data):
    with replacing(path) as file:
        file.write(data)


def test_new_file_and_replacement(tmp_path):
    path = tmp_path / "a.bin"
    write(path, b"one")
    assert path.read_bytes() == b"one"
    write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_error_in_the_block_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    write(path, b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("call", ["open", "fsync", "chmod", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_every_system_call_may_fail(tmp_path, monkeypatch, call, number):
    path = tmp_path / "a.bin"
    write(path, b"old")

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(FileError, match=r"a\.bin") as caught:
        write(path, b"new")
    assert caught.value.errno == number
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_long_names(tmp_path):
    path = tmp_path / ("x" * 250)
    write(path, b"data")
    assert path.read_bytes() == b"data"


def test_full_disk_names_the_mend(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="the disk is full; free some space and save again"):
        write(tmp_path / "a.bin", b"new")
    assert os.listdir(tmp_path) == []


def test_a_real_write_that_does_not_fit(tmp_path):
    """The kernel refuses the write half-way: what a full disk does."""
    path = tmp_path / "a.bin"
    write(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(FileError, match="larger than the system allows"):
            write(path, b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_missing_folder_and_folder_as_file(tmp_path):
    with pytest.raises(MissingFileError, match="no such file or folder"):
        write(tmp_path / "nowhere" / "a.bin", b"")
    with pytest.raises(FileError, match="that is a folder"):
        write(tmp_path, b"")
    with pytest.raises(FileError):
        write(str(tmp_path / "a") + "/", b"")
    (tmp_path / "plain").write_bytes(b"")
    with pytest.raises(FileError, match="not a folder"):
        write(tmp_path / "plain" / "a.bin", b"")


def test_no_permission():
    """As an ordinary user: root may write everywhere."""
    code = """
import os, sys
from weft.base.errors import FileError
from weft.base.atomic import replacing
if os.getuid() == 0:
    os.setuid(65534)
try:
    with replacing(sys.argv[1]) as file:
        file.write(b"x")
except FileError as e:
    assert "no permission" in str(e), e
else:
    raise AssertionError("written")
"""
    with tempfile.TemporaryDirectory() as parent:
        folder = os.path.join(parent, "locked")
        os.mkdir(folder)
        os.chmod(parent, 0o755)
        os.chmod(folder, 0o555)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", code, os.path.join(folder, "a.bin")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert os.listdir(folder) == []


def test_permissions_are_kept_and_follow_the_umask(tmp_path):
    path = tmp_path / "a.bin"
    mask = os.umask(0o027)
    try:
        write(path, b"one")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    write(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.bin", tmp_path / "link.bin"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_readers_see_one_version_or_the_other(tmp_path):
    path = tmp_path / "a.bin"
    versions = [bytes([i]) * 100_000 for i in range(2)]
    write(path, versions[0])
    seen, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            seen.add(path.read_bytes())

    readers = [threading.Thread(target=look) for _ in range(2)]
    for r in readers:
        r.start()
    for i in range(30):
        write(path, versions[i % 2])
    stop.set()
    for r in readers:
        r.join()
    assert seen <= set(versions)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_pipes_and_devices_are_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileError, match="a device or a pipe"), replacing(pipe) as file:
        file.write(b"x")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]
