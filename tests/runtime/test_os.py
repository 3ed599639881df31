"""How many processors there are, as affinity, quotas and the environment say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from weft.base.errors import ArgumentError
from weft.runtime import os as weft_os
from weft.runtime import threads

V2 = "31 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = (
    "40 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 30 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)
PART = "41 30 0:32 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"

CASES = {
    "version 2, at the root of a container": (V2, "0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
    "version 2, no limit": (V2, "0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000"}, None),
    "version 2, the group around is narrower": (V2, "0::/a/b\n", {
        "sys/fs/cgroup/a/b/cpu.max": "400000 100000", "sys/fs/cgroup/a/cpu.max": "300000 100000"}, 3),
    "version 2, the group inside is narrower": (V2, "0::/a/b\n", {
        "sys/fs/cgroup/a/b/cpu.max": "50000 100000", "sys/fs/cgroup/a/cpu.max": "300000 100000"}, 1),
    "version 1": (V1, "5:memory:/x\n4:cpu,cpuacct:/a\n", {
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "250000\n",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 3),
    "version 1, no limit": (V1, "4:cpu,cpuacct:/a\n", {
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, None),
    "version 1, mounted in part": (PART, "4:cpu:/docker/abc/inner\n", {
        "sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us": "100000\n",
        "sys/fs/cgroup/cpu/inner/cpu.cfs_period_us": "100000\n"}, 1),
    "both versions": (V1 + V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), "4:cpu:/a\n0::/a\n", {
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "200000\n",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 2),
    "nothing mounted": ("", "0::/\n", {}, None),
    "no such system": (None, None, {}, None),
    "nonsense": (V2 + "x\n", "0::/\nzzz\n", {"sys/fs/cgroup/cpu.max": "lots"}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_quotas_of_control_groups(tmp_path, case):
    mounts, groups, files, want = CASES[case]
    texts = {**files}
    if mounts is not None:
        texts |= {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups}
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert weft_os.cgroup_quota(tmp_path) == want


def test_the_smaller_of_quota_and_affinity_counts(monkeypatch):
    monkeypatch.setattr(weft_os.os, "sched_getaffinity", lambda who: set(range(6)), raising=False)
    for quota, want in ((None, 6), (4, 4), (8, 6)):
        monkeypatch.setattr(weft_os, "cgroup_quota", lambda quota=quota: quota)
        assert weft_os.cpu_count() == want


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_an_affinity_mask_is_honoured():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "import weft; print(weft.get_num_threads())"
    )
    env = {k: v for k, v in os.environ.items() if k != "WEFT_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "1", done.stderr


@pytest.mark.parametrize(
    ("given", "count"), [("3", 3), (" 2 ", 2), ("0", None), ("many", None), ("-1", None)]
)
def test_the_environment_says_how_many(monkeypatch, given, count):
    monkeypatch.setattr(threads, "_wanted", None)
    monkeypatch.setenv("WEFT_NUM_THREADS", given)
    if count is None:
        with pytest.raises(ArgumentError, match="WEFT_NUM_THREADS must be a positive integer"):
            threads.get_num_threads()
    else:
        assert threads.get_num_threads() == count


def test_without_a_word_it_is_as_many_as_there_are_processors(monkeypatch):
    monkeypatch.setattr(threads, "_wanted", None)
    monkeypatch.setenv("WEFT_NUM_THREADS", "")
    assert threads.get_num_threads() == weft_os.cpu_count()
