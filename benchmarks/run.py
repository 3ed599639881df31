"""python benchmarks/run.py FRAMEWORK WORKLOAD   -> one JSON line.

FRAMEWORK is ADAPTER or ADAPTER_VARIANT; adapters/ADAPTER.py defines

    build(work: common.Work, variant: str) -> run

where run(k) does k units of work (a training step; a whole training if work.epochs > 1; an inference call),
always starting with batch 0, waits for the result, and returns a float (the last loss) or the output array.
It starts from common.params(work.model) and uses common.batches(work).
"""

import argparse
import cProfile
import importlib
import json
import os
import pstats
import resource
import statistics
import sys
import time

clock = time.perf_counter
STARTED = clock()

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before NumPy is imported
    os.environ[_name] = "2"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

import common  # noqa: E402
from options import refuse_unknown_frameworks  # noqa: E402


def busy():
    """CPU seconds used by the machine (steal included) and by this process; zeros without /proc/stat."""
    try:
        with open("/proc/stat") as stat:
            ticks = [int(v) for v in stat.readline().split()[1:9]]
    except OSError:
        return 0.0, 0.0
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"), time.process_time()


def check(run, first, work, cold):
    """Two numbers to agree on: first and sixth loss, or mean size and first element of the output.

    Every training step here is on batch 0; where a unit is a whole training, both are its last loss.
    """
    if work.mode == "infer":
        out = np.asarray(first, np.float64).ravel()
        return [float(np.abs(out).mean()), float(out[0])]
    last = first
    if not cold and work.epochs == 1:
        for _ in range(5):
            last = run(1)
    return [float(first), float(last)]


def warm_up(run, seconds):
    """Units of work in a block of about 0.25 s, and the seconds one unit takes."""
    unit, n, start = 0.0, 1, clock()
    while unit == 0.0 or clock() - start < seconds or unit * n < 0.1:
        t = clock()
        run(n)
        unit = (clock() - t) / n
        n = max(1, min(4 * n, int(0.25 / unit)))
    return n, unit


def measure(run, n, unit, seconds):
    """Times blocks of n units. A block is quiet if other processes used less than 0.15 core meanwhile."""
    blocks, quiet, need, start = [], [], 3 if unit < 2 else 1, clock()

    def wanted():
        if clock() - start < seconds or not blocks:
            return True
        return len(quiet) < need and clock() - start < 4 * seconds  # look longer for quiet ones

    while wanted():
        (machine0, own0), t = busy(), clock()
        run(n)
        took, (machine1, own1) = clock() - t, busy()
        blocks.append(1e3 * took / n)
        if (machine1 - machine0) - (own1 - own0) < 0.15 * took + 0.02:
            quiet.append(blocks[-1])
    counted = sorted(quiet if len(quiet) >= need else blocks)
    return {
        "ms": statistics.median(counted),
        "ms_min": counted[0],
        "ms_p90": counted[int(0.9 * len(counted))],
        "block": n,
        "blocks": len(counted),
        "quiet": len(quiet) >= need,
        "noisy_blocks": len(blocks) - len(quiet),
    }


def main():
    parser = argparse.ArgumentParser(description="Time one framework on one workload.")
    parser.add_argument("framework")
    parser.add_argument("workload", choices=common.WORKLOADS)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured time")
    parser.add_argument("--warm", type=float, default=1.0, help="warm-up time")
    parser.add_argument("--cold", action="store_true", help="build, run one unit, exit (whole-process cost)")
    parser.add_argument("--profile", action="store_true", help="cProfile the steady state to stderr")
    args = parser.parse_args()
    refuse_unknown_frameworks(parser, [args.framework])

    work = common.WORKLOADS[args.workload]
    name, _, variant = args.framework.partition("_")
    times = [clock()]
    adapter = importlib.import_module("adapters." + name)
    times.append(clock())
    run = adapter.build(work, variant)
    times.append(clock())
    first = run(1)
    times.append(clock())

    row = {"framework": args.framework, "workload": args.workload, "unit": work.unit}
    row |= {k: times[i + 1] - times[i] for i, k in enumerate(("import_s", "build_s", "first_s"))}
    row["check"] = check(run, first, work, args.cold)
    if not args.cold:
        n, unit = warm_up(run, args.warm)
        if args.profile:
            profile = cProfile.Profile()
            row |= profile.runcall(measure, run, n, unit, args.seconds)
            pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(18)
        else:
            row |= measure(run, n, unit, args.seconds)
    row["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row["process_s"] = clock() - STARTED
    print(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
