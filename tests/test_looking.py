"""Looking never changes a result: random programs give the same bits however they are cut and run.

Each program is a list of operations on a growing list of vectors. It is run straight through, with values looked at
in between, with the loss looked at before `backward`, with everything computed at once (`eager`), compiled, and
differentiated as a function; losses and gradients must agree bit by bit. A second kind of program rebinds tensors
outside it, step after step, while copies, views and pending expressions of the old values are held.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import weft.arrays  # noqa: F401  (registers the backend)
from weft.arrays import dispatch
from weft.arrays.cell import alias
from weft.arrays.compile import compile
from weft.arrays.creation import tensor
from weft.arrays.grad import grad
from weft.base.config import config
from weft.ops import elementwise as e
from weft.ops.composite.define import composite
from weft.ops.reduce import restore, sum_


@composite
def _test_softmax(x):
    y = e.exp(x - 1.0)
    return y / restore(sum_(y, axes=(0,)), x, (0,))


@composite
def _test_pair(x, y):
    t = e.tanh(x * y)
    return t + x, t * t


softmax = dispatch.operation(_test_softmax)
pair = dispatch.operation(_test_pair)

OPERATIONS = {
    "add": lambda a, b: (a + b,),
    "sub": lambda a, b: (a - b,),
    "mul": lambda a, b: (a * b,),
    "max": lambda a, b: (dispatch.binary(e.maximum, a, b),),
    "neg": lambda a, b: (-a,),
    "scale": lambda a, b: (a * 0.37,),
    "detach": lambda a, b: (a.detach(),),
    "softmax": lambda a, b: (softmax(a),),
    "pair": pair,
}

index = st.integers(0, 30)
programs = st.lists(
    st.tuples(st.sampled_from(sorted(OPERATIONS)), index, index, st.none() | index), min_size=1, max_size=20
)


def run(program, leaves, looking):
    """The loss of `program` on `leaves`, looking at one value after each operation that says so."""
    values = list(leaves)
    for name, i, j, look in program:
        values += OPERATIONS[name](values[i % len(values)], values[j % len(values)])
        if looking and look is not None:
            values[look % len(values)].numpy()
    return (values[-1] * values[-1]).sum() + values[len(values) // 2].sum()


def fresh(seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(4).astype(np.float32) for _ in range(3)]
    return [tensor(a, requires_grad=i < 2) for i, a in enumerate(arrays)]


def gradients(leaves):
    return [np.zeros(4, np.float32) if x.grad is None else x.grad.numpy() for x in leaves[:2]]


def step(program, leaves, looking, loss_first):
    loss = run(program, leaves, looking)
    if loss_first:
        loss.item()
    if loss.requires_grad:
        loss.backward()
    return [loss.numpy(), *gradients(leaves)]


def compiled(program, leaves):
    @compile
    def step():
        for x in leaves[:2]:
            x._cell.grad = None
        loss = run(program, leaves, False)
        if loss.requires_grad:
            loss.backward()
        return loss

    step()
    loss = step()
    assert step.traces <= 2  # the second time, gradients exist
    return [loss.numpy(), *gradients(leaves)]


def functional(program, leaves):
    first, second, third = leaves
    found = grad(lambda a, b: run(program, (a, b, third), True), (0, 1))(first, second)
    return [run(program, leaves, False).numpy(), *[g.numpy() for g in found]]


@settings(max_examples=150)
@given(programs, st.integers(0, 1000))
def test_same_bits_however_it_is_run(program, seed):
    expected = step(program, fresh(seed), looking=False, loss_first=False)
    ways = {
        "looking": step(program, fresh(seed), looking=True, loss_first=False),
        "looking, then at the loss": step(program, fresh(seed), looking=True, loss_first=True),
        "compiled": compiled(program, fresh(seed)),
        "functional": functional(program, fresh(seed)),
    }
    with config(eager=True):
        ways["eager"] = step(program, fresh(seed), looking=False, loss_first=False)
    for way, found in ways.items():
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=way, strict=True)


STATEFUL = ("add", "mul", "neg", "detach", "update", "assign")
stateful_programs = st.lists(
    st.tuples(st.sampled_from(STATEFUL), index, index, index), min_size=1, max_size=12
)
HOLD = ("view", "detached", "pending", "look", "change")
sessions = st.lists(
    st.lists(st.tuples(st.sampled_from(HOLD), st.integers(0, 2)), max_size=3), min_size=2, max_size=5
)


def change_state(program, cells, x):
    """Run `program` on the tensors `cells`, which it rebinds, and `x`; returns two of the values on the way."""
    values = [x]
    for name, i, j, k in program:
        known = [*cells, *values]
        a, b, target = known[i % len(known)], known[j % len(known)], cells[k % len(cells)]
        if name == "update":
            target._cell.rebind((a * 0.5 + b)._node)
        elif name == "assign":
            target._cell.rebind(alias(a._node))
        else:
            values += OPERATIONS[name](a, b)
    return values[-1] * 1.0, values[len(values) // 2] * 1.0


def hold(kind, cell, result, held):
    """Keep a value in one way or another, to be compared at the end; or change the cell from outside."""
    if kind == "view":
        view = cell.numpy()
        held.append((view, view.copy()))
    elif kind == "detached":
        held.append((cell.detach(), None))
    elif kind == "pending":
        held.append((cell * 2.0, None))
    elif kind == "look":
        result.numpy()
    else:
        cell._cell.rebind((cell + 1.0)._node)


def session(program, actions, seed, transform):
    """Call a stateful function several times, holding things in between; everything that was seen, at the end."""
    rng = np.random.default_rng(seed)
    cells = [tensor(rng.uniform(-0.5, 0.5, 3).astype(np.float32)) for _ in range(3)]
    function = transform(lambda x: change_state(program, cells, x))
    held = []
    for step_actions in actions:
        results = function(tensor(rng.uniform(-0.5, 0.5, 3).astype(np.float32)))
        held += [(r, None) for r in results]
        for kind, which in step_actions:
            hold(kind, cells[which], results[0], held)
    seen = []
    for value, copy in held:
        if copy is not None:
            np.testing.assert_array_equal(value, copy, err_msg="a view has changed")
        seen.append(value.numpy() if copy is None else copy)
    return [*seen, *[c.numpy() for c in cells]]


@settings(max_examples=150)
@given(stateful_programs, sessions, st.integers(0, 1000))
def test_state_is_replaced_and_what_is_held_stays(program, actions, seed):
    expected = session(program, actions, seed, lambda f: f)
    with config(eager=True):
        eager = session(program, actions, seed, lambda f: f)
    for found in (eager, session(program, actions, seed, compile)):
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
