"""The time that `import weft` takes beyond `import numpy`: python benchmarks/import_time.py

Every import is timed inside a fresh process; the two take turns, and the medians are compared. Prints one
line and exits with status 1 when the difference is above the bar.
"""

import argparse
import statistics
import subprocess
import sys

TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def import_seconds(modules: str) -> float:
    """Seconds that `import modules` takes in a fresh process of this interpreter."""
    run = subprocess.run(
        [sys.executable, "-c", TIMED.format(modules)], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(run.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time `import weft` beyond `import numpy`.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bar", type=float, default=0.15, help="seconds allowed")
    args = parser.parse_args()

    kinds = ("numpy", "numpy, weft")
    for modules in kinds:  # uncounted: writes the byte code, fills the file cache
        import_seconds(modules)
    rounds = [[import_seconds(modules) for modules in kinds] for _ in range(args.rounds)]
    numpy, both = (statistics.median(times) for times in zip(*rounds))
    beyond = both - numpy
    print(
        f"import weft: {beyond:.3f} s beyond numpy's {numpy:.3f} s "
        f"(medians of {args.rounds}; bar {args.bar:.2f} s: {'met' if beyond <= args.bar else 'MISSED'})"
    )
    return int(beyond > args.bar)


if __name__ == "__main__":
    sys.exit(main())
