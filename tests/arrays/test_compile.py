"""Compiled functions: captured state, guards, donation, what is traced again and what is not."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import warnings
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.base.errors import ArgumentError, ShapeError, TraceError, WeftError
from weft.base.state import state, version


def leaf(values):
    return wf.tensor(values, requires_grad=True)


def sgd(w, x, y, rate):
    """One step of least squares on `w`; returns the loss before it."""
    w.grad = None
    difference = x @ w - y
    loss = (difference * difference).sum()
    loss.backward()
    with wf.no_grad():
        w -= rate * w.grad
    return loss


X = np.array([[1.0, 2.0], [3.0, 4.0], [0.5, -1.0]], np.float32)
Y = np.array([[1.0], [0.0], [2.0]], np.float32)


def test_a_training_step_equals_the_eager_one_bit_for_bit():
    x, y = wf.tensor(X), wf.tensor(Y)
    eager, compiled = leaf([[0.1], [0.2]]), leaf([[0.1], [0.2]])
    step = wf.compile(lambda x, y, rate: sgd(compiled, x, y, rate))
    for i in range(5):
        rate = 0.01 / (i + 1)
        a, b = sgd(eager, x, y, rate), step(x, y, rate)
        assert a.item() == b.item()
    assert np.array_equal(eager.numpy(), compiled.numpy())
    assert np.array_equal(eager.grad.numpy(), compiled.grad.numpy())
    assert step.traces == 1


def test_changed_shapes_and_dtypes_trace_again_and_seen_ones_do_not():
    f = wf.compile(lambda x: x * 2)
    a, b = wf.tensor([1.0, 2.0]), wf.tensor([1.0, 2.0, 3.0])
    for x in (a, b, a, b, wf.tensor([1, 2])):
        assert np.array_equal(f(x).numpy(), x.numpy() * 2)
    assert f.traces == 3


def test_floats_are_run_time_inputs_and_integers_are_structure():
    f = wf.compile(lambda x, s, n: x * s + n)
    x = wf.tensor([1.0, 2.0])
    assert f(x, 0.5, 1).numpy().tolist() == [1.5, 2.0]
    assert f(x, 2.5, 1).numpy().tolist() == [3.5, 6.0]
    assert f.traces == 1
    f(x, 0.5, 2)
    assert f.traces == 2


def test_a_float_argument_takes_the_type_of_the_tensor_beside_it():
    f = wf.compile(lambda x, s: x * s)
    assert f(wf.tensor([1.0]), 0.1).dtype is wf.float32
    double = f(wf.tensor([1.0], dtype=wf.float64), 0.1)
    assert double.dtype is wf.float64 and double.item() == 0.1


class TestProgramsCalledAsSuch:
    def scaled(self):
        f = wf.compile(lambda x, k, mode="up": x * k if mode == "up" else x / k, static_argnames="mode")
        return f.trace(wf.spec((2,)), 2, mode="up")

    def test_what_is_fixed_is_not_changed_silently(self):
        program = self.scaled()
        assert program(wf.ones(2), 2, mode="up").tolist() == [2.0, 2.0]
        with pytest.raises(ArgumentError, match="traced with an argument fixed at 2, got 5; trace it again"):
            program(wf.ones(2), 5, mode="up")
        with pytest.raises(ArgumentError, match="fixed at 'up', got 'down'"):
            program(wf.ones(2), 2, mode="down")
        for other in (2.0, True, wf.asarray(2)):
            with pytest.raises(ArgumentError, match="fixed at 2, got"):
                program(wf.ones(2), other, mode="up")

    def test_a_float_may_be_fixed(self):
        program = wf.compile(lambda x, k: x * k, static_argnames="k").trace(wf.spec((2,)), 0.5)
        assert program(wf.ones(2), 0.5).tolist() == [0.5, 0.5]
        with pytest.raises(ArgumentError, match=r"fixed at 0.5, got 1.5"):
            program(wf.ones(2), 1.5)

    def test_arrays_stand_for_tensors(self):
        program = wf.compile(lambda x, k: x * k).trace(wf.spec((2,)), 0.5)
        assert program(np.ones(2, np.float32), np.float64(3)).tolist() == [3.0, 3.0]
        with pytest.raises(ArgumentError, match=r"x of <lambda> must be a tensor, got 'a'"):
            program("a", 2.0)
        with pytest.raises(ShapeError, match=r"x must be float32 \(2,\), got float64"):
            program(np.ones(2), 2.0)


def test_a_static_argument_that_does_not_exist():
    with pytest.raises(ArgumentError, match=r"scaled has no argument 'mod'. Did you mean 'mode'\?"):

        @wf.compile(static_argnames="mod")
        def scaled(x, mode):
            return x if mode == "a" else x * 2

    with pytest.raises(ArgumentError, match=r"Linear has no argument 'mode'"):
        wf.compile(nn.Linear(2, 2), static_argnames=("x", "mode"))
    anything = wf.compile(lambda x, **options: x * options["times"], static_argnames=("times",))
    assert anything(wf.ones(2), times=3).tolist() == [3.0, 3.0]


def test_static_arguments():
    f = wf.compile(lambda x, k: x * k if k > 1 else x, static_argnames="k")
    x = wf.tensor([3.0])
    assert f(x, 2.0).item() == 6.0 and f(x, k=0.5).item() == 3.0 and f.traces == 2


def test_arguments_are_trees_and_numpy_arrays_are_tensors():
    f = wf.compile(lambda batch, *, flag: {"sum": batch["x"] + batch["y"][0], "flag": flag})
    out = f({"x": np.ones(2, np.float32), "y": [wf.tensor([1.0, 2.0])]}, flag=True)
    assert out["sum"].numpy().tolist() == [2.0, 3.0] and out["flag"] is True
    with pytest.raises(ArgumentError, match="hashable"):
        f({"x": {1, 2}}, flag=True)


def test_a_branch_on_a_traced_value_names_the_line_and_the_mend():
    def f(x):
        return x if x.sum().item() > 0 else -x  # the line that is named

    with pytest.raises(TraceError, match=r"weft\.where or weft\.cond.*test_compile\.py:\d+, in f"):
        wf.compile(f)(wf.tensor([1.0]))
    assert not state.traces and state.ambient == 0


def test_captured_values_cannot_be_looked_at_either():
    w = wf.tensor([1.0])
    with pytest.raises(TraceError):
        wf.compile(lambda x: x * w.item())(wf.tensor([1.0]))


def test_an_error_while_tracing_leaves_the_world_as_it_was():
    w = leaf([[0.1], [0.2]])
    before = w.numpy().copy()

    def step(x):
        nonlocal w
        with wf.no_grad():
            w.grad = wf.tensor(before)
            w -= 1.0
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        wf.compile(step)(wf.tensor(X))
    assert np.array_equal(w.numpy(), before) and w.grad is None
    assert not state.traces


def test_a_traced_tensor_that_escapes_raises_at_its_first_use():
    kept = []
    f = wf.compile(lambda x: kept.append(x * 2) or x)
    f(wf.tensor([1.0]))
    with pytest.raises(TraceError, match="trace that has ended"):
        kept[0] + 1
    with pytest.raises(TraceError):
        kept[0].numpy()


class TestState:
    def test_what_others_hold_survives_donation(self):
        w = leaf([[0.1], [0.2]])
        x, y = wf.tensor(X), wf.tensor(Y)
        step = wf.compile(lambda x, y: sgd(w, x, y, 0.1))
        step(x, y)
        view, alias, exported = w.numpy(), w.detach(), np.asarray(w)
        copy = view.copy()
        step(x, y)
        step(x, y)
        assert np.array_equal(view, copy) and np.array_equal(alias.numpy(), copy)
        assert np.array_equal(exported, copy) and not np.array_equal(w.numpy(), copy)

    def test_pending_tensors_that_read_the_old_value_survive(self):
        w = leaf([[0.1], [0.2]])
        step = wf.compile(lambda x, y: sgd(w, x, y, 0.1))
        x, y = wf.tensor(X), wf.tensor(Y)
        step(x, y)
        expected = w.numpy().copy() * 3
        waiting = w.detach() * 3
        step(x, y)
        assert np.array_equal(waiting.numpy(), expected)

    def test_the_memory_of_replaced_state_is_given_away(self):
        w = wf.tensor([1.0, 2.0])

        def bump(x):
            nonlocal w
            w += x
            return x

        step = wf.compile(bump)
        step(wf.tensor([1.0, 1.0]))
        buffer = weakref.ref(w._cell.node.value)
        step(wf.tensor([1.0, 1.0]))
        gc.collect()
        assert buffer() is None or buffer()._array is None
        assert w.numpy().tolist() == [3.0, 4.0]

    def test_losses_can_be_kept(self):
        w = leaf([[0.1], [0.2]])
        step = wf.compile(lambda x, y: sgd(w, x, y, 0.01))
        x, y = wf.tensor(X), wf.tensor(Y)
        losses = [step(x, y) for _ in range(4)]
        values = [v.item() for v in losses]
        assert values == sorted(values, reverse=True) and len(set(values)) == 4

    def test_changes_from_outside_are_seen(self):
        w = wf.tensor([1.0])
        f = wf.compile(lambda x: x * w)
        assert f(wf.tensor([2.0])).item() == 2.0
        w += 4
        assert f(wf.tensor([2.0])).item() == 10.0 and f.traces == 1
        w[...] = wf.tensor([7.0])
        assert f(wf.tensor([2.0])).item() == 14.0 and f.traces == 1

    def test_requires_grad_is_a_guard(self):
        w = wf.tensor([1.0, 2.0])
        f = wf.compile(lambda x: (x * w).sum())
        x = wf.tensor([3.0, 4.0])
        assert not f(x).requires_grad
        w.requires_grad = True
        f(x).backward()
        assert w.grad.numpy().tolist() == [3.0, 4.0] and f.traces == 2
        with wf.no_grad():
            assert not f(x).requires_grad

    def test_gradients_accumulate_and_whether_they_exist_is_a_guard(self):
        w = leaf([1.0, 2.0])

        @wf.compile
        def accumulate(x):
            loss = (x * w).sum()
            loss.backward()
            return loss

        x = wf.tensor([3.0, 4.0])
        for i in range(1, 4):
            accumulate(x)
            assert w.grad.numpy().tolist() == [3.0 * i, 4.0 * i]
        assert accumulate.traces == 2  # without a gradient, and with one
        w.grad = None
        accumulate(x)
        assert w.grad.numpy().tolist() == [3.0, 4.0] and accumulate.traces == 2

    def test_gradients_that_were_replaced_are_read_and_accumulated(self):
        def run(transform):
            w = leaf([1.0, 2.0])
            accumulate = transform(lambda x: (x * w * w).sum().backward())

            @transform
            def update():
                with wf.no_grad():
                    w.__isub__(w.grad * 0.1)
                w.grad = None

            seen = []
            for i in range(9):
                accumulate(wf.tensor([i + 1.0, 2.0]))
                seen.append(w.grad.numpy().copy())
                if i == 4:
                    w.grad = w.grad * 2.0
                if i % 3 == 2:
                    update()
            return [*seen, w.numpy()]

        for a, b in zip(run(lambda f: f), run(wf.compile), strict=True):
            assert np.array_equal(a, b)

    def test_a_program_that_reads_gradients_says_so_where_there_are_none(self):
        w = leaf([1.0, 2.0])
        w.grad = wf.tensor([1.0, 1.0])
        program = wf.compile(lambda x: (x * w).sum().backward()).trace(wf.tensor([1.0, 1.0]))
        w.grad = None
        with pytest.raises(wf.errors.StateError, match="gradients existed"):
            program(wf.tensor([1.0, 1.0]))

    def test_a_warm_call_moves_no_version(self):
        w = leaf([[0.1], [0.2]])
        step = wf.compile(lambda x, y: sgd(w, x, y, 0.1))
        x, y = wf.tensor(X), wf.tensor(Y)
        step(x, y)
        step(x, y)
        before = version.value
        step(x, y)
        assert version.value == before

    def test_a_failing_program_changes_nothing(self):
        w = leaf([[0.1], [0.2]])
        table = wf.tensor([1.0, 2.0])

        @wf.compile
        def step(i):
            with wf.no_grad():
                w.__isub__(1.0)
            return wf.take(table, i)

        step(wf.tensor([0, 1]))
        before = w.numpy().copy()
        with pytest.raises(WeftError):
            step(wf.tensor([0, 5]))
        assert np.array_equal(w.numpy(), before)
        step(wf.tensor([0, 1]))
        assert np.array_equal(w.numpy(), before - 1)

    def test_what_is_pending_in_another_thread_is_state_too(self):
        """A model made in one thread, looked at by none, and trained in another; so with random numbers."""
        wf.manual_seed(0)
        model, total, drawn = nn.Linear(3, 1), wf.zeros(2), []
        x = wf.ones((4, 3))

        @wf.compile
        def step():
            nonlocal total
            loss = (model(x) ** 2).mean()
            loss.backward()
            with wf.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad
                    p.grad = None
            total += 1.0
            return loss, wf.rand(2)

        worker = threading.Thread(target=lambda: drawn.extend([step() for _ in range(4)]))
        worker.start()
        worker.join()
        losses = [loss.item() for loss, _ in drawn]
        assert losses == sorted(set(losses), reverse=True) and len(losses) == 4
        assert len({tuple(r.tolist()) for _, r in drawn}) == 4
        assert total.tolist() == [4.0, 4.0] and step.traces == 1


class TestComposition:
    def test_gradients_flow_through_a_compiled_function_to_what_it_captured(self):
        w = leaf([[0.1], [0.2]])
        f = wf.compile(lambda x: x @ w)
        out = f(wf.tensor(X))
        (out * out).sum().backward()
        assert np.allclose(w.grad.numpy(), 2 * X.T @ (X @ [[0.1], [0.2]]), atol=1e-5)
        assert f.traces == 1

    def test_and_state_changes_are_kept_on_that_way(self):
        w, seen = leaf([2.0]), wf.tensor([0.0])

        @wf.compile
        def f(x):
            with wf.no_grad():
                seen.__iadd__(x)
            return (x * w).sum()

        f(wf.tensor([1.0])).backward()
        f(wf.tensor([5.0])).backward()
        assert seen.item() == 6.0 and w.grad.item() == 6.0

    def test_grad_of_compiled_and_compiled_grad(self):
        f = wf.compile(lambda x: (x * x * x).sum())
        x = wf.tensor([1.0, 2.0])
        assert wf.grad(f)(x).numpy().tolist() == [3.0, 12.0]
        assert wf.compile(wf.grad(f))(x).numpy().tolist() == [3.0, 12.0]

    def test_a_compiled_function_inside_another(self):
        inner = wf.compile(lambda x: x + 1)
        outer = wf.compile(lambda x: inner(x) * 2)
        assert outer(wf.tensor([1.0])).item() == 4.0 and inner.traces == 0

    def test_methods(self):
        class Scale:
            def __init__(self, k):
                self.k = wf.tensor([k])

            @wf.compile
            def __call__(self, x):
                return x * self.k

        assert Scale(2.0)(wf.tensor([1.0])).item() == 2.0
        assert Scale(3.0)(wf.tensor([1.0])).item() == 3.0


def test_the_number_of_programs_is_bounded_and_warned_of_once():
    f = wf.compile(lambda x: x + 1, max_programs=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 8):
            f(wf.zeros((n,)))
    assert len([w for w in caught if "max_programs=3" in str(w.message)]) == 1
    assert len(f.programs) == 3 and f.traces == 7


def test_results_that_are_arguments_or_constants():
    f = wf.compile(lambda x: (x, wf.tensor([5.0]), None, "text"))
    x = wf.tensor([1.0])
    same, constant, nothing, text = f(x)
    assert same.item() == 1.0 and constant.item() == 5.0 and nothing is None and text == "text"


def test_an_open_dimension_takes_any_size():
    w = wf.tensor([[1.0], [2.0]])
    f = wf.compile(lambda x: x @ w)
    traced = f.trace(wf.spec((wf.Dim("batch"), 2)))
    assert "f32[batch,2]" in str(traced)
    for n in (0, 1, 5):
        assert traced(wf.ones((n, 2))).shape == (n, 1)
    with pytest.raises(ShapeError, match="x must be"):
        traced(wf.ones((2,)))
    with pytest.raises(ShapeError):
        traced(wf.ones((2, 3)))


def test_the_graph_can_be_printed():
    f = wf.compile(lambda x: x * 2)
    with pytest.raises(ArgumentError, match="not been called"):
        f.graph
    f(wf.tensor([1.0]))
    assert "mul(" in str(f.graph)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", wf.zeros(2))
        self.last = wf.zeros(2)

    def forward(self, x, in_place):
        self.last = x  # kept to be looked at; never read
        if in_place:
            self.seen[...] = self.seen + x
        else:
            self.seen = self.seen + x
        return self.seen * 2


class TestWhatWouldHappenOnlyOnce:
    x = staticmethod(lambda: wf.tensor([1.0, 2.0]))

    def test_a_buffer_that_is_exchanged(self):
        model = Counting()
        seen, f = model.seen, wf.compile(model)
        with pytest.raises(TraceError, match=r"Counting.seen.*in place"):
            f(self.x(), False)
        assert model.seen is seen
        f(self.x(), True)
        assert f(self.x(), True).tolist() == [4.0, 8.0] and seen.tolist() == [2.0, 4.0]

    def test_an_argument_that_is_changed_in_place(self):
        @wf.compile
        def f(x):
            x += 1
            return x * 2

        with pytest.raises(TraceError, match="changed in place"):
            f(self.x())

    def test_a_float_argument_that_is_changed_in_place(self):
        def f(x, rate):
            first = rate
            rate *= 0.5
            rate += 1.0
            return x * rate + first

        assert wf.compile(f)(self.x(), 3.0).tolist() == f(self.x(), 3.0).tolist()

    def test_backward_that_reaches_an_argument(self):
        x = leaf([1.0, 2.0])
        for given in (x, x * 2.0):
            with pytest.raises(TraceError, match="reached tensor argument 0"):
                wf.compile(lambda v: (v * v).sum().backward())(given)

    def test_generators_and_coroutines(self):
        def generator(x):
            yield x

        async def coroutine(x):
            return x

        for f in (generator, coroutine):
            with pytest.raises(ArgumentError, match="generator or a coroutine"):
                wf.compile(f)


def test_numpy_floats_are_run_time_inputs():
    f = wf.compile(lambda x, rate: x * rate)
    x = wf.tensor([1.0, 2.0])
    for rate in (0.5, np.float64(0.25), np.float64(0.125)):
        assert f(x, rate).tolist() == [rate, 2 * rate] and f(x, rate).dtype is wf.float32
    assert f.traces == 1
    for rate in (np.float32(0.25), np.float32(0.125)):
        assert f(x, rate).tolist() == [rate, 2 * rate]
    assert f.traces == 2


@wf.compile
def doubled(x):
    return x * 2


def test_compiled_functions_can_be_copied_and_pickled():
    x = wf.tensor([1.0, 2.0])
    doubled(x)
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    model = wf.compile(nn.Linear(2, 2))
    expected = model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other(x).numpy(), expected.numpy())
        with wf.no_grad():
            other.function.weight *= 0.0
            other.function.bias *= 0.0
        assert other(x).tolist() == [0.0, 0.0]
    assert np.array_equal(model(x).numpy(), expected.numpy())


def test_an_object_that_holds_a_tensor_is_no_result():
    @dataclass
    class Pair:
        first: object
        second: int

    for wrong in (lambda x: Pair(x * 2, 1), lambda x: [{"a": Pair(x + 1, 1)}], lambda x: {x * 2}):
        with pytest.raises(TraceError, match=r"that holds a tensor computed in it; return .*register_pytree"):
            wf.compile(wrong)(wf.ones(2))
    assert wf.compile(lambda x: Pair(3, 1))(wf.ones(2)).first == 3
    with pytest.raises(ArgumentError, match=r"neither a tensor nor hashable.*register_pytree"):
        wf.compile(lambda pair: pair.first)(Pair(wf.ones(2), 1))


def test_a_tensor_that_was_kept_from_a_trace_says_so_when_looked_at():
    kept = []
    wf.compile(lambda x: kept.append(x * 2))(wf.tensor([1.0]))
    with pytest.raises(TraceError, match="trace that has ended"):
        kept[0].numpy()


def test_the_garbage_collector_rests_while_a_function_is_traced():
    seen = []

    @wf.compile
    def f(x):
        seen.append(gc.isenabled())
        return x + 1.0

    assert gc.isenabled()
    f(wf.ones(3)).numpy()
    assert seen == [False] and gc.isenabled()
