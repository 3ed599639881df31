"""Programs and their cache."""

import inspect
import signal
import threading
import time

import numpy as np
import pytest

import weft as wf
from weft.base.config import config
from weft.base.errors import BackendError, ShapeError
from weft.ir.dtype import float32, float64
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.shape import Dim
from weft.kernel.schedule import builders
from weft.ops.elementwise import exp
from weft.ops.movement import reshape
from weft.runtime.backend import get_backend
from weft.runtime.buffer import Buffer
from weft.runtime.program import Program, ProgramCache

N = Dim("n")


class TestCache:
    def test_the_least_recently_used_goes_first(self):
        cache = ProgramCache(limit=2)
        for key in ("a", "b"):
            cache.get(key, lambda key=key: key.upper())
        assert cache.get("a", pytest.fail) == "A"
        cache.get("c", lambda: "C")
        assert len(cache) == 2
        assert cache.get("a", pytest.fail) == "A"
        assert cache.get("b", lambda: "again") == "again"

    def test_clearing(self):
        cache = ProgramCache(limit=2)
        cache.get("a", object)
        cache.clear()
        assert len(cache) == 0

    def test_what_cannot_be_made_is_not_kept(self):
        cache = ProgramCache(limit=2)
        with pytest.raises(ZeroDivisionError):
            cache.get("a", lambda: 1 / 0)
        assert cache.get("a", lambda: 1) == 1

    def test_making_may_use_the_cache(self):
        cache = ProgramCache(limit=4)
        assert cache.get("a", lambda: cache.get("b", lambda: 2) + 1) == 3
        assert cache.get("b", pytest.fail) == 2

    def test_threads_share_it(self):
        cache, errors = ProgramCache(limit=3), []

        def work(seed):
            rng = np.random.default_rng(seed)
            try:
                for key in rng.integers(0, 8, size=2000).tolist():
                    assert cache.get(key, lambda key=key: key * 10) == key * 10
            except BaseException as e:
                errors.append(e)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert errors == [] and len(cache) <= 3

    def test_threads_that_ask_at_once_get_the_same(self):
        cache, start, found = ProgramCache(limit=3), threading.Barrier(4), []

        def make():
            time.sleep(0.01)
            return object()

        def work():
            start.wait()
            found.append(cache.get("key", make))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(set(map(id, found))) == 1


class TestOpenDimensions:
    def program(self):
        return Program(trace_graph(lambda x: reshape(x * 2.0, shape=(2 * N,)), [Aval((N, 2), float32)]))

    def test_one_executable_for_each_size(self, monkeypatch):
        program, compiled = self.program(), []
        compile = program.backend.compile
        monkeypatch.setattr(
            program.backend, "compile", lambda g, *_: compiled.append(g.in_avals) or compile(g)
        )
        for n in (2, 3, 2, 0, 3):
            (out,) = program.run([Buffer(np.ones((n, 2), np.float32))])
            assert out.array.tolist() == [2.0] * (2 * n)
        assert [a.shape for (a,) in compiled] == [(2, 2), (3, 2), (0, 2)]

    def test_many_sizes_do_not_pile_up(self):
        program = self.program()
        for n in range(200):
            program.run([Buffer(np.ones((n, 2), np.float32))])
        assert len(program._bound) <= 64

    def test_a_shape_that_does_not_fit(self):
        with pytest.raises(ShapeError, match=r"an input of shape \(n, 2\) is expected, got \(3, 3\)"):
            self.program().run([Buffer(np.ones((3, 3), np.float32))])


def test_numbers_are_inputs_like_any_other():
    program = Program(trace_graph(lambda x, y: x * y, [Aval((2,), float32), Aval((), float32)]))
    for value in (2, 0.5, True):
        (out,) = program.run([Buffer(np.ones(2, np.float32)), value])
        assert out.array.dtype == np.float32 and out.array.tolist() == [float(value)] * 2


def test_results_are_never_inputs_or_each_other():
    def function(x):
        e = exp(x)
        return x, x, e, e, reshape(e, shape=(2, 1))

    program = Program(trace_graph(function, [Aval((2,), float64)]))
    x = Buffer(np.zeros(2))
    outs = program.run([x])
    memory = [x.array, *[o.array for o in outs[:2]], outs[2].array, outs[4].array]
    for i, a in enumerate(memory):
        for b in memory[i + 1 :]:
            assert not np.shares_memory(a, b)


def test_unknown_backends_are_named():
    with pytest.raises(BackendError, match=r"no backend 'refrence'. Did you mean 'reference'\?"):
        get_backend("refrence")
    graph = trace_graph(lambda x: exp(x), [Aval((2,), float64)])
    with config(backend="nowhere"), pytest.raises(BackendError, match="no backend 'nowhere'"):
        Program(graph)


def test_an_error_inside_of_a_backend_says_what_it_is_and_what_helps(monkeypatch):
    def fails(self, graph, *options):
        raise KeyError("o")

    monkeypatch.setattr(type(get_backend(config.backend)), "compile", fails)
    with pytest.raises(
        BackendError, match=r"1 operations .*\(exp\): KeyError: 'o'.*WEFT_BACKEND=reference"
    ) as caught:
        Program(trace_graph(exp, (Aval((3,), float32),)), recurs=True)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="signals")
def test_what_the_handler_of_a_signal_raises_is_no_error_of_the_backend(monkeypatch):
    def ring(*_):
        raise TimeoutError("too long")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        monkeypatch.setattr(
            type(get_backend(config.backend)), "compile", lambda *_: signal.raise_signal(signal.SIGALRM)
        )
        with pytest.raises(TimeoutError, match="too long"):
            Program(trace_graph(exp, (Aval((3,), float32),)), recurs=True)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("compiled", [False, True])
def test_an_error_inside_of_the_compiler_names_the_line_of_what_it_was_about(compiled, monkeypatch):
    def fails(c):
        raise KeyError("o")

    monkeypatch.setitem(builders, "dot_general", fails)
    line = inspect.currentframe().f_lineno + 5

    def function(x):
        y = wf.exp(x)
        z = y * 2
        s = wf.tensordot(z, z, axes=2)  # one of the operations that are a program even if the graph is new
        return y, s

    with pytest.raises(BackendError, match=rf"of \S*test_program.py:{line}, in function, at dot_general \("):
        for t in (wf.compile(function) if compiled else function)(wf.arange(9.0).reshape(3, 3)):
            t.numpy()
