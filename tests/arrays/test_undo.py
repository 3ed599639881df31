"""What happens to tensors changed in place when something before cannot be computed, or the user interrupts."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import weft as wf
from weft import optim
from weft.base.errors import IndexingError, NumericError
from weft.base.state import state


def leaves():
    return wf.tensor([1.0, 2.0, 3.0], requires_grad=True), wf.tensor([0.5], requires_grad=True)


def update(w, b, indices, *, bias_first=False):
    """One step of descent by hand; a bad index fails when the loss is computed."""
    loss = (wf.take(w, wf.tensor(indices)) ** 2).sum() + b.sum()
    loss.backward()
    with wf.no_grad():
        if bias_first:  # its gradient is 1, whatever the index
            b -= 0.1 * b.grad
        w -= 0.1 * w.grad
        if not bias_first:
            b -= 0.1 * b.grad
    w.grad = b.grad = None
    return loss


@pytest.mark.parametrize("bias_first", [False, True])
@pytest.mark.parametrize("asked", [0, 1, 2])
def test_an_update_whose_loss_cannot_be_computed_has_not_happened(asked, bias_first):
    w, b = leaves()
    loss = update(w, b, [0, 7], bias_first=bias_first)
    with pytest.raises(IndexingError, match="index 7"):
        (loss, w, b)[asked].numpy()
    assert w.tolist() == [1.0, 2.0, 3.0] and b.tolist() == [0.5]
    assert w.requires_grad and b.requires_grad and w.is_leaf
    with pytest.raises(IndexingError):
        loss.item()
    update(w, b, [0, 1]).item()  # and training goes on
    assert np.allclose(w.numpy(), [0.8, 1.6, 3.0]) and np.allclose(b.numpy(), [0.4])


def test_nor_has_anything_after_it_but_what_was_before_has():
    x, y, w, other = wf.zeros(2), wf.zeros(2), wf.tensor([1.0, 2.0]), wf.ones(2)
    x += 1
    x += 1
    product = other * 3
    bad = wf.take(w, wf.tensor([5]))
    x += 10
    y[0] = 4.0
    with pytest.raises(IndexingError):
        bad.numpy()
    assert x.tolist() == [2.0, 2.0] and y.tolist() == [0.0, 0.0]
    assert product.tolist() == [3.0, 3.0]


def test_an_assignment_that_fails():
    x, w = wf.zeros(2), wf.tensor([1.0, 2.0])
    x[...] = wf.take(w, wf.tensor([0, 5]))
    with pytest.raises(IndexingError):
        x.numpy()
    assert x.tolist() == [0.0, 0.0]


def test_under_debug_nan_and_in_eager_mode():
    w = wf.tensor([1.0, -2.0])
    with wf.config(debug_nan=True):
        root = wf.sqrt(w)
        w += root
        with pytest.raises(NumericError):
            root.numpy()
    assert w.tolist() == [1.0, -2.0]
    with wf.config(eager=True):
        with pytest.raises(IndexingError):
            w += wf.take(w, wf.tensor([0, 7]))
        w += 1
    assert w.tolist() == [2.0, -1.0]


def test_several_things_that_fail_one_after_the_other():
    w = wf.tensor([1.0, 2.0])
    first, second = wf.take(w, wf.tensor([5])), wf.take(w, wf.tensor([6]))
    fine = w * 2
    for bad, index in ((second, 6), (first, 5), (second, 6)):
        with pytest.raises(IndexingError, match=f"index {index}"):
            bad.numpy()
    assert fine.tolist() == [2.0, 4.0]


def test_undoing_survives_a_cut_of_a_long_program():
    w, x = wf.tensor([1.0]), wf.zeros(1)
    bad = wf.take(w, wf.tensor([3]))
    keep = []
    with pytest.raises(IndexingError):
        for _ in range(3000):
            x += 1
            keep.append(x * 1.0)
    assert x.tolist() == [0.0]
    with pytest.raises(IndexingError):
        bad.numpy()
    assert state.undo == []


def finalizing(frame):
    """Whether a frame belongs to a finalizer, whose exceptions Python reports and drops."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def interrupted(function, after):
    """Run `function` and raise KeyboardInterrupt at call number `after` of Weft's machinery; whether it was.

    Python looks for signals where a function begins and where a built-in one has returned.
    """
    count = 0

    def profile(frame, event, _):
        nonlocal count
        name = frame.f_code.co_filename
        if (
            event in ("call", "c_return")
            and not finalizing(frame)
            and any(f"/weft/{room}/" in name for room in ("arrays", "runtime", "optim"))
        ):
            count += 1
            if count == after:
                sys.setprofile(None)
                raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(before)
    return False


def by_hand():
    w, b = leaves()
    return w, b, lambda: update(w, b, [0, 1]).item()


def compiled(calls=1):
    w, b = leaves()
    step = wf.compile(lambda: update(w, b, [0, 1]))
    for _ in range(calls):
        step()
    return w, b, step


def compiled_and_ready():
    return compiled(3)


def optimized():
    w, b = leaves()
    optimizer = optim.SGD([w, b], lr=0.1, momentum=0.9)

    def step():
        loss = (wf.take(w, wf.tensor([0, 1])) ** 2).sum() + b.sum()
        w.grad = b.grad = None
        loss.backward()
        optimizer.step()

    step()
    return w, b, step


@pytest.mark.parametrize("make", [compiled, compiled_and_ready, optimized, by_hand])
def test_an_interrupt_anywhere_leaves_the_old_or_the_new_state(make):
    reference = [t.numpy().copy() for t in make()[:2]]
    w, b, step = make()
    step()
    changed = [t.numpy().copy() for t in (w, b)]
    after, stride = 1, 3 if make in (optimized, by_hand) else 1
    while True:
        w, b, step = make()
        if not interrupted(step, after):
            break
        found = [t.numpy() for t in (w, b)]
        old, new = (
            [np.array_equal(f, t) for f, t in zip(found, s, strict=True)] for s in (reference, changed)
        )
        # What is written by hand is interrupted between its lines, as any Python is.
        assert all(old) or all(new) or (make is by_hand and all(map(max, old, new))), after
        assert not state.traces and state.ambient == 0
        after += stride
    assert after > (10 if make is compiled_and_ready else 20)


def test_an_interrupt_while_tracing_leaves_the_state_as_it_was():
    after = 1
    while True:
        w, b = leaves()
        step = wf.compile(lambda w=w, b=b: update(w, b, [0, 1]))
        if not interrupted(step, after):
            break
        for t, old, new in ((w, [1.0, 2.0, 3.0], [0.8, 1.6, 3.0]), (b, [0.5], [0.4])):
            assert np.allclose(t.numpy(), old) or np.allclose(t.numpy(), new), after
        assert not state.traces and state.ambient == 0 and state.grad
        after += 3
    assert after > 100
