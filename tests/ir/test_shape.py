"""Named dimensions: polynomial arithmetic, and the shape functions over them."""

import operator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from weft.base.errors import ArgumentError, ShapeError
from weft.ir.shape import (
    Dim,
    broadcast_shapes,
    check_shape,
    divide,
    is_static,
    normalize_axes,
    normalize_axis,
    show_shape,
    size_of,
)

A, B = Dim("a"), Dim("b")

polynomials = st.recursive(
    st.integers(-4, 4) | st.sampled_from([A, B, Dim("c")]),
    lambda inner: st.tuples(st.sampled_from([operator.add, operator.sub, operator.mul]), inner, inner).map(
        lambda t: t[0](t[1], t[2])
    ),
    max_leaves=6,
)
sizes = st.fixed_dictionaries({n: st.integers(0, 9) for n in "abc"})


def value(x, at):
    return x.bind(at) if isinstance(x, Dim) else x


@given(polynomials, polynomials, sizes)
def test_arithmetic_is_that_of_the_sizes(x, y, at):
    assert value(x + y, at) == value(x, at) + value(y, at)
    assert value(x - y, at) == value(x, at) - value(y, at)
    assert value(x * y, at) == value(x, at) * value(y, at)
    assert value(-x, at) == -value(x, at)


@given(polynomials, polynomials, polynomials)
def test_equal_polynomials_are_equal_however_they_are_written(x, y, z):
    assert (x + y) * z == x * z + y * z
    assert x + y - y == x
    assert x * y == y * x
    assert hash((x + y) * z) == hash(x * z + y * z)
    assert x - x == 0 and type(x - x) is int


@given(polynomials, polynomials)
def test_division_undoes_multiplication(x, y):
    assume(y != 0)
    terms = y.terms if isinstance(y, Dim) else {(): y}
    assume(len(terms) == 1)
    assert divide(x * y, y) == x
    if isinstance(x * y, Dim):
        assert (x * y) // y == x


@given(polynomials, sizes, sizes)
def test_binding_in_steps(x, first, second):
    partial = {"a": first["a"]}
    rest = {"b": second["b"], "c": second["c"]}
    assert value(value(x, partial), rest) == value(x, {**partial, **rest})


def test_some_names():
    assert Dim("a") == Dim("a") and Dim("a") != Dim("b") and Dim("a") != 1
    assert (A * B + A).names == {"a", "b"}
    assert A**2 == A * A and A**0 == 1
    assert (6 * A) // 3 == 2 * A
    assert (A * B) // B == A
    assert bool(A)


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (A, "a"), (2 * A, "2*a"), (A + 1, "a+1"), (A - 1, "a-1"), (1 - A, "-a+1"), (A * B - 2 * A + 3, "a*b-2*a+3"),
        (A * A, "a*a"), (-A * B, "-a*b"),
    ],
)  # fmt: skip
def test_how_they_are_printed(dim, text):
    assert repr(dim) == str(dim) == text


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "*"])
def test_names_are_identifiers(name):
    with pytest.raises(ArgumentError, match="identifier"):
        Dim(name)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_what_is_larger_is_not_known(compare):
    for x, y in ((A, 3), (3, A), (A, B)):
        with pytest.raises(ShapeError, match="not known while the dimension is open"):
            compare(x, y)


def test_sizes_that_are_not_known():
    for use in (range, lambda d: [0] * d, operator.index, int):
        with pytest.raises(ShapeError, match="not known while the dimension is open"):
            use(A)
    with pytest.raises(ShapeError, match="not known to be a multiple"):
        A // 2
    with pytest.raises(ShapeError, match="not known to be a multiple"):
        (A + 1) // B


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul])
def test_sizes_are_whole_numbers(operation):
    for x, y in ((A, 0.5), (0.5, A), (A, None), (None, A)):
        with pytest.raises(TypeError):
            operation(x, y)


def test_numpy_integers_are_sizes():
    import numpy as np

    assert A + np.int64(2) == A + 2
    assert A * np.int32(2) == 2 * A


def test_shapes():
    assert size_of(()) == 1
    assert size_of((2, A, 3)) == 6 * A
    assert is_static((1, 2)) and not is_static((1, A))
    assert show_shape((A,)) == "(a,)" and show_shape((2, A + 1)) == "(2, a+1)" and show_shape(()) == "()"


@pytest.mark.parametrize(
    ("given", "shape"), [(3, (3,)), (A, (A,)), ([2, A], (2, A)), ((), ()), ((True,), (1,)), ([0], (0,))]
)
def test_what_is_a_shape(given, shape):
    assert check_shape(given) == shape


@pytest.mark.parametrize("given", [(1.5,), ("a",), (-1,), (None,), ((1,),)])
def test_what_is_no_shape(given):
    with pytest.raises(ShapeError, match="a shape holds"):
        check_shape(given)


@pytest.mark.parametrize(
    ("shapes", "result"),
    [
        ([(2, 3), (2, 3)], (2, 3)),
        ([(2, 1), (3,)], (2, 3)),
        ([(), (4,)], (4,)),
        ([(A, 1), (1, B)], (A, B)),
        ([(A,), (A,), (1,)], (A,)),
        ([(0,), (1,)], (0,)),
        ([(A + 1,), (1 + A,)], (A + 1,)),
    ],
)
def test_broadcasting(shapes, result):
    assert broadcast_shapes(*shapes) == result
    assert broadcast_shapes(*reversed(shapes)) == result


@pytest.mark.parametrize("shapes", [[(2,), (3,)], [(A,), (B,)], [(A,), (3,)], [(0,), (2,)], [(A,), (A + 1,)]])
def test_shapes_that_do_not_broadcast(shapes):
    with pytest.raises(ShapeError, match=r"do not broadcast: axis -1 has sizes"):
        broadcast_shapes(*shapes)


@given(st.lists(st.lists(st.integers(1, 3), max_size=4).map(tuple), min_size=1, max_size=3))
def test_broadcasting_is_numpys(shapes):
    import numpy as np

    try:
        want = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ShapeError):
            broadcast_shapes(*shapes)
    else:
        assert broadcast_shapes(*shapes) == want


def test_axes():
    assert normalize_axis(-1, 3) == 2
    assert normalize_axes(None, 3) == (0, 1, 2)
    assert normalize_axes((-1, 0), 3) == (2, 0)
    assert normalize_axes(1, 3) == (1,)
    with pytest.raises(ShapeError, match=r"axis 3 is outside a tensor of 3 dimensions \(valid: -3 to 2\)"):
        normalize_axis(3, 3)
    with pytest.raises(ArgumentError, match="names the same axis twice"):
        normalize_axes((0, -3), 3)
    with pytest.raises(ArgumentError, match="must be an integer"):
        normalize_axis(1.5, 3)
