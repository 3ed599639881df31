"""Graphs as text, letter by letter."""

import textwrap

import numpy as np

from nodes import node
from weft.ir.dtype import bfloat16, float32, int32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.printer import print_graph
from weft.ir.shape import Dim
from weft.ops.control import call, cond
from weft.ops.elementwise import cast, exp
from weft.ops.movement import broadcast_to
from weft.ops.reduce import sum_

N = Dim("n")


def shows(graph, text):
    assert str(graph) == textwrap.dedent(text).strip()


def test_operations_attributes_and_types():
    def function(x, y):
        z = broadcast_to(sum_(x, axes=(0,)), (N, 3)) * y
        return cast(z, dtype=bfloat16), x

    shows(
        trace_graph(function, [Aval((N, 3), float32)] * 2),
        """
        graph(%0: f32[n,3], %1: f32[n,3]) {
          %2 = sum(%0, axes=(0)) : f32[3]
          %3 = broadcast_in_dim(%2, shape=(n,3), axes=(1)) : f32[n,3]
          %4 = mul(%3, %1) : f32[n,3]
          %5 = cast(%4, dtype=bfloat16) : bf16[n,3]
          return %5, %0
        }
        """,
    )


def test_constants():
    k = node(np.ones(2, np.float32))
    shows(
        trace_graph(lambda x: x * 2.5 + k, [Aval((2,), float32)]),
        """
        graph(%0: f32[2]) {
          %1 = constant 2.5 : f32[]
          %2 = mul(%0, %1) : f32[2]
          %3 = constant : f32[2]
          %4 = add(%2, %3) : f32[2]
          return %4
        }
        """,
    )


def test_bodies_and_picks():
    body = trace_graph(lambda a: (exp(a), a + a), [Aval((2,), float32)])

    def function(x):
        from weft.ir.primitive import results

        first, second = results(call(x, name="twice", body=body, rule=None))
        return first * second

    shows(
        trace_graph(function, [Aval((2,), float32)]),
        """
        graph(%0: f32[2]) {
          %1 = call[twice](%0, body=body0) : f32[2], f32[2]
            body0(%0: f32[2]) {
              %1 = exp(%0) : f32[2]
              %2 = add(%0, %0) : f32[2]
              return %1, %2
            }
          %2 = %1[0] : f32[2]
          %3 = %1[1] : f32[2]
          %4 = mul(%2, %3) : f32[2]
          return %4
        }
        """,
    )


def test_a_body_is_shown_once_however_often_it_is_used():
    inner = trace_graph(lambda a: exp(a), [Aval((), float32)])
    outer = trace_graph(
        lambda a: call(call(a, name="in", body=inner, rule=None), name="in", body=inner, rule=None),
        [Aval((), float32)],
    )

    def function(x):
        y = call(x, name="out", body=outer, rule=None)
        return call(y, name="out", body=outer, rule=None) + call(y, name="in", body=inner, rule=None)

    shows(
        trace_graph(function, [Aval((), float32)]),
        """
        graph(%0: f32[]) {
          %1 = call[out](%0, body=body0) : f32[]
            body0(%0: f32[]) {
              %1 = call[in](%0, body=body1) : f32[]
                body1(%0: f32[]) {
                  %1 = exp(%0) : f32[]
                  return %1
                }
              %2 = call[in](%1, body=body1) : f32[]
              return %2
            }
          %2 = call[out](%1, body=body0) : f32[]
          %3 = call[in](%1, body=body1) : f32[]
          %4 = add(%2, %3) : f32[]
          return %4
        }
        """,
    )


def test_branches_and_rules():
    graphs = tuple([trace_graph(f, [Aval((), float32)]) for f in (exp, lambda x: x * 2.0)])

    def function(i, x):
        y = cond(i, x, branches=graphs, rule=None)
        return call(y, name="f", body=graphs[0], rule="mine")

    shows(
        trace_graph(function, [Aval((), int32), Aval((), float32)]),
        """
        graph(%0: i32[], %1: f32[]) {
          %2 = cond(%0, %1, branches=(body0,body1)) : f32[]
            body0(%0: f32[]) {
              %1 = exp(%0) : f32[]
              return %1
            }
            body1(%0: f32[]) {
              %1 = constant 2.0 : f32[]
              %2 = mul(%0, %1) : f32[]
              return %2
            }
          %3 = call[f](%2, body=body0, rule=mine) : f32[]
          return %3
        }
        """,
    )


def test_nothing():
    shows(
        trace_graph(lambda x: x, [Aval((), float32)]),
        """
        graph(%0: f32[]) {
          return %0
        }
        """,
    )


def test_lines_of_the_user():
    graph = trace_graph(lambda x: exp(x), [Aval((), float32)])
    line = print_graph(graph, sites=True).splitlines()[1]
    assert line.startswith("  %1 = exp(%0) : f32[]    # ") and "test_printer.py:" in line


def test_short_form():
    assert (
        repr(trace_graph(lambda x: exp(x), [Aval((N,), float32)])) == "<graph (f32[n]) -> (f32[n]), 1 nodes>"
    )
