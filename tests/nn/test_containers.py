"""Containers: what is registered under which name; they behave like the lists and dictionaries they stand for."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.base.errors import ArgumentError, IndexingError


def _layers(count: int = 3) -> list[nn.Module]:
    return [nn.Linear(2, 2) for _ in range(count)]


def _names(container: nn.Module) -> list[str]:
    return [n for n, _ in container.named_children()]


def test_sequential_applies_in_order():
    a, b = _layers(2)
    x = wf.ones((1, 2))
    np.testing.assert_array_equal(nn.Sequential(a, b)(x).numpy(), b(a(x)).numpy())
    assert nn.Sequential()(x) is x


def test_sequential_takes_names():
    a, b = _layers(2)
    net = nn.Sequential(OrderedDict(first=a, second=b))
    assert _names(net) == ["first", "second"] and net.first is a and net[1] is b
    assert list(net.state_dict()) == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert _names(net[1:]) == ["second"]


@pytest.mark.parametrize(
    "kind", [nn.Sequential, lambda *m: nn.ModuleList(m)], ids=["Sequential", "ModuleList"]
)
def test_numbered_containers_are_lists(kind):
    a, b, c = _layers()
    box = kind(a, b)
    assert len(box) == 2 and list(box) == [a, b] and b in box and c not in box
    assert box[-1] is b and list(box[:1]) == [a] and type(box[:1]) is type(box)
    assert box.append(c) is box and _names(box) == ["0", "1", "2"]
    box[0] = c
    assert list(box) == [c, b, c]
    box.insert(1, a)
    assert list(box) == [c, a, b, c]
    del box[0]
    assert list(box) == [a, b, c] and _names(box) == ["0", "1", "2"]
    assert box.pop() is c and box.pop(0) is a and list(box) == [b]
    box.extend([a, c])
    del box[1:]
    assert list(box) == [b]
    for index in (1, -2):
        with pytest.raises(IndexingError, match="outside"):
            box[index]
    with pytest.raises(ArgumentError, match="integer indices"):
        box["0"]
    with pytest.raises(ArgumentError, match="holds modules"):
        box.append(lambda x: x)
    with pytest.raises(ArgumentError, match=r"write ReLU\(...\)"):
        box.append(nn.ReLU)


def test_module_list_has_no_forward():
    with pytest.raises(NotImplementedError, match="ModuleList"):
        nn.ModuleList(_layers())(wf.ones((1, 2)))


def test_sequentials_join():
    a, b, c = _layers()
    assert list(nn.Sequential(a) + nn.Sequential(b, c)) == [a, b, c]


def test_module_dict_is_a_dictionary():
    a, b, c = _layers()
    box = nn.ModuleDict({"left": a, "right": b})
    assert box["left"] is a and list(box) == ["left", "right"] and len(box) == 2 and "right" in box
    assert list(box.items()) == [("left", a), ("right", b)] and list(box.values()) == [a, b]
    box["left"] = c
    box.update([("up", a)])
    assert list(box.keys()) == ["left", "right", "up"] and box["left"] is c
    assert box.pop("up") is a
    del box["right"]
    assert _names(box) == ["left"] and len(list(box.parameters())) == 2
    with pytest.raises(ArgumentError, match="Did you mean 'left'"):
        box["lef"]
    with pytest.raises(ArgumentError, match="without dots"):
        box["a.b"] = a
    with pytest.raises(ArgumentError, match="already"):
        box["forward"] = a


def test_parameter_list():
    box = nn.ParameterList([wf.ones(2), [3.0]])
    box.append(nn.Parameter(wf.zeros(1)))
    assert len(box) == 3 and [tuple(p.shape) for p in box] == [(2,), (1,), (1,)]
    assert [n for n, _ in box.named_parameters()] == ["0", "1", "2"] and box[-1].numpy() == 0
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in box)


def test_equal_neighbours_of_a_list_are_printed_once():
    box = nn.ModuleList([nn.ReLU(), *_layers(), nn.ReLU()])
    assert repr(box) == (
        "ModuleList(\n  (0): ReLU()\n  (1-3): 3 x Linear(in_features=2, out_features=2, bias=True)\n  (4): ReLU()\n)"
    )
    assert repr(nn.ModuleList()) == "ModuleList()"


def test_nested_containers_print_and_save():
    net = nn.ModuleDict({"body": nn.ModuleList([nn.ReLU(), nn.Linear(1, 2)])})
    assert repr(net).splitlines()[:3] == ["ModuleDict(", "  (body): ModuleList(", "    (0): ReLU()"]
    assert list(net.state_dict()) == ["body.1.weight", "body.1.bias"]


def test_a_dictionary_of_parameters():
    table = nn.ParameterDict({"a": wf.ones(2)})
    table["b"] = np.zeros(3)
    assert list(table) == ["a", "b"] and len(table) == 2 and "b" in table
    assert [n for n, _ in table.named_parameters()] == ["a", "b"] and table["a"].requires_grad
    assert [p.shape for p in table.values()] == [(2,), (3,)] and dict(table.items())["a"] is table["a"]
    del table["a"]
    with pytest.raises(ArgumentError, match="Valid names: b"):
        table["c"]
    assert nn.BatchNorm1d(2).get_buffer("running_var").tolist() == [1.0, 1.0]
