"""Nested containers: taken apart and put together again."""

from collections import OrderedDict, defaultdict, namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.base.errors import ArgumentError
from weft.base.pytree import LEAF, Structure, flatten, register_pytree, tree_map, unflatten

Point = namedtuple("Point", "x y")

keys = st.text(max_size=3) | st.integers(0, 3)
trees = st.recursive(
    st.none() | st.integers() | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3).map(OrderedDict)
        | st.tuples(inner, inner).map(lambda t: Point(*t))
    ),
    max_leaves=12,
)


def same(a, b):
    """Equal, and of the same types all the way down."""
    if type(a) is not type(b) or a != b:
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return all(map(same, a, b))
    return True


@given(trees)
def test_there_and_back(tree):
    leaves, structure = flatten(tree)
    assert structure.size == len(leaves)
    assert None not in leaves
    assert same(unflatten(structure, leaves), tree)


@given(trees)
def test_structures_compare_by_content(tree):
    _, a = flatten(tree)
    _, b = flatten(tree_map(lambda _: 0, tree))
    assert a == b and hash(a) == hash(b)
    wrapped = flatten([tree])[1]
    assert wrapped != a


@given(trees)
def test_mapping(tree):
    doubled = tree_map(lambda x: [x, x][0], tree)
    assert same(doubled, tree)
    paired = tree_map(lambda x, y: (x, y), tree, tree)
    assert flatten(paired)[0] == [x for leaf in flatten(tree)[0] for x in (leaf, leaf)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 2), [1, 2]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, OrderedDict(a=1)),
        ((1, 2), Point(1, 2)),
        ([1, None], [1, 2]),
        ([], ()),
        ([[1], 2], [[1, 2]]),
        (1, [1]),
    ],
)
def test_different_structures(a, b):
    assert flatten(a)[1] != flatten(b)[1]


def test_order_is_left_to_right():
    assert flatten({"b": [1, (2, 3)], "a": Point(4, None)})[0] == [1, 2, 3, 4]


def test_what_is_not_registered_is_a_leaf():
    table = defaultdict(int, a=1)
    assert flatten([table, {1, 2}, "text"])[0] == [table, {1, 2}, "text"]
    assert flatten(5) == ([5], LEAF)


def test_ones_own_containers():
    class Pair:
        def __init__(self, first, second, name):
            self.first, self.second, self.name = first, second, name

    register_pytree(Pair, lambda p: ((p.first, p.second), p.name), lambda name, c: Pair(*c, name))
    leaves, structure = flatten([Pair(1, [2, 3], "p")])
    assert leaves == [1, 2, 3]
    assert structure == flatten([Pair(7, [8, 9], "p")])[1] != flatten([Pair(1, [2, 3], "q")])[1]
    (again,) = unflatten(structure, [4, 5, 6])
    assert (again.first, again.second, again.name) == (4, [5, 6], "p")


def test_a_type_may_become_a_container_after_it_was_a_leaf():
    class Pair:
        first, second = 1, 2

    pair = Pair()
    for _ in range(2):
        assert flatten([pair, 3])[0] == [pair, 3]
    register_pytree(Pair, lambda p: ((p.first, p.second), None), lambda _, c: tuple(c))
    leaves, structure = flatten([pair, 3])
    assert leaves == [1, 2, 3] and unflatten(structure, leaves) == [(1, 2), 3]


def test_wrong_numbers_of_leaves():
    structure = flatten([1, 2])[1]
    for leaves in ([], [1], [1, 2, 3]):
        with pytest.raises(ArgumentError, match=rf"has 2 leaves, got {len(leaves)}"):
            unflatten(structure, leaves)


def test_trees_that_do_not_match():
    with pytest.raises(ArgumentError, match="trees of different structure"):
        tree_map(lambda x, y: x, [1, 2], (1, 2))


def test_a_container_that_contains_itself():
    loop = []
    loop.append(loop)
    with pytest.raises(ArgumentError, match="contains itself"):
        flatten(loop)


def test_how_structures_look():
    assert repr(flatten({"a": (1, [2]), "b": None})[1]) == "{'a': (*, [*]), 'b': None}"
    assert repr(flatten(((1,), {}, [], ()))[1]) == "((*,), {}, [], ())"
    assert repr(flatten(OrderedDict(a=1))[1]) == "OrderedDict('a': *)"
    assert isinstance(LEAF, Structure) and repr(LEAF) == "*"
