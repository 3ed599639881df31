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


def test_dictionaries_and_lists_of_parameters_are_dictionaries_and_lists():
    d = nn.ParameterDict({"a": wf.ones(2)})
    assert d.get("b") is None and d.setdefault("b", wf.zeros(3)) is d["b"] and d.setdefault("b") is d["b"]
    other = d.copy()
    assert other["a"] is d["a"] and list(other) == ["a", "b"]
    name, b = d.popitem()
    assert name == "b" and b.shape == (3,) and d.pop("a") is other["a"] and len(d) == 0
    with pytest.raises(ArgumentError, match="empty"):
        d.popitem()
    assert [p.shape for p in other.fromkeys(["x", "y"], wf.ones(4)).values()] == [(4,), (4,)]
    other.clear()
    assert list(other.parameters()) == []
    m = nn.ModuleDict({"x": nn.Identity()})
    m.clear()
    assert len(m) == 0
    values = nn.ParameterList([wf.ones(1)]).extend([wf.ones(2), np.ones(3, "float32")])
    values[1] = wf.zeros(4)
    assert [p.shape for p in values] == [(1,), (4,), (3,)] and all(p.requires_grad for p in values)


def test_a_module_is_put_in_the_place_of_another():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 3)))
    net.set_submodule("1.0", nn.Tanh())
    assert repr(net[1][0]) == "Tanh()" and net.cpu() is net
    with pytest.raises(ArgumentError, match="no child"):
        net.set_submodule("1.7", nn.Tanh())


def test_buffers_are_registered_when_they_are_assigned():
    net = nn.Module()
    net.kept, net.lost = nn.Buffer(wf.ones(2)), nn.Buffer([0.0], persistent=False)
    assert list(net.state_dict()) == ["kept"] and [n for n, _ in net.named_buffers()] == ["kept", "lost"]
    assert list(net.parameters()) == [] and not net.kept.requires_grad
    net.kept = wf.zeros(2)
    assert dict(net.named_buffers())["kept"].tolist() == [0.0, 0.0]
    net.double()
    assert net.lost.dtype is wf.float64
