"""Looking never changes a result: random programs give the same bits however they are cut and run.

Each program is a list of operations on a growing list of vectors. It is run straight through, with values looked at
in between, with the loss looked at before `backward`, with everything computed at once (`eager`), compiled, and
differentiated as a function; losses and gradients must agree bit by bit.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import weft.arrays  # noqa: F401  (registers the backend)
from weft.arrays import dispatch
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
