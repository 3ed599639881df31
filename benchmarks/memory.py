"""Memory of training: python benchmarks/memory.py --py torch=PYTHON weft_compile torch ...   -> Markdown

Megabytes of a process that takes three steps, whatever it holds: after the framework's import, and at the peak.
Compiled code comes from the caches: everything runs twice, and the second run counts.
"""

import argparse
import os
import subprocess

from compare import interpreter, interpreters
from options import refuse_unknown_frameworks

WORKLOADS = ["w3", "w4", "w6", "w7", "w8"]

# Runs in the framework's own interpreter.
STEPS = r"""
import importlib, resource, sys
import common
name, _, variant = sys.argv[1].partition("_")
adapter = importlib.import_module(f"adapters.{name}")
with open("/proc/self/status") as status:
    (imported,) = [line.split()[1] for line in status if line.startswith("VmRSS")]
adapter.build(common.WORKLOADS[sys.argv[2]], variant)(3)
print(int(imported) / 1000, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frameworks", nargs="+")
    parser.add_argument("--py", action="append", default=[], metavar="ADAPTER=PATH")
    args = parser.parse_args()
    refuse_unknown_frameworks(parser, args.frameworks)
    known = interpreters(args.py)
    here = os.path.dirname(os.path.abspath(__file__))
    print("| workload |" + "".join(f" {f}, import | {f}, peak |" for f in args.frameworks))
    print("|---|" + "---|---|" * len(args.frameworks))
    for work in WORKLOADS:
        cells = []
        for framework in args.frameworks:
            for _ in range(2):
                found = subprocess.run(
                    [interpreter(known, framework), "-c", STEPS, framework, work],
                    cwd=here, capture_output=True, text=True, check=True,
                )  # fmt: skip
            cells += [f"{float(mb):.0f}" for mb in found.stdout.split()[-2:]]
        print(f"| {work} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
