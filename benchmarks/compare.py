"""Weft and its peers, interleaved -> one Markdown table (more with --details).

python benchmarks/compare.py --peers torch,torch-compile,keras-tf,jax,tinygrad,ort --py jax=PYTHON --out results.jsonl
python benchmarks/compare.py --render results.jsonl      # the tables again from saved rows

Interpreters come from --py ADAPTER=PATH or BENCH_PY="torch=...,jax=..."; without one, the running interpreter
is used. Every run is its own process. Round r runs every framework once per workload before round r+1 starts.
A cell is the median over rounds of the per-process medians.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tables
from options import refuse_unknown, refuse_unknown_frameworks

PEERS = "torch,torch-compile,keras-tf,keras-jit,jax,tinygrad,ort"
ADAPTERS = {"torch-compile": "torch_compile", "keras-tf": "keras", "keras-jit": "keras_jit"}
WHOLE = ("w1", "w2")  # units are whole trainings: these also exist as one scan
WORKLOADS = "w1,w2,w3,w3_b1,w3_b16,w4,w4_b1,w4_b256,w5,w6,w6_b1,w7,w8,w8_b1,w8_b16"
RUN = str(Path(__file__).resolve().parent / "run.py")


def frameworks_for(workload, peers):
    """Weft and the chosen peers, with the variants that make sense of a workload."""
    names = ["weft", "weft_compile", "weft_fit", *[ADAPTERS.get(p, p) for p in peers.split(",") if p]]
    if workload in WHOLE:
        names += [f"{name}_scan" for name in ("weft", "jax") if name in names]
    infers = "_b" in workload
    return [
        n for n in names if not (n == "ort" and not infers) and not (n in ("weft", "weft_fit") and infers)
    ]


def interpreters(options):
    """Adapter name -> interpreter, from --py options, else from BENCH_PY."""
    pairs = options or os.environ.get("BENCH_PY", "").split(",")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def interpreter(pythons, framework):
    return pythons.get(framework.split("_")[0], sys.executable)


def busy_seconds():
    with open("/proc/stat") as stat:
        ticks = [int(v) for v in stat.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def wait_quiet(limit):
    """Wait until the rest of the machine uses less than 0.2 core for half a second (Linux only)."""
    start = time.time()
    while time.time() - start < limit and os.path.exists("/proc/stat"):
        before = busy_seconds()
        time.sleep(0.5)
        if busy_seconds() - before < 0.1:
            return


def command(args, pythons, framework, workload):
    cmd = [interpreter(pythons, framework), RUN, framework, workload]
    cmd += ["--seconds", str(args.seconds), "--warm", str(args.warm)]
    cmd = [*args.prefix.split(), "timeout", str(args.timeout), *cmd]
    return ["flock", args.lock, *cmd] if args.lock else cmd  # outermost: waiting for it does not count


def failure(args, process):
    """One line on why a run gave no result."""
    if process.returncode == 124:
        return f"timeout {args.timeout:g}s"
    said = [line for line in process.stderr.splitlines() if line.strip(" ^~")]
    return said[-1][:200] if said else "?"


def one_run(args, env, pythons, framework, workload):
    """The row of one process; a run that saw no quiet blocks is repeated."""
    cmd = command(args, pythons, framework, workload)
    for _ in range(1 + args.retries):
        wait_quiet(args.patience)
        process = subprocess.run(cmd, env=env, capture_output=True, text=True)
        if '"quiet": false' not in process.stdout:
            break
    try:
        return json.loads(process.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"framework": framework, "workload": workload, "error": failure(args, process)}


def report(row):
    text = row.get("error")
    if not text:
        text = f"{row['ms']:10.4g} ms (min {row['ms_min']:.4g})  first {row['first_s']:.2f} s"
        text += "" if row["quiet"] else " NOISY"
    print(f"{row['workload']:8} {row['framework']:14} r{row['round']} {text}", file=sys.stderr)


def environment(cache):
    """For the runs: compile caches in this folder; Python keeps its byte code, as it does for installed packages."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env |= {"TORCHINDUCTOR_CACHE_DIR": cache + "/inductor", "CACHEDB": cache + "/tinygrad.db"}
    return env | {"WEFT_CACHE_DIR": cache + "/weft"}


def run_all(args):
    """Rows of all rounds. Compile caches start empty unless --cache is given: round 0 pays the compilers."""
    pythons = interpreters(args.py)
    cache = args.cache or tempfile.mkdtemp(prefix="bench_cache_")
    env = environment(cache)
    rows = []
    for workload in args.workloads.split(","):
        failed = set()
        for r in range(args.rounds):
            for framework in frameworks_for(workload, args.peers):
                if framework in failed:
                    continue
                row = one_run(args, env, pythons, framework, workload)
                row |= {"round": r, "time": round(time.time())}
                if "error" in row:
                    failed.add(framework)
                report(row)
                rows.append(row)
                if args.out:
                    with open(args.out, "a") as out:
                        out.write(json.dumps(row) + "\n")
    return rows


def main():
    parser = argparse.ArgumentParser(description="Interleaved peer benchmark.")
    parser.add_argument("--py", action="append", default=[], metavar="ADAPTER=PATH")
    parser.add_argument("--peers", default=PEERS, help="default: " + PEERS)
    parser.add_argument("--workloads", default=WORKLOADS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--warm", type=float, default=1)
    parser.add_argument("--timeout", type=float, default=240)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    parser.add_argument("--retries", type=int, default=1, help="repeats of a run that saw no quiet blocks")
    parser.add_argument("--prefix", default="", help='put before each run, e.g. "nice -n -15"')
    parser.add_argument("--cache", help="compile-cache folder to reuse (default: a new, empty one)")
    parser.add_argument("--lock", help="file to flock around each run")
    parser.add_argument("--out", help="append raw rows (JSON lines)")
    parser.add_argument(
        "--details", action="store_true", help="more tables: spread, best blocks, first calls"
    )
    parser.add_argument("--render", help="only print the tables of these files (comma-separated)")
    args = parser.parse_args()
    refuse_unknown_frameworks(parser, [ADAPTERS.get(p, p) for p in args.peers.split(",") if p])
    refuse_unknown(parser, "workload", args.workloads.split(","), WORKLOADS.split(","))
    if args.render:
        rows = []
        for name in args.render.split(","):
            with open(name) as saved:
                rows += [json.loads(line) for line in saved]
    else:
        rows = run_all(args)
    tables.headline(rows)
    if args.details:
        tables.details(rows)
    tables.faults(rows)


if __name__ == "__main__":
    main()
