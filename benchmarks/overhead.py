"""What one operation costs before any arithmetic: python benchmarks/overhead.py

Builds chains of operations on small tensors and times three things per operation: the graph node alone, the
same on tensors (with cell and registration), and finding the program of a chain whose structure is known, as a
flush does. Then warm calls of compiled functions, kernels included: one that reads a tensor and a number from
outside, with the check that they are still there, and one that updates two parameters; each as calls that follow one
another, and as the ordinary call that is made where something has changed in between. Prints the medians; the budgets
are 3 microseconds for a node, 1 microsecond a node for the look-up and 4 for a call.
"""

import argparse
import contextlib
import gc
import statistics
import sys
import time
from collections import deque
from unittest import mock

import weft as wf
from weft.ops.elementwise import add
from weft.runtime.buffer import Buffer
from weft.runtime.program import Program

compiled = sys.modules[wf.compile.__module__]

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


weight, bias, rate = (wf.tensor([0.5] * n, requires_grad=n > 1) for n in (4, 2, 1))
scale = 2.0


@wf.compile
def small(x):
    return x * rate * scale


@wf.compile
def step(x):
    weight.grad = None
    loss = ((x * weight - 1.0) ** 2).mean()
    loss.backward()
    with wf.no_grad():
        weight[...] = weight - rate * weight.grad
        bias[...] = bias * 0.99
    return loss


def warm_call(function, rounds, ordinary):
    """Median microseconds of a call whose program is known."""
    x = wf.ones((4,)).realize()
    for _ in range(4):
        function(x)

    def never(*_):
        return None

    with mock.patch.object(compiled, "prepare", never) if ordinary else contextlib.nullcontext():
        for p in function.programs:
            p.life.ready = None if ordinary else p.life.ready
        return per_unit(lambda: deque(map(function, [x] * 500), 0), 500, rounds)


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
        print(f"{name:28s} {microseconds:6.2f} us per operation")
    for name, function in (("compiled function", small), ("compiled step", step)):
        for kind in ("", ", ordinary"):
            print(f"{name + kind:28s} {warm_call(function, args.rounds, bool(kind)):6.2f} us per call")


if __name__ == "__main__":
    main()
