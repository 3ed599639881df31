"""What an undecorated training step costs before any arithmetic: python benchmarks/eager.py w3 w7

Runs the steps of the training workloads with the kernels left out, and prints the microseconds that Python takes for
each part of a step: forgetting the gradients, the forward pass, the backward pass, building the update, finding the
program of what is pending, and running it (memory for its results and their addresses). The nodes that are built and
found are counted, so that the price of one can be seen. Prints minima over rounds.
"""

import argparse
import gc
import statistics
import time
from unittest import mock

import common
from adapters import weft as adapter
from options import refuse_unknown
from weft.arrays import cell
from weft.backends.cpu.standing import Standing
from weft.optim import optimizer as optim_module
from weft.runtime import executor

clock = time.perf_counter
SHOWN = ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"]
PARTS = ("zero_grad", "forward", "backward", "update", "find", "run", "assign")


class Watch:
    """Times of the parts of steps, taken by wrapping the functions that begin and end them."""

    def __init__(self):
        self.marks = []

    def mark(self, name):
        self.marks.append((name, clock()))

    def around(self, function, before, after):
        def wrapped(*args, **kwargs):
            self.mark(before)
            try:
                return function(*args, **kwargs)
            finally:
                self.mark(after)

        return wrapped


def measure(name, rounds, kernels):
    """Seconds of each part of a step of a workload, the nodes that it finds, and the seconds of a whole step."""
    work = common.WORKLOADS[name]
    net, _ = adapter.make(work.model)
    kind, lr, *o = work.opt
    opt = {
        "sgd": lambda: adapter.optim.SGD(net.parameters(), lr=lr, momentum=o[0]),
        "adam": lambda: adapter.optim.Adam(net.parameters(), lr=lr),
        "adamw": lambda: adapter.optim.AdamW(net.parameters(), lr=lr, betas=(o[0], o[1]), weight_decay=o[2]),
    }[kind]()
    loss_of = adapter.LOSS[work.loss]
    x, y = [adapter.wf.asarray(v) for v in common.batches(work)[0]]
    watch = Watch()
    nodes = []

    def step(mark):
        mark("zero_grad")
        opt.zero_grad()
        mark("forward")
        loss = loss_of(net(x), y)
        mark("backward")
        loss.backward()
        mark("update")
        opt.step()
        mark("end")
        return loss

    for _ in range(6):
        loss = step(lambda _: None)

    def pending(*args):
        found = executor_pending(*args)
        nodes.append(len(found.nodes))
        return found

    executor_pending = executor.Pending
    whole, parts = [], []
    native = Standing.run

    def run_kernels(self, parts=None):
        watch.mark("kernels")
        if kernels:
            native(self, parts)
        watch.mark("run")

    with mock.patch.object(Standing, "run", run_kernels):
        gc.collect()
        gc.disable()
        for _ in range(rounds):
            start = clock()
            loss = step(lambda _: None)
            whole.append(clock() - start)
        run = executor.Program.run
        with (
            mock.patch.object(executor, "Pending", pending),
            mock.patch.object(executor.Program, "run", lambda *a: watch.around(run, "run", "assign")(*a)),
            mock.patch.object(optim_module, "flush", watch.around(cell.flush, "find", "done")),
        ):
            for _ in range(rounds):
                watch.marks = []
                loss = step(watch.mark)
                times = dict.fromkeys(PARTS, 0.0)
                for (part, begin), (_, end) in zip(watch.marks, watch.marks[1:]):
                    if part in times:
                        times[part] += end - begin
                parts.append(times)
        gc.enable()
    del loss
    return {p: statistics.median(t[p] for t in parts) for p in PARTS}, nodes[-1], min(whole)


def main():
    parser = argparse.ArgumentParser(description="Microseconds of Python in an eager training step.")
    parser.add_argument("workloads", nargs="*", default=SHOWN)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument(
        "--kernels", action="store_true", help="run the kernels, untimed: they empty the caches"
    )
    args = parser.parse_args()
    refuse_unknown(parser, "workload", args.workloads, SHOWN)
    print(f"{'':4s}{'nodes':>6s}" + "".join(f"{p:>10s}" for p in PARTS) + f"{'sum':>10s}{'step':>10s}")
    for name in args.workloads:
        parts, nodes, whole = measure(name, args.rounds, args.kernels)
        row = [*parts.values(), sum(parts.values()), whole]
        print(f"{name:4s}{nodes:6d}" + "".join(f"{1e6 * v:10.0f}" for v in row), flush=True)


if __name__ == "__main__":
    main()
