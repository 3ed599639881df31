"""A type that worker processes find by its name, as they do those of any module that can be imported."""

from __future__ import annotations

import collections

Pair = collections.namedtuple("Pair", "x y")
