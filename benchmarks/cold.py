"""Cold costs (w9): python benchmarks/cold.py --py torch=PYTHON torch torch_compile jax ...   -> Markdown

import: fresh process, import statement only (NumPy included). process: a whole process that trains w1 once and
exits (wall, peak RSS); compile caches are empty the first time. size: files of the packages and of everything
they require, from their records.
"""

import argparse
import contextlib
import fcntl
import json
import os
import statistics
import subprocess
import tempfile
import time

from compare import RUN, environment, interpreter, interpreters

# adapter: (import statement, packages to weigh); a new adapter adds a line
PACKAGES = {
    "torch": ("import torch", ["torch"]),
    "keras": ("import keras", ["tensorflow-cpu", "keras"]),
    "jax": ("import jax, optax", ["jax", "jaxlib", "optax"]),
    "tinygrad": ("import tinygrad", ["tinygrad"]),
    "ort": ("import onnxruntime", ["onnxruntime"]),
    "weft": ("import weft", ["weft"]),
}

# Runs in the framework's own interpreter: distribution -> bytes installed, requirements included.
SIZE = r"""
import importlib.metadata as metadata, json, re, sys
seen, todo = {}, sys.argv[1:]
while todo:
    name = re.sub("[-_.]+", "-", todo.pop()).lower()
    if name in seen:
        continue
    try:
        dist = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        continue
    paths = [file.locate() for file in dist.files or []]
    seen[name] = sum(path.stat().st_size for path in paths if path.exists())
    todo += [re.match(r"[\w.-]+", r).group() for r in dist.requires or [] if "extra ==" not in r]
print(json.dumps(seen))
"""


@contextlib.contextmanager
def locked(path):
    """Holds an exclusive lock on the file, if one is named."""
    if not path:
        yield
        return
    with open(path, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def timed(cmd, cache, lock):
    """Wall seconds and peak resident MB of a process whose compile caches are in this folder; NaN if it fails."""
    with locked(lock):
        env = environment(cache)
        env |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "2"}
        start = time.perf_counter()
        process = subprocess.Popen(cmd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    return (seconds, usage.ru_maxrss / 1024) if status == 0 else (float("nan"), float("nan"))


def main():
    parser = argparse.ArgumentParser(description="Import time, whole process, memory and installed size.")
    parser.add_argument("--py", action="append", default=[], metavar="ADAPTER=PATH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lock", help="file to lock around each run")
    parser.add_argument("frameworks", nargs="+")
    args = parser.parse_args()

    pythons = interpreters(args.py)
    bare, imported, trained = ({f: [] for f in args.frameworks} for _ in range(3))
    with tempfile.TemporaryDirectory() as caches:
        for _ in range(args.rounds):
            for f in args.frameworks:
                python, statement = interpreter(pythons, f), PACKAGES[f.split("_")[0]][0]
                cache = os.path.join(caches, f)
                os.makedirs(cache, mode=0o700, exist_ok=True)
                bare[f].append(timed([python, "-c", "pass"], cache, args.lock)[0])
                imported[f].append(timed([python, "-c", statement], cache, args.lock)[0])
                trained[f].append(timed([python, RUN, f, "w1", "--cold"], cache, args.lock))

    columns = (
        "framework",
        "import s (first, median)",
        "w1 process s (first, median)",
        "peak RSS MB",
        "size MB (packages)",
    )
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    median = statistics.median
    for f in args.frameworks:
        cmd = [interpreter(pythons, f), "-c", SIZE, *PACKAGES[f.split("_")[0]][1]]
        size = json.loads(subprocess.run(cmd, capture_output=True, text=True, check=True).stdout)
        beyond = [seconds - median(bare[f]) for seconds in imported[f]]
        wall, rss = zip(*trained[f])
        print(
            f"| {f} | {beyond[0]:.2f}, {median(beyond):.2f} | {wall[0]:.2f}, {median(wall):.2f} "
            f"| {median(rss):.0f} | {sum(size.values()) / 1e6:.0f} ({len(size)}) |"
        )


if __name__ == "__main__":
    main()
