"""Graphs as text, letter by letter."""

import textwrap

import numpy as np

from nodes import node
from weft.ir.dtype import bfloat16, float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.printer import print_graph
from weft.ir.shape import Dim
from weft.ops.control import call
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
          %1 = call[twice](%0, rule=None) : f32[2], f32[2]
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
