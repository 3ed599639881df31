"""Hooks that see gradients come back through a module, as in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from composites import spread
from weft import nn
from weft.base.errors import ArgumentError, ShapeError

X = spread(4, 3)


def pair():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).double()
    ours = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    return torch, ours, theirs


def array(g):
    return None if g is None else np.array(g.tolist())


def listening(net, seen):
    for name, module in net.named_modules():
        module.register_full_backward_hook(
            lambda m, gi, go, n=name: seen.append((n, *map(array, gi), *map(array, go)))
        )
        module.register_full_backward_pre_hook(
            lambda m, go, n=name: seen.append(("pre " + n, *map(array, go)))
        )


@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("needs", [True, False], ids=["inputs need gradients", "inputs are data"])
def test_hooks_see_what_those_of_torch_see(needs):
    torch, ours, theirs = pair()
    found = []
    for library, net in ((torch, theirs), (wf, ours)):
        seen = []
        listening(net, seen)
        x = library.tensor(X)
        x.requires_grad = needs
        (net(x) ** 2).sum().backward()
        found.append(seen)
    assert [s[0] for s in found[0]] == [s[0] for s in found[1]]
    for a, b in zip(*found):
        for u, v in zip(a[1:], b[1:], strict=True):
            assert (u is None) == (v is None)
            if u is not None:
                np.testing.assert_allclose(v, u, rtol=1e-9, atol=1e-12)


def test_hooks_may_replace_gradients():
    torch, ours, theirs = pair()
    grads = []
    for library, net in ((torch, theirs), (wf, ours)):
        net[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 2.0 + 1.0,))
        net[2].register_full_backward_pre_hook(lambda m, go: (go[0] * 0.5,))
        x = library.tensor(X)
        x.requires_grad = True
        net(x).sum().backward()
        grads.append([array(p.grad) for p in net.parameters()] + [array(x.grad)])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


def test_several_arguments_and_results_come_together():
    class Both(nn.Module):
        def forward(self, a, b, scale):
            return a * b * scale, a + b

    seen, both = [], Both()
    both.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    a, b = wf.tensor([2.0], requires_grad=True), wf.tensor([3.0], requires_grad=True)
    product, total = both(a, b, 2.0)
    (product * 5.0 + total).sum().backward()
    ((gi, go),) = seen
    assert [g if g is None else g.item() for g in gi] == [31.0, 21.0, None]
    assert [g.item() for g in go] == [5.0, 1.0]
    product, _ = both(a, b, 2.0)
    product.sum().backward()
    assert seen[1][1][1] is None


def test_hooks_can_be_removed_and_wrong_ones_are_refused():
    net, calls = nn.Linear(2, 2), []
    handle = net.register_full_backward_hook(lambda *a: calls.append(1))
    x = wf.ones((1, 2))
    net(x).sum().backward()
    handle.remove()
    net(x).sum().backward()
    assert len(calls) == 1
    x = wf.ones((1, 2)).detach()
    x.requires_grad = True
    with (
        net.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0])),
        pytest.raises(ArgumentError, match="as many"),
    ):
        net(x).sum().backward()
    with (
        net.register_full_backward_hook(lambda m, gi, go: (wf.ones(3),)),
        pytest.raises(ShapeError, match="in place of"),
    ):
        net(x).sum().backward()


def test_a_replaced_gradient_inside_a_compiled_step():
    net = nn.Linear(2, 1, bias=False)
    x = wf.ones((1, 2))

    @wf.compile
    def step():
        net.zero_grad()
        net(x).sum().backward()
        return net.weight.grad

    assert step().tolist() == [[1.0, 1.0]]
    net.register_full_backward_pre_hook(lambda m, go: (go[0] * 3.0,))
    assert step().tolist() == [[3.0, 3.0]]
    assert wf.grad(lambda v: net(v).sum())(x).tolist() == (net.weight.detach() * 3.0).tolist()
