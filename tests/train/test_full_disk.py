"""A disk that fills up while a run saves: an error that names the file and the mend, nothing lost, and a way on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "full_disk.py"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits and mounts of POSIX")

LEFT = {
    "checkpoint": ["run.safetensors"],
    "batches": ["run.safetensors"],
    "many": ["1.safetensors", "2.safetensors"],
    "csv": ["run.csv"],
}


def mounting(folder, command):
    """A command that runs on a disk of 600 kB of its own, which is gone when it ends."""
    return [
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'mount -t tmpfs -o size=600k tmpfs "{folder}" && exec "$@"',
        "sh",
        *command,
    ]


def can_mount(folder):
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(mounting(folder, ["true"]), capture_output=True).returncode == 0


@pytest.mark.parametrize("kind", [*LEFT, "board"])
@pytest.mark.parametrize("how", ["filler", "limit"])
def test_a_disk_that_fills_up(how, kind, tmp_path):
    command = [sys.executable, str(PROGRAM), str(tmp_path), kind, how]
    if how == "filler":
        if not can_mount(tmp_path):
            pytest.skip(
                "a small disk cannot be mounted here; the limit on the size of files is tested instead"
            )
        command = mounting(tmp_path, command)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    error, left, *more = done.stdout.splitlines()
    assert (
        "the disk is full; free some space" if how == "filler" else "larger than the system allows"
    ) in error
    assert str(tmp_path) in error
    if kind in LEFT:
        assert left == f"left: {LEFT[kind]}"
    if kind in ("checkpoint", "batches", "many"):
        assert more == [
            "resumed: True"
        ]  # from what was saved last, with the bits of a run that nothing stopped
    if kind == "csv":
        assert more == ["lines: ['epoch', '1', '2'] {1001}"]  # whole lines alone
