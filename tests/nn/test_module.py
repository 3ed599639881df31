"""`Module`: attributes, walking, state, hooks, modes, looks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from weft import nn
from weft.arrays.creation import tensor
from weft.arrays.grad import no_grad
from weft.arrays.tensor import Tensor
from weft.base.errors import ArgumentError, DTypeError, StateError
from weft.base.state import version
from weft.ir.dtype import float32, float64, int64
from weft.nn.functional_call import functional_call


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, 2, bias=False)
        self.scale = nn.Parameter([2.0])
        self.label = "net"

    def forward(self, x):
        return self.second(nn.functional.relu(self.norm(self.first(x)))) * self.scale


NAMES = ["scale", "first.weight", "first.bias", "norm.weight", "norm.bias", "second.weight"]
BUFFERS = ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]


def test_names_are_those_of_the_attributes_in_order():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert [n for n, _ in net.named_buffers()] == BUFFERS
    assert [n for n, _ in net.named_children()] == ["first", "norm", "second"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "norm", "second"]
    assert [n for n, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert net.get_submodule("first") is net.first and net.get_parameter("first.bias") is net.first.bias
    assert set(net.state_dict()) == {*NAMES, *BUFFERS}


def test_shared_parts_come_once_but_are_saved_under_each_name():
    net = Net()
    net.again = net.first
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert "again.weight" in dict(net.named_parameters(remove_duplicate=False))
    assert "again.weight" in net.state_dict()


def test_an_attribute_keeps_its_role():
    net = Net()
    net.first = nn.Linear(3, 4)
    assert [n for n, _ in net.named_children()] == ["first", "norm", "second"]
    with pytest.raises(ArgumentError, match=r"wrap the tensor in nn\.Parameter"):
        net.scale = tensor([1.0])
    with pytest.raises(ArgumentError, match="is a module"):
        net.first = 3
    net.scale = None
    assert "scale" not in net.state_dict()
    net.scale = nn.Parameter([1.0])
    del net.scale
    assert not hasattr(net, "scale")
    net.scale = 3
    assert "scale" not in dict(net.named_parameters())


def test_parts_before_init_are_refused():
    class Bad(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    class Forgot(nn.Module):
        def __init__(self) -> None:
            pass

    with pytest.raises(StateError, match=r"super\(\).__init__\(\)"):
        Bad()
    with pytest.raises(StateError, match=r"super\(\).__init__\(\)"):
        Forgot()(1)


@pytest.mark.parametrize("name", ["a.b", "", 3, "forward", "label"])
def test_bad_names_are_refused(name):
    with pytest.raises(ArgumentError):
        Net().register_buffer(name, tensor([1.0]))


def test_buffers_may_be_left_out_of_the_state():
    net = Net()
    net.register_buffer("cache", tensor([1.0]), persistent=False)
    assert "cache" in dict(net.named_buffers()) and "cache" not in net.state_dict()
    net.cache = tensor([2.0, 3.0])
    assert net.cache.shape == (2,) and "cache" not in net.state_dict()


# -- state ------------------------------------------------------------------------------------------------------


def _values(net: nn.Module) -> dict[str, np.ndarray]:
    return {n: v.numpy().copy() for n, v in net.state_dict().items()}


def test_state_travels_from_one_module_to_another():
    a, b, x = Net(), Net(), tensor(np.random.default_rng(0).standard_normal((4, 3)), dtype=float32)
    a(x)
    report = b.load_state_dict(a.state_dict())
    assert report == ([], [])
    a.eval(), b.eval()
    np.testing.assert_array_equal(a(x).numpy(), b(x).numpy())
    for n, v in _values(a).items():
        np.testing.assert_array_equal(v, _values(b)[n])


def test_a_state_dict_is_a_picture_of_now():
    net = Net()
    saved = net.state_dict()
    before = saved["scale"].numpy().copy()
    nn.init.constant_(net.scale, 7.0)
    assert saved["scale"].numpy() == before and net.scale.item() == 7.0


def test_what_does_not_fit_is_one_report_and_changes_nothing():
    net = Net()
    before = _values(net)
    state = net.state_dict()
    del state["first.bias"]
    state["extra"] = state["scale"]
    state["second.weight"] = tensor(np.zeros((2, 5)))
    state["scale"] = tensor([99.0])
    with pytest.raises(StateError) as e:
        net.load_state_dict(state)
    for words in ("first.bias", "extra", "second.weight", "(2, 4)", "(2, 5)"):
        assert words in str(e.value)
    for n, v in _values(net).items():
        np.testing.assert_array_equal(v, before[n])
    with pytest.raises(StateError, match=r"second\.weight"):
        net.load_state_dict(state, strict=False)


def test_loading_in_part_reports_the_rest():
    net = Net()
    report = net.load_state_dict({"scale": np.array([5.0]), "extra": np.zeros(3)}, strict=False)
    assert net.scale.item() == 5.0 and net.scale.dtype is float32
    assert "extra" in report.unexpected_keys and "first.weight" in report.missing_keys
    with pytest.raises(StateError, match="not a tensor"):
        net.load_state_dict({"scale": "five"}, strict=False)


def test_loading_keeps_parameters_learnable():
    net = Net()
    net.load_state_dict(Net().state_dict())
    net(tensor(np.ones((2, 3), np.float32) * [[1], [2]], dtype=float32)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_copies_are_independent_and_keep_sharing_inside():
    net = Net()
    net.again = net.first
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.again is other.first and other.first is not net.first
        assert isinstance(other.scale, nn.Parameter) and other.scale.requires_grad
        for n, v in _values(net).items():
            np.testing.assert_array_equal(v, _values(other)[n])
        nn.init.zeros_(other.scale)
        assert net.scale.item() == 2.0


# -- modes, hooks, dtypes ---------------------------------------------------------------------------------------


def test_modes_reach_every_module_and_move_the_version():
    net = Net()
    before = version.value
    net.eval()
    assert version.value > before and not any(m.training for m in net.modules())
    before = version.value
    net.eval()
    assert version.value == before
    net.train()
    assert all(m.training for m in net.modules())
    with pytest.raises(ArgumentError):
        net.train("yes")  # type: ignore[arg-type]


def test_assumptions_change_with_what_a_program_may_have_read():
    net = Net()
    first = net._assumptions()
    assert first == net._assumptions()
    changes = [
        lambda: net.eval(),
        lambda: setattr(net, "label", "other"),
        lambda: setattr(net, "scale", nn.Parameter([2.0])),
        lambda: setattr(net, "second", nn.Linear(4, 2)),
        lambda: setattr(net, "width", 3),
        lambda: net.register_forward_hook(lambda *a: None),
    ]
    for change in changes:
        before, count = net._assumptions(), version.value
        change()
        assert net._assumptions() != before and version.value > count
    before, count = net._assumptions(), version.value
    net.label = "other"
    assert net._assumptions() == before and version.value == count


def test_hooks_run_in_order_and_may_replace():
    layer = nn.Identity()
    seen = []
    layer.register_forward_pre_hook(lambda m, args: seen.append("pre"))
    double = layer.register_forward_pre_hook(lambda m, args: args[0] * 2)
    layer.register_forward_hook(lambda m, args, out: seen.append(float(args[0].item())))
    layer.register_forward_hook(lambda m, args, kwargs, out: out + 1, with_kwargs=True)
    assert layer(tensor(3.0)).item() == 7.0 and seen == ["pre", 6.0]
    double.remove()
    double.remove()
    assert layer(tensor(3.0)).item() == 4.0


def test_freezing_and_applying():
    net = Net()
    net.first.requires_grad_(False)
    assert [n for n, p in net.named_parameters() if not p.requires_grad] == ["first.weight", "first.bias"]
    seen: list[nn.Module] = []
    assert net.apply(seen.append) is net
    assert seen == [net.first, net.norm, net.second, net]


def test_to_changes_floating_tensors_in_place():
    net = Net()
    weight = net.first.weight
    net.double()
    assert net.first.weight is weight and weight.dtype is float64 and weight.requires_grad
    assert net.norm.running_mean.dtype is float64 and net.norm.num_batches_tracked.dtype is int64
    assert net.to("cpu").to(device="cpu", dtype=float32).first.weight.dtype is float32
    assert net.bfloat16().scale.dtype.name == "bfloat16"
    with pytest.raises(ArgumentError, match="Devices available: cpu"):
        net.to("cuda")
    with pytest.raises(DTypeError):
        net.to("int32")


def test_a_module_prints_as_a_tree():
    assert repr(nn.Sequential(nn.Linear(3, 4), nn.ReLU())) == (
        "Sequential(\n  (0): Linear(in_features=3, out_features=4, bias=True)\n  (1): ReLU()\n)"
    )


def test_summary_counts_and_computes_nothing():
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Sequential(nn.LazyLinear(2)))
    net[0].bias.requires_grad = False
    table = net.summary((6,))
    assert table.parameters == 28 + 10 and table.trainable == 24 + 10
    text = str(table)
    assert "(batch, 4)" in text and "(batch, 2)" in text and "4 frozen" in text
    assert net.training and net[0]._hooks.after == {}
    with pytest.raises(ArgumentError, match="summary needs the shape"):
        net.summary()


def test_summary_of_integers_and_of_several_inputs():
    words = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3)).summary((7,), dtype="int64")
    assert "(batch, 7, 3)" in str(words) and words.parameters == 55
    pair = nn.Bilinear(2, 3, 4).summary((2,), (3,))
    assert "(batch, 4)" in str(pair) and pair.bytes == 4 * (24 + 4)
    heads = nn.MultiheadAttention(4, 2, batch_first=True).summary((3, 4), (3, 4), (3, 4))
    assert heads.parameters == 80 and "(batch, 3, 4)" in str(heads)


def test_an_error_inside_a_layer_names_the_layer():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"Linear\(in_features=5, out_features=2") as e:
        net(tensor(np.zeros((2, 3), np.float32)))
    assert any("layer '1'" in note for note in e.value.__notes__)


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="does not define forward"):
        nn.Module()(1)


# -- parameters -------------------------------------------------------------------------------------------------


def test_operations_on_parameters_give_plain_tensors():
    p = nn.Parameter([1.0, 2.0])
    assert type(p + p) is Tensor and type(p * 2) is Tensor and type(-p) is Tensor
    assert not nn.Parameter(p, requires_grad=False).requires_grad


def test_a_parameter_is_cut_off_from_what_it_was_made_of():
    x = tensor([1.0], requires_grad=True)
    p = nn.Parameter(x * 2)
    (p * 3).sum().backward()
    assert x.grad is None and p.grad.item() == 3.0


# -- lazy layers ------------------------------------------------------------------------------------------------


def test_a_lazy_layer_becomes_an_ordinary_one():
    net = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    for use in (net.state_dict, lambda: [p.shape for p in net.parameters()]):
        with pytest.raises(StateError, match="has no shape yet"):
            use()
    copied = copy.deepcopy(net)
    out = net(tensor(np.ones((5, 3), np.float32)))
    assert out.shape == (5, 2) and type(net[0]) is nn.Linear and net[0].weight.shape == (4, 3)
    copied.load_state_dict(net.state_dict())
    assert type(copied[2]) is nn.Linear
    np.testing.assert_array_equal(copied(tensor(np.ones((5, 3), np.float32))).numpy(), out.numpy())


def test_a_lazy_layer_is_born_in_the_dtype_it_was_given_before():
    net = nn.Sequential(nn.LazyConv1d(2, 1), nn.LazyLinear(4)).double()
    net.zero_grad()
    assert net(tensor(np.ones((5, 2, 3)))).dtype is float64
    assert net[1].weight.dtype is float64 and net.float()[1].weight.dtype is float32


def test_a_lazy_layer_cannot_be_optimised_before_it_is_born():
    from weft import optim

    with pytest.raises(StateError, match="before its state is used, saved or optimised"):
        optim.SGD(nn.LazyLinear(3).parameters(), lr=0.1)


# -- functional_call --------------------------------------------------------------------------------------------


def test_functional_call_uses_what_it_is_given_and_restores():
    net = Net()
    x = tensor(np.random.default_rng(0).standard_normal((4, 3)), dtype=float32)
    before = _values(net)
    params = {n: p.detach() * 0 + 1 for n, p in net.named_parameters()}
    out, buffers = functional_call(net, params, {}, x, return_buffers=True)
    assert set(buffers) == set(BUFFERS) and buffers["norm.num_batches_tracked"].item() == 1
    for n, v in _values(net).items():
        np.testing.assert_array_equal(v, before[n])
    other = Net()
    other.load_state_dict({**net.state_dict(), **params})
    np.testing.assert_array_equal(out.numpy(), other(x).numpy())
    with pytest.raises(ArgumentError, match="Did you mean 'scale'"):
        functional_call(net, {"scal": params["scale"]}, {}, x)
    with pytest.raises(ValueError, match="shape"):
        functional_call(net, {"scale": tensor([1.0, 2.0])}, {}, x)


def test_functional_call_restores_after_an_error():
    net = Net()
    cell = net.scale._cell
    with pytest.raises(ValueError, match="Linear"):
        functional_call(net, {"scale": tensor([3.0])}, {}, tensor(np.zeros((2, 9), np.float32)))
    assert net.scale._cell is cell


def test_functional_call_is_differentiable_and_nests():
    from weft.arrays.grad import grad

    net = nn.Linear(2, 1)
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    params = {n: p.detach() for n, p in net.named_parameters()}

    def loss(p):
        inner = functional_call(net, {"weight": p["weight"] * 2}, {}, x)
        return (functional_call(net, p, {}, x) * inner).sum()

    found = grad(loss)(params)
    with no_grad():
        w, b = net.weight.numpy(), net.bias.numpy()
    a = x.numpy() @ w.T + b
    inner = 2 * x.numpy() @ w.T + b
    np.testing.assert_allclose(found["weight"].numpy(), (inner + 2 * a).T @ x.numpy(), rtol=1e-5)
    np.testing.assert_allclose(found["bias"].numpy(), inner.sum(0), rtol=1e-5)
