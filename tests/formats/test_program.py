"""Programs saved to a file and run again without the code they came from."""

import copy
import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weft.formats as f
from formats_shared import softmax_for_tests
from weft.arrays.compile import compile, spec
from weft.arrays.creation import tensor
from weft.arrays.dispatch import operation
from weft.arrays.grad import grad, no_grad
from weft.arrays.tensor import Tensor
from weft.base.errors import (
    ArgumentError,
    DTypeError,
    FormatError,
    GradientError,
    ShapeError,
    StateError,
    WeftError,
)
from weft.formats import container
from weft.ir.shape import Dim
from weft.ops.composite.define import registry
from weft.ops.elementwise import exp
from weft.runtime.executor import programs

softmax = operation(softmax_for_tests)
rng = np.random.default_rng(0)
W = rng.normal(size=(4, 3)).astype(np.float32)
B = rng.normal(size=3).astype(np.float32)


def classifier():
    w, b = tensor(W, requires_grad=True), tensor(B, requires_grad=True)

    @compile
    def predict(x):
        with no_grad():
            return softmax(x @ w + b, axis=1)

    return predict


def expected(x):
    e = np.exp(x @ W + B)
    return e / e.sum(axis=1, keepdims=True)


def gradient(x):
    """Of the sum of squares of what the classifier gives, with respect to x."""
    y = expected(x)
    ct = 2 * y * y
    return (ct - y * ct.sum(axis=1, keepdims=True)) @ W.T


def batch(n, seed=1):
    return np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)


def saved(tmp_path, program):
    path = tmp_path / "program.weft"
    f.save(program, path)
    return f.load(path)


def test_a_program_comes_back(tmp_path):
    predict = classifier()
    x = batch(5)
    wanted = predict(tensor(x)).numpy()
    program = saved(tmp_path, predict)
    assert isinstance(program, f.LoadedProgram)
    np.testing.assert_array_equal(program(tensor(x)).numpy(), wanted)
    np.testing.assert_array_equal(program(x).numpy(), wanted)
    assert "f32[5,4]" in repr(program)
    assert "call[softmax_for_tests]" in str(program)


def test_an_open_dimension_takes_every_size(tmp_path):
    program = saved(tmp_path, classifier().trace(spec((Dim("batch"), 4))))
    for n in (1, 2, 7, 7, 0):
        np.testing.assert_allclose(program(batch(n)).numpy(), expected(batch(n)), rtol=1e-5)
    assert "batch" in repr(program)


def test_an_open_dimension_under_grad(tmp_path):
    program = saved(tmp_path, classifier().trace(spec((Dim("batch"), 4))))
    for n in (2, 3):
        found = grad(lambda x: (program(x) * program(x)).sum())(tensor(batch(n)))
        np.testing.assert_allclose(found.numpy(), gradient(batch(n)), rtol=1e-5, atol=1e-7)


def test_state_can_be_trained_further(tmp_path):
    program = saved(tmp_path, classifier().trace(spec((Dim("batch"), 4))))
    assert not any(t.requires_grad for t in program.state.values())
    for t in program.state.values():
        t.requires_grad = True
    out = program(batch(3))
    (out * out).sum().backward()
    assert all(t.grad is not None and np.any(t.grad.numpy() != 0) for t in program.state.values())


def test_a_program_inside_another(tmp_path):
    program = saved(tmp_path, classifier().trace(spec((Dim("batch"), 4))))

    @compile
    def twice(x):
        return program(x) * 2

    np.testing.assert_allclose(twice(tensor(batch(3))).numpy(), 2 * expected(batch(3)), rtol=1e-5)


def counter():
    total = tensor(np.zeros(2))

    @compile
    def step(x, scale):
        with no_grad():
            total._cell.rebind((total + x * scale)._node)
        return total * 1

    return step, total


def test_state_that_changes(tmp_path):
    step, total = counter()
    step(tensor([1.0, 2.0]), 0.5)
    program = saved(tmp_path, step)
    (name,) = program.state
    assert program.state[name].numpy().tolist() == [0.5, 1.0]
    assert program(tensor([1.0, 2.0]), 2.0).numpy().tolist() == [2.5, 5.0]
    assert program(tensor([1.0, 2.0]), 1.0).numpy().tolist() == [3.5, 7.0]
    assert program.state[name].numpy().tolist() == [3.5, 7.0]
    assert total.numpy().tolist() == [0.5, 1.0]
    again = saved(tmp_path, program)
    assert again.state[name].numpy().tolist() == [3.5, 7.0]
    again(tensor([1.0, 1.0]), 1.0)
    assert program.state[name].numpy().tolist() == [3.5, 7.0]


def test_a_loaded_state_survives_what_was_seen_of_it(tmp_path):
    """The program takes over the memory of the state it replaces, unless somebody else holds it."""
    step, _ = counter()
    step(tensor([1.0, 2.0]), 0.5)
    program = saved(tmp_path, step)
    (t,) = program.state.values()
    seen, copy = t.numpy(), t.detach()
    program(tensor([1.0, 2.0]), 2.0)
    assert seen.tolist() == [0.5, 1.0]
    assert copy.numpy().tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))], ids=["copy", "pickle"]
)
def test_copies_have_a_state_of_their_own(tmp_path, duplicate):
    step, _ = counter()
    step(tensor([1.0, 2.0]), 0.5)
    program = saved(tmp_path, step)
    other = duplicate(program)
    assert other(tensor([1.0, 2.0]), 2.0).numpy().tolist() == [2.5, 5.0]
    assert [t.numpy().tolist() for t in program.state.values()] == [[0.5, 1.0]]
    assert [t.numpy().tolist() for t in other.state.values()] == [[2.5, 5.0]]


def test_threads_share_a_program(tmp_path):
    program, errors = saved(tmp_path, classifier().trace(spec((Dim("batch"), 4)))), []

    def work(i):
        try:
            for k in range(20):
                x = batch(1 + (i + k) % 5)
                np.testing.assert_allclose(program(x).numpy(), expected(x), rtol=1e-5)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []


def test_state_as_a_whole(tmp_path):
    program = saved(tmp_path, classifier().trace(spec((2, 4))))
    before = program.state_dict()
    other = {name: t * 2 for name, t in before.items()}
    program.load_state_dict(other)
    np.testing.assert_allclose(
        program(np.zeros((2, 4), np.float32)).numpy()[0], np.exp(2 * B) / np.exp(2 * B).sum(), 1e-5
    )
    name = next(iter(before))
    for wrong, message in (
        ({name: before[name]}, "missing"),
        ({**before, "extra": before[name]}, r"unknown \['extra'\]"),
        ({**before, name: np.zeros(7)}, f"{name} must be float32"),
    ):
        with pytest.raises(StateError, match=message):
            program.load_state_dict(wrong)
    for name, t in program.state.items():
        np.testing.assert_array_equal(t.numpy(), other[name].numpy())
    with pytest.raises(TypeError):
        program.state["state0"] = before["state0"]  # a tensor is changed in its place, not exchanged


def test_state_that_is_written_and_never_read(tmp_path):
    last = tensor(np.zeros(2))

    @compile
    def remember(x):
        last._cell.rebind((x * 2)._node)
        return x + 1

    with pytest.raises(ArgumentError, match="turns the state 'output0' from float64"):
        f.save(remember.trace(tensor([1.0, 2.0])), tmp_path / "p")
    remember(tensor([1.0, 2.0]))  # from here on it is float32
    remember.clear()
    remember(tensor([1.0, 2.0]))
    program = saved(tmp_path, remember)
    assert program(tensor([3.0, 4.0])).numpy().tolist() == [4.0, 5.0]
    assert [t.numpy().tolist() for t in program.state.values()] == [[6.0, 8.0]]


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (({"a": tensor([1.0]), "b": [tensor([2.0]), tensor([3.0])]},), {}),
        ((Point(tensor([1.0]), tensor([2.0])),), {"mode": "train", "k": 3}),
        ((OrderedDict(z=tensor([1.0]), a=tensor([2.0])), None), {"scale": 2.5}),
        (((tensor([1.0]), (tensor([2.0]), ())),), {}),
    ],
    ids=["dict", "named tuple", "ordered dict", "tuples"],
)
def test_structures_come_back(tmp_path, args, kwargs):
    @compile
    def echo(*args, **kwargs):
        def plus_one(x):
            if isinstance(x, dict):
                return type(x)((k, plus_one(v)) for k, v in x.items())
            if isinstance(x, tuple) and hasattr(x, "_fields"):
                return type(x)(*map(plus_one, x))
            if isinstance(x, (list, tuple)):
                return type(x)(map(plus_one, x))
            return x + 1 if isinstance(x, Tensor) else x

        return plus_one(args), plus_one(kwargs)

    def plain(x):
        if isinstance(x, dict):
            return type(x), [(k, plain(v)) for k, v in x.items()]
        if isinstance(x, (list, tuple)):
            return type(x).__name__, getattr(x, "_fields", None), [plain(v) for v in x]
        return x.numpy().tolist() if isinstance(x, Tensor) else x

    wanted = plain(echo(*args, **kwargs))
    assert plain(saved(tmp_path, echo)(*args, **kwargs)) == wanted


def test_arguments_that_do_not_fit(tmp_path):
    @compile
    def function(batch, k, *, mask):
        return batch["x"] * mask + batch["y"][0]

    x = tensor([[1.0, 2.0]])
    good = ({"x": x, "y": [x]}, 3)
    function(*good, mask=x)
    program = saved(tmp_path, function)
    program(*good, mask=x)
    program({"y": [x], "x": x}, 3, mask=x)  # the order of keys means nothing
    with pytest.raises(ArgumentError, match="takes 2 positional arguments, mask=; got 2"):
        program(*good)
    with pytest.raises(ArgumentError, match="saved with argument 1 fixed at 3, got 4"):
        program(good[0], 4, mask=x)
    with pytest.raises(ArgumentError, match=r"argument 0 must be a dict with the keys \['x', 'y'\]"):
        program({"x": x}, 3, mask=x)
    with pytest.raises(ArgumentError, match=r"argument 0\['y'\] must be a list of 1 entries, got 2"):
        program({"x": x, "y": [x, x]}, 3, mask=x)
    with pytest.raises(ShapeError, match=r"takes mask of shape \(1, 2\), got \(2, 1\)"):
        program(*good, mask=tensor([[1.0], [2.0]]))
    with pytest.raises(DTypeError, match="mask must be float32"):
        program(*good, mask=tensor([[1, 2]]))
    with pytest.raises(DTypeError, match="got the number 1"):
        program(*good, mask=1.0)
    with pytest.raises(ArgumentError, match="must be a tensor, got a str"):
        program(*good, mask="x")


def test_arguments_by_name_and_lists(tmp_path):
    @compile
    def function(batch, scale, *, shift):
        return batch["x"] * scale + shift

    x = tensor([[1.0, 2.0]])
    function({"x": x}, 2.0, shift=x)
    program = saved(tmp_path, function)
    for call in (
        lambda: program({"x": x}, 2.0, shift=x),
        lambda: program({"x": x}, scale=2.0, shift=x),
        lambda: program(shift=[[1, 2]], scale=2, batch={"x": [[1.0, 2.0]]}),
    ):
        assert call().numpy().tolist() == [[3.0, 6.0]]
    with pytest.raises(ArgumentError, match="takes 2 positional arguments"):
        program(scale=2.0, shift=x)
    with pytest.raises(ArgumentError, match="takes 2 positional arguments"):
        program({"x": x}, 2.0, scale=2.0, shift=x)
    with pytest.raises(ShapeError, match="lists of different lengths"):
        program({"x": [[1, 2], [3]]}, 2.0, shift=x)
    for wrong in ([["a", "b"]], [[1j, 2]], [[None, 1]]):
        with pytest.raises(DTypeError, match="must be float32"):
            program({"x": wrong}, 2.0, shift=x)


def test_open_dimensions_must_agree(tmp_path):
    n = Dim("n")

    @compile
    def add(x, y):
        return x + y

    program = saved(tmp_path, add.trace(spec((n, 2)), spec((n, 2))))
    assert program(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32)).shape == (3, 2)
    with pytest.raises(ShapeError, match="dimension 'n' is 3 in one input and 1 in another"):
        program(np.ones((3, 2), np.float32), np.ones((1, 2), np.float32))
    with pytest.raises(ShapeError, match=r"takes y of shape \(n, 2\)"):
        program(np.ones((3, 2), np.float32), np.ones((3, 3), np.float32))


def test_several_programs_must_be_chosen_from(tmp_path):
    predict = classifier()
    with pytest.raises(ArgumentError, match="has not been called or traced yet"):
        f.save(predict, tmp_path / "p")
    predict(tensor(batch(2)))
    predict(tensor(batch(3)))
    with pytest.raises(ArgumentError, match="holds 2 programs"):
        f.save(predict, tmp_path / "p")
    f.save(predict.trace(tensor(batch(3))), tmp_path / "p")
    assert f.load(tmp_path / "p")(batch(3)).shape == (3, 3)


def test_containers_that_need_code_are_refused(tmp_path):
    from weft.base.pytree import register_pytree

    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    register_pytree(Pair, lambda p: ((p.a, p.b), None), lambda _, c: Pair(*c))
    function = compile(lambda x: Pair(x, x + 1))
    function(tensor([1.0]))
    with pytest.raises(ArgumentError, match="the result of the program is a Pair"):
        f.save(function, tmp_path / "p")
    function = compile(lambda x, kind: x + 1)
    function(tensor([1.0]), frozenset([1]))
    with pytest.raises(ArgumentError, match="frozenset"):
        f.save(function, tmp_path / "p")
    assert os.listdir(tmp_path) == []


def test_constants_and_dtypes(tmp_path):
    from weft.ops.elementwise import cast

    fixed = np.array([1.0, 2.0, 3.0])

    @compile
    def function(x):
        import weft.ir.dtype as d

        inside = tensor(fixed) * 2
        return Tensor(cast(x._node, dtype=d.bfloat16)), inside + x, tensor(1 + 2j)

    x = tensor(np.arange(3.0))
    wanted = [t.numpy() for t in function(x)]
    for found, want in zip(saved(tmp_path, function)(x), wanted):
        assert found.dtype.numpy == want.dtype
        np.testing.assert_array_equal(found.numpy(), want)


def test_own_derivatives_are_found_again(tmp_path):
    assert softmax_for_tests.vjp_rule is not None
    program = saved(tmp_path, classifier().trace(spec((2, 4))))
    rules = [n.attrs["rule"] for n in program.graph.nodes if n.prim.name == "call"]
    assert [r.composite for r in rules] == [softmax_for_tests]


def test_without_the_composite_the_body_is_differentiated(tmp_path, monkeypatch):
    f.save(classifier().trace(spec((2, 4))), tmp_path / "p")
    monkeypatch.delitem(registry, "softmax_for_tests")
    program = f.load(tmp_path / "p")
    np.testing.assert_allclose(program(batch(2)).numpy(), expected(batch(2)), rtol=1e-5)
    found = grad(lambda x: (program(x) * program(x)).sum())(tensor(batch(2)))
    np.testing.assert_allclose(found.numpy(), gradient(batch(2)), rtol=1e-4, atol=1e-6)


def test_a_derivative_in_python_is_lost_loudly(tmp_path):
    from weft.ir.graph import trace_graph
    from weft.ops.control import call

    class Rule:
        def vjp(self, cts, outs, x):
            return [cts[0] * 100]

    def body(x):
        return exp(x)

    @compile
    def function(x):
        graph = trace_graph(body, [x._node.aval])
        return Tensor(call(x._node, name="mine", body=graph, rule=Rule())) * 2

    x = tensor([1.0])
    wanted = function(x).item()
    program = saved(tmp_path, function)
    assert program(x).item() == wanted
    with pytest.raises(GradientError, match="the derivative of 'mine' is Python code"):
        grad(lambda x: program(x).sum())(x)
    with no_grad():
        assert program(x).item() == wanted


def test_an_inference_program_holds_no_residuals(tmp_path):
    """Traced with gradients on, since the parameters require them, but nothing is differentiated in the file."""
    w = tensor(W, requires_grad=True)
    forward = compile(lambda x: softmax(x @ w, axis=1))
    forward.trace(spec((2, 4)))
    assert "residuals" in str(forward.graph)
    program = saved(tmp_path, forward)
    assert "residuals" not in str(program)
    np.testing.assert_array_equal(program(batch(2)).numpy(), forward(tensor(batch(2))).numpy())


def test_a_training_step_comes_back(tmp_path):
    def make():
        w = tensor(W, requires_grad=True)

        @compile
        def step(x, y, lr):
            d = softmax(x @ w, axis=1) - y
            loss = (d * d).sum()
            loss.backward()
            with no_grad():
                w._cell.rebind((w - w.grad * lr)._node)
            w._cell.grad = None
            return loss

        return step, w

    step, w = make()
    x, y = tensor(batch(6)), tensor(np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]])
    step.trace(x, y, 0.1)
    program = saved(tmp_path, step)
    for _ in range(4):
        assert program(x, y, 0.1).item() == step(x, y, 0.1).item()
    (state,) = program.state.values()
    np.testing.assert_array_equal(state.numpy(), w.numpy())


def test_a_process_without_the_code(tmp_path):
    f.save(classifier().trace(spec((Dim("batch"), 4))), tmp_path / "p.weft")
    np.save(tmp_path / "x.npy", batch(3))
    code = """
    import sys
    import numpy as np
    from weft.formats import load
    program = load(sys.argv[1])
    np.save(sys.argv[3], program(np.load(sys.argv[2])).numpy())
    """
    paths = [str(tmp_path / n) for n in ("p.weft", "x.npy", "y.npy")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *paths], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected(batch(3)), rtol=1e-5)


def test_one_program_serves_all_calls(tmp_path):
    program = saved(tmp_path, classifier().trace(spec((Dim("batch"), 4))))
    program(batch(2)).numpy()
    misses = programs.misses
    for _ in range(3):
        program(batch(2)).numpy()
    assert programs.misses == misses


# -- damage ---------------------------------------------------------------------------------------------------

DESCRIPTION_KEYS = ["name", "in", "out", "arguments", "results", "state", "updates", "constants"]
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.sampled_from(["*", "x", "tuple", "state0"])
    | st.floats(0, 1),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["tuple", "dict", "list", "named", "fixed", "tensor"]), inner, max_size=2
        )
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "p.weft"
    f.save(classifier().trace(spec((Dim("batch"), 4))), path)
    return container.read(path)


@settings(max_examples=200)
@given(st.sampled_from(DESCRIPTION_KEYS), plain)
def test_damaged_descriptions(content, key, value):
    from weft.formats.program import program_from

    about = json.loads(content.metadata["weft.program"])
    about[key] = value
    changed = container.Content(content.tensors, {**content.metadata, "weft.program": json.dumps(about)})
    try:
        program = f.LoadedProgram(program_from(changed))
    except FormatError:
        return
    repr(program)
    try:
        program(batch(2))  # what was accepted runs, or says what it wants instead
    except WeftError:
        pass


@pytest.mark.parametrize("missing", ["weft.program", "weft.graph"])
def test_missing_parts(content, missing):
    from weft.formats.program import program_from

    metadata = {k: v for k, v in content.metadata.items() if k != missing}
    with pytest.raises(FormatError):
        program_from(container.Content(content.tensors, metadata))


def test_missing_state(content):
    from weft.formats.program import program_from

    with pytest.raises(FormatError):
        program_from(container.Content({}, content.metadata))


def test_damaged_files(tmp_path, content):
    f.save(classifier().trace(spec((Dim("batch"), 4))), tmp_path / "p.weft")
    data = (tmp_path / "p.weft").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(100):
        broken = bytearray(data)
        for at in random.integers(0, len(data), size=random.integers(1, 4)):
            broken[at] ^= random.integers(1, 256)
        with pytest.raises(FormatError):
            container.read_bytes(bytes(broken))
