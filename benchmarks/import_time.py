"""The time that `import weft` takes beyond `import numpy`: python benchmarks/import_time.py

Every import is timed inside a fresh process; the two take turns, and the medians are compared. The modules' byte
code is there, as in an installed package, whatever the environment says about writing it. Prints one line and exits
with status 1 when the difference is above the bar.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def import_seconds(modules: str, byte_code: str) -> float:
    """Seconds that `import modules` takes in a fresh process of this interpreter; `byte_code` is a directory for it."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = byte_code
    run = subprocess.run(
        [sys.executable, "-c", TIMED.format(modules)], stdout=subprocess.PIPE, text=True, check=True, env=env
    )
    return float(run.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time `import weft` beyond `import numpy`.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bar", type=float, default=0.15, help="seconds allowed")
    args = parser.parse_args()

    kinds = ("numpy", "numpy, weft")
    with tempfile.TemporaryDirectory() as byte_code:
        for modules in kinds:  # uncounted: writes the byte code, fills the file cache
            import_seconds(modules, byte_code)
        rounds = [[import_seconds(modules, byte_code) for modules in kinds] for _ in range(args.rounds)]
    numpy, both = (statistics.median(times) for times in zip(*rounds))
    beyond = both - numpy
    print(
        f"import weft: {beyond:.3f} s beyond numpy's {numpy:.3f} s "
        f"(medians of {args.rounds}; bar {args.bar:.2f} s: {'met' if beyond <= args.bar else 'MISSED'})"
    )
    return int(beyond > args.bar)


if __name__ == "__main__":
    sys.exit(main())
