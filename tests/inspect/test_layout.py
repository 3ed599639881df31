"""The layout keeps its promises for graphs of any form."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from weft.inspect.layout import GAP_X, _inversions, lay_out


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 25))
    sizes = draw(st.lists(st.tuples(st.floats(10, 200), st.floats(10, 60)), min_size=count, max_size=count))
    pairs = [(a, b) for b in range(count) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=40)) if pairs else []
    return sizes, edges


@given(graphs())
def test_boxes_do_not_overlap_and_edges_point_downwards(graph):
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    for (width, height), p in zip(sizes, layout.boxes):
        assert (p.width, p.height) == (width, height)
        assert p.x - width / 2 >= 0 and p.x + width / 2 <= layout.width
        assert p.y - height / 2 >= 0 and p.y + height / 2 <= layout.height
    for p, q in itertools.combinations(layout.boxes, 2):
        beside = abs(p.x - q.x) >= (p.width + q.width) / 2 - 1e-6
        above = abs(p.y - q.y) >= (p.height + q.height) / 2 - 1e-6
        assert beside or above
        if p.layer == q.layer:
            assert abs(p.x - q.x) >= (p.width + q.width) / 2 + GAP_X - 1e-6
    for (a, b), points in zip(edges, layout.edges):
        assert layout.boxes[a].layer < layout.boxes[b].layer
        assert points[0] == (layout.boxes[a].x, layout.boxes[a].y + layout.boxes[a].height / 2)
        assert points[-1] == (layout.boxes[b].x, layout.boxes[b].y - layout.boxes[b].height / 2)
        assert all(y0 < y1 for (_, y0), (_, y1) in itertools.pairwise(points))
        assert len(points) == layout.boxes[b].layer - layout.boxes[a].layer + 1


@given(st.lists(st.integers(0, 9).map(float), max_size=30))
def test_inversions(values):
    assert _inversions(values) == sum(a > b for a, b in itertools.combinations(values, 2))


def test_a_chain_is_a_straight_line():
    layout = lay_out([(50.0, 20.0)] * 6, [(i, i + 1) for i in range(5)])
    assert len({round(p.x, 3) for p in layout.boxes}) == 1


def test_crossings_that_can_be_avoided_are():
    """Two chains whose boxes alternate."""
    edges = [(0, 3), (1, 2), (2, 5), (3, 4), (4, 7), (5, 6)]
    boxes = lay_out([(30.0, 20.0)] * 8, edges).boxes
    side = [boxes[a].x < boxes[b].x for a, b in [(0, 1), (3, 2), (4, 5), (7, 6)]]
    assert len(set(side)) == 1


def test_nothing():
    assert lay_out([], []).boxes == []
