"""What one operation costs before any arithmetic: python benchmarks/overhead.py

Builds chains of operations on small tensors and times three things per operation: the graph node alone, the
same on tensors (with cell and registration), and finding the program of a chain whose structure is known, as a
flush does. Prints the medians; the budgets are 3 microseconds for a node and 1 microsecond a node for the look-up.
"""

import argparse
import gc
import statistics
import time
from unittest import mock

import weft as wf
from weft.ops.elementwise import add
from weft.runtime.buffer import Buffer
from weft.runtime.program import Program

clock = time.perf_counter


def per_unit(function, units, rounds):
    """Median microseconds per unit over rounds of `function()`, which does `units` of them."""
    times = []
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        start = clock()
        function()
        times.append(clock() - start)
        gc.enable()
    return 1e6 * statistics.median(times) / units


def node_chain(x, length):
    y = x
    for _ in range(length):
        y = add(y, x)
    return y


def tensor_chain(x, length):
    y = x
    for _ in range(length):
        y = y + x
    return y


def main():
    parser = argparse.ArgumentParser(description="Microseconds per operation, without arithmetic.")
    parser.add_argument("--length", type=int, default=500, help="operations in a chain")
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args()
    n = args.length

    x = wf.ones((4,)).realize()
    node = x._node
    tensor_chain(x, n).realize()  # the program is known from here on
    result = Buffer(x.numpy())

    rows = {"node": per_unit(lambda: node_chain(node, n), n, args.rounds)}
    rows["tensor operation"] = per_unit(lambda: tensor_chain(x, n), n, args.rounds)
    with mock.patch.object(Program, "run", lambda self, *_: [result] * len(self.graph.outputs)):
        times = []
        for _ in range(args.rounds):
            y = tensor_chain(x, n)
            start = clock()
            y.realize()
            times.append(clock() - start)
        rows["look-up in a flush"] = 1e6 * statistics.median(times) / n
    for name, microseconds in rows.items():
        print(f"{name:20s} {microseconds:6.2f} us per operation")


if __name__ == "__main__":
    main()
