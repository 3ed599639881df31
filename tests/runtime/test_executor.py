"""Flushing pending tensors: one program, found again, in whatever order, loop or thread."""

import gc
import sys
import threading
import weakref
from collections import Counter

import numpy as np
import pytest

import weft as wf
from weft.backends.reference import interpreter
from weft.base.config import config
from weft.base.errors import BackendError, IndexingError, NumericError, OutOfMemoryError, ShapeError
from weft.base.state import state
from weft.runtime.executor import programs


@pytest.fixture
def evaluated(monkeypatch):
    """Counts what the reference backend evaluates, by primitive or composite."""
    counts = Counter()
    evaluate = interpreter.evaluate

    def counting(node, arrays):
        counts[str(node.attrs.get("name", node.prim.name))] += 1
        return evaluate(node, arrays)

    monkeypatch.setattr(interpreter, "evaluate", counting)
    with wf.config(backend="reference"):
        yield counts


class Misses:
    """How many programs were made inside the block."""

    def __enter__(self):
        self.before = programs.misses
        return self

    def __exit__(self, *_):
        self.count = programs.misses - self.before


class TestPrograms:
    def test_the_same_structure_is_the_same_program(self):
        def step(x):
            return ((x * 3 + 1) @ x.T).sum()

        step(wf.ones((3, 4))).item()
        with Misses() as m:
            for _ in range(3):
                step(wf.ones((3, 4))).item()
        assert m.count == 0
        with Misses() as m:
            step(wf.ones((2, 4))).item()
        assert m.count == 1

    def test_numbers_are_run_time_inputs(self):
        x = wf.tensor([1.0, 2.0])
        (x * 0.1 + 5).numpy()
        with Misses() as m:
            for i in range(5):
                found = (x * (0.2 * i) + i).numpy().tolist()  # (an assert would hold the product)
                assert found == pytest.approx([0.2 * i + i, 0.4 * i + i])
        assert m.count == 0

    def test_slice_starts_are_run_time_inputs(self):
        x = wf.arange(20)
        x[2:6].numpy()
        with Misses() as m:
            for i in range(0, 16, 4):
                assert x[i : i + 4].numpy().tolist() == list(range(i, i + 4))
        assert m.count <= 1

    def test_a_training_step_is_found_again(self):
        w = wf.tensor(np.ones((4, 2), np.float32), requires_grad=True)

        def step(lr):
            loss = ((wf.ones((3, 4)) @ w - 1) ** 2).sum()
            loss.backward()
            with wf.no_grad():
                w._cell.rebind((w - w.grad * lr)._node)
            w._cell.grad = None
            return loss.item()

        losses = [step(0.01), step(0.01)]
        with Misses() as m:
            losses += [step(0.01 * 0.9**i) for i in range(4)]
        assert m.count == 0
        assert all(a > b for a, b in zip(losses, losses[1:]))

    def test_everything_that_is_held_is_computed_at_once(self, evaluated):
        x = wf.ones((3,))
        a = wf.exp(x)
        b, c = a + 1, a * 2
        lost = wf.sin(x)
        del lost
        b.numpy()
        assert c._node.value is not None and a._node.value is not None
        assert evaluated["exp"] == 1 and evaluated["sin"] == 0
        c.numpy(), a.numpy()
        assert evaluated["mul"] == 1 and evaluated["exp"] == 1

    def test_a_larger_program_serves_a_smaller_demand(self):
        def make(keep):
            a = wf.exp(wf.ones((7,)))
            b = a * 3
            return (a, b) if keep else (None, b)

        first = make(True)
        first[1].numpy()
        with Misses() as m:
            second = make(False)
            second[1].numpy()
        assert m.count == 0
        np.testing.assert_array_equal(first[1].numpy(), second[1].numpy())

    def test_the_cache_is_bounded(self, monkeypatch):
        monkeypatch.setattr(programs, "limit", 8)
        for n in range(30):
            (wf.ones((n,)) + 1).numpy()
        assert len(programs) <= 8


class TestResiduals:
    """Looking at a loss costs no second forward pass."""

    def run(self, evaluated, look):
        w = wf.tensor(np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3), requires_grad=True)
        x = wf.ones((5, 4))
        h = wf.tanh(x @ w)
        loss = (wf.exp(h) * h).sum()
        if look:
            loss.item()
        loss.backward()
        gradient = w.grad.numpy()
        return gradient, Counter(evaluated)

    def test_nothing_is_evaluated_twice(self, evaluated):
        plain, once = self.run(evaluated, look=False)
        evaluated.clear()
        looked, counts = self.run(evaluated, look=True)
        np.testing.assert_array_equal(plain, looked)
        assert counts["tanh"] == once["tanh"] == 1
        assert counts["exp"] == once["exp"] == 1
        assert counts["dot_general"] == once["dot_general"] == 2

    def test_nor_inside_composites(self, evaluated):
        w = wf.tensor(np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3), requires_grad=True)
        loss = (wf.nn.functional.softmax(wf.ones((5, 4)) @ w, dim=1) ** 2).sum()
        loss.item()
        assert evaluated["exp"] == 1
        loss.backward()
        w.grad.numpy()
        assert evaluated["exp"] == 1

    def test_residuals_go_when_the_graph_goes(self):
        w = wf.tensor(np.ones((50, 50), np.float32), requires_grad=True)
        h = wf.tanh(w @ w)
        loss = h.sum()
        loss.item()
        kept = weakref.ref(h._node.value)
        del h
        gc.collect()
        assert kept() is not None  # backward needs it
        loss.backward()
        w.grad.numpy()
        gc.collect()
        assert kept() is None


class TestLongPrograms:
    def test_a_deep_program_does_not_recurse(self):
        x = wf.ones((2,))
        for _ in range(900):
            x = x + 1
        assert x.numpy().tolist() == [901, 901]
        y = wf.ones((2,))._node
        for _ in range(10_000):
            y = y + 1.0
        assert wf.Tensor(y).numpy().tolist() == [10_001, 10_001]

    def test_a_deep_program_is_forgotten_without_recursion(self):
        """Freeing a chain of nodes must not overflow the stack either."""
        y = wf.ones((2,))._node
        for _ in range(50_000):
            y = y + 1.0
        last = weakref.ref(y)
        del y
        gc.collect()
        assert last() is None

    def test_a_deep_gradient(self):
        w = wf.tensor([1.0, 2.0], requires_grad=True)
        y = w * 1
        for _ in range(3000):
            y = y * 1.0
        y.sum().backward()
        assert w.grad.numpy().tolist() == [1, 1]

    def test_a_loop_that_never_looks_is_cut_and_found_again(self):
        def grow(x, count):
            for _ in range(count):
                x = x * 1.0001
            return x

        x = grow(wf.ones((2,)), 6000)  # long enough for the cuts to come from its line, whatever ran before
        with Misses() as m:
            x = grow(x, 6000)
        assert m.count <= 1
        assert len(state.pending) <= 2100
        assert x.numpy()[0] == pytest.approx(1.0001**12000, rel=1e-2)

    def test_such_a_loop_does_not_leak(self):
        x = wf.ones((1000,))
        nodes = weakref.WeakSet()
        for i in range(5000):
            x = x + 1.0
            if i % 100 == 0:
                nodes.add(x._node)
        gc.collect()
        assert len(nodes) <= 21 + 1  # only those since the last cut
        assert len(state.pending) <= 2100

    def test_several_tensors_in_a_loop(self):
        a, b = wf.ones((2,)), wf.zeros((2,))
        with Misses() as first:
            for _ in range(2000):
                a, b = a * 0.5 + b, b * 0.5 + 1.0
        with Misses() as m:
            for _ in range(4000):
                a, b = a * 0.5 + b, b * 0.5 + 1.0
        assert first.count <= 4 and m.count <= 2
        np.testing.assert_allclose(b.numpy(), [2, 2])

    def test_pending_tensors_that_are_gone_are_not_kept(self):
        for _ in range(500):
            wf.ones((2,)) + 1
        alive = [r for r in state.pending if r() is not None]
        assert len(alive) <= 2


class TestErrors:
    def test_an_index_out_of_range_names_the_users_line(self):
        x = wf.arange(5)
        i = wf.tensor([1, 7])
        y = x[i]  # HERE
        line = sys._getframe().f_lineno - 1
        with pytest.raises(IndexingError, match=rf"test_executor\.py:{line}"):
            y.numpy()
        with pytest.raises(IndexError):  # and again, whenever it is looked at
            y.numpy()

    def test_what_does_not_depend_on_the_failure_is_computed(self):
        bad = wf.arange(5)[wf.tensor([9])]
        good = wf.ones((2,)) + 1
        with pytest.raises(IndexError):
            good.numpy()  # everything pending is computed with it, and the failure is not kept silent
        assert good.numpy().tolist() == [2, 2]
        with pytest.raises(IndexError):
            bad.numpy()

    def test_the_failure_is_reported_once(self):
        bad = wf.arange(5)[wf.tensor([9])]
        with pytest.raises(IndexError) as caught:
            bad.numpy()
        assert caught.value.__context__ is None or caught.value.__suppress_context__

    @wf.config(backend="reference")
    def test_an_interrupt_loses_nothing(self, monkeypatch):
        a, b = wf.ones((2,)) + 1, wf.ones((2,)) * 5
        evaluate = interpreter.evaluate

        def interrupted(node, arrays):
            raise KeyboardInterrupt

        monkeypatch.setattr(interpreter, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            a.numpy()
        monkeypatch.setattr(interpreter, "evaluate", evaluate)
        assert a.numpy().tolist() == [2, 2]
        assert b._node.value is not None  # still part of the same flush
        assert b.numpy().tolist() == [5, 5]


class TestDebugNan:
    @pytest.fixture(autouse=True)
    def on(self):
        with config(debug_nan=True):
            yield

    def test_it_names_operation_shapes_and_line(self):
        x = wf.tensor([[1.0, -1.0]])
        y = wf.log(x)  # HERE
        line = sys._getframe().f_lineno - 1
        z = y * 2
        with pytest.raises(
            NumericError, match=rf"log made the first NaN from operands float32 \(1, 2\).*:{line}"
        ):
            z.numpy()

    def test_infinity(self):
        with pytest.raises(NumericError, match="div made the first infinity"):
            (wf.tensor([1.0]) / wf.tensor([0.0])).numpy()

    def test_a_nan_of_infinities_counts_as_made(self):
        x = wf.tensor([np.inf])
        with pytest.raises(NumericError, match="sub made the first NaN"):
            (x - x).numpy()

    def test_what_came_in_is_not_blamed_on_who_passes_it_on(self):
        x = wf.tensor([np.nan, np.inf, 1.0])
        np.testing.assert_array_equal((x * 2 + 1).numpy(), [np.nan, np.inf, 3.0])

    def test_masks_of_minus_infinity_are_fine(self):
        mask = wf.tensor([True, False, True])
        scores = wf.where(mask, wf.tensor([1.0, 2.0, 3.0]), -np.inf)
        weights = wf.nn.functional.softmax(scores, dim=0).numpy()
        assert weights[1] == 0 and np.isfinite(weights).all()

    def test_in_the_backward_pass(self):
        x = wf.tensor([0.0], requires_grad=True)
        y = wf.sqrt(x).sum()
        y.backward()
        with pytest.raises(NumericError, match=r"first infinity.*test_executor\.py"):
            x.grad.numpy()

    def test_in_a_compiled_function(self):
        f = wf.compile(lambda x: wf.log(x) + 1)
        assert np.isfinite(f(wf.tensor([1.0])).numpy()).all()
        with pytest.raises(NumericError, match=r"log made the first NaN.*test_executor\.py"):
            f(wf.tensor([-1.0])).numpy()

    @pytest.mark.parametrize("backend", ["cpu", "reference"])
    def test_in_the_body_of_a_loop_or_branch(self, backend):
        def step(c, x):
            return wf.log(c - x), c

        one = wf.tensor(1.0)
        with config(backend=backend):
            for make, says in (
                (lambda: wf.scan(step, one + 1, wf.ones(4))[0], r"scan: log made the first NaN .*, after 1 step "),
                (lambda: wf.while_loop(lambda c: c < 5, lambda c: wf.sqrt(-c), one), "while_loop: sqrt.*after 0 steps"),
                (lambda: wf.cond(one > 0, lambda c: wf.log(-c), lambda c: c, one), r"cond: log .* NaN .* \(asked for"),
            ):  # fmt: skip
                with pytest.raises(NumericError, match=says + r".*test_executor\.py"):
                    make().numpy()

    def test_integers_and_empty_tensors_pass(self):
        assert (wf.arange(3) // wf.tensor([1, 1, 1])).numpy().tolist() == [0, 1, 2]
        assert wf.log(wf.zeros((0,))).numpy().shape == (0,)


def test_without_debug_nan_nothing_is_said():
    assert np.isnan(wf.log(wf.tensor([-1.0])).numpy()).all()


class TestEager:
    def test_every_operation_is_computed_at_once(self, evaluated):
        with config(eager=True):
            x = wf.exp(wf.ones((2,)))
            assert x._node.value is not None and evaluated["exp"] == 1
            y = x + 1
            assert y._node.value is not None and evaluated["exp"] == 1

    def test_errors_come_at_their_line(self):
        with config(eager=True), pytest.raises(IndexError):
            wf.arange(5)[wf.tensor([9])]


class TestThreads:
    def run(self, count, work):
        errors, start = [], threading.Barrier(count)

        def guarded(i):
            try:
                start.wait()
                work(i)
            except BaseException as e:
                errors.append(e)

        threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert errors == []

    def test_threads_compute_their_own(self):
        def work(i):
            x = wf.full((10,), float(i))
            for k in range(30):
                x = x + 1
                if k % 3 == 0:
                    assert x.numpy().tolist() == [i + k + 1.0] * 10

        self.run(4, work)

    def test_threads_share_a_pending_graph(self):
        for _ in range(20):
            x = wf.ones((10,))
            parts = [x * 2]
            for _ in range(20):
                parts.append(parts[-1] + 1)
            roots = [wf.exp(parts[-1] * 0) + k for k in range(4)]
            self.run(
                4,
                lambda i, roots=roots: np.testing.assert_array_equal(roots[i].numpy(), np.full(10, 1.0 + i)),
            )
            assert parts[7].numpy().tolist() == [9.0] * 10

    def test_a_tensor_of_another_thread(self):
        made = []
        self.run(1, lambda _: made.append(wf.ones((3,)) * 7))
        assert made[0].numpy().tolist() == [7, 7, 7]

    def test_gradients_in_threads(self):
        w = wf.tensor([1.0, 2.0], requires_grad=True)
        found = {}

        def work(i):
            g = wf.grad(lambda v: (v * v * float(i)).sum())(w)
            found[i] = g.numpy().tolist()

        self.run(4, work)
        assert found == {i: [2.0 * i, 4.0 * i] for i in range(4)}

    def test_new_shapes_in_many_threads_stay_interned(self):
        """Types are compared by identity: two threads that make one at once must get the same."""
        made = []

        def work(_):
            made.append([(wf.zeros((1, n + 7, 13)) + 1).sum(axis=0)._node.sig.out for n in range(60)])

        self.run(4, work)
        for others in made[1:]:
            assert all(a is b for a, b in zip(made[0], others))

    def test_config_is_per_thread(self):
        with config(eager=True, debug_nan=True):
            self.run(2, lambda _: np.testing.assert_equal((state.eager, state.debug_nan), (False, False)))


def test_a_result_too_large_for_the_memory_names_the_operation():
    with pytest.raises(
        OutOfMemoryError, match=r"add: not enough memory for float32 \(1000000, 1000000, 1000000\)"
    ):
        (wf.zeros((10**6, 10**6, 10**6)) + 1).numpy()


def test_what_no_memory_has_room_for_is_not_asked_for():
    for dtype in (wf.int8, wf.float32, wf.complex128):
        with pytest.raises(OutOfMemoryError, match=r"not enough memory for \w+ \(4611686018427387904,\)"):
            wf.zeros(2**62, dtype=dtype).numpy()
    with pytest.raises(OutOfMemoryError, match="not enough memory"):  # none of them is too large by itself
        sum([wf.zeros(2**61, dtype=wf.complex128)[wf.tensor([3])] for _ in range(3)]).numpy()
    with pytest.raises(
        ShapeError, match=r"iota: a tensor of shape .* has more elements than can be numbered"
    ):
        wf.arange(0.0, 1e30, 1.0)
    x = wf.broadcast_to(wf.tensor(1.0), (2**62,))
    with pytest.raises(ShapeError, match=r"concatenate: a tensor of shape .* has more elements than"):
        wf.concat([x, x])


def test_more_parts_than_can_be_counted_are_an_error(monkeypatch):
    monkeypatch.setattr("weft.backends.cpu.program.MOST", 6)
    x = wf.tensor(np.arange(70_000).reshape(7, 10_000) % 97)
    with (
        config(backend="cpu"),
        pytest.raises(BackendError, match=r"sort: 7 parts, as of int64 \(7, 10000\), are more"),
    ):
        wf.sort(x, axis=1).numpy()
