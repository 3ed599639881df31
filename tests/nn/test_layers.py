"""Every layer and loss against PyTorch's with the same parameters: values, gradients, state, 16 bits, vmap, compile."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import weft as wf
from composites import spread
from layer_cases import LAYERS, LAZY, Layer, leaves, weighted, weighting
from weft import nn

#: Containers stand in test_containers.py and test_module.py; SyncBatchNorm is batch norm in one process; CTCLoss, of
#: which PyTorch gives the gradient together with that of the softmax before it, is in ops/composite/test_ctc.py.
ELSEWHERE = {"Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "SyncBatchNorm",
             "CTCLoss"}  # fmt: skip


def test_every_layer_is_in_the_table():
    """A new layer needs a row: what follows then holds for it too."""
    public = {
        n for n in nn.__all__ if inspect.isclass(getattr(nn, n)) and issubclass(getattr(nn, n), nn.Module)
    }
    assert public - ELSEWHERE == {x.name for x in LAYERS} | {x[0] for x in LAZY}


@pytest.mark.parametrize(("name", "arguments", "shape"), LAZY, ids=[x[0] for x in LAZY])
def test_a_lazy_layer_becomes_the_ordinary_one(name, arguments, shape):
    lazy, x = getattr(nn, name)(*arguments).double(), wf.tensor(spread(*shape))
    with pytest.raises(wf.errors.StateError, match="has no shape yet"):
        dict(lazy.state_dict())
    y = lazy(x)
    assert type(lazy) is getattr(nn, name.removeprefix("Lazy")) and y.dtype is wf.float64
    other = getattr(nn, name)(*arguments).double()
    other.load_state_dict(lazy.eval().state_dict())
    np.testing.assert_array_equal(other.eval()(x).numpy(), lazy(x).numpy())
    assert type(other) is type(lazy)
    assert all(p.dtype is wf.float64 for p in lazy.parameters())


everything = pytest.mark.parametrize("layer", LAYERS, ids=[x.id for x in LAYERS])


@everything
def test_values_and_gradients_are_those_of_torch(layer: Layer):
    torch = pytest.importorskip("torch")
    theirs, ours = layer.theirs(), layer.ours()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    given = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in layer.inputs]
    inputs = layer.tensors()
    want, got = leaves(theirs(*given)), leaves(ours(*inputs))
    weighted(want, torch.tensor).backward()
    weighted(got, wf.tensor).backward()
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g.numpy(), w.detach().numpy(), rtol=layer.tol, atol=1e-10)
    named = dict(ours.named_parameters())
    for name, p in theirs.named_parameters():
        np.testing.assert_allclose(
            named[name].grad.numpy(), p.grad.numpy(), rtol=1e-8, atol=1e-9, err_msg=name
        )
    for i, (t, x) in enumerate(zip(given, inputs)):
        if t.grad is not None:
            np.testing.assert_allclose(
                x.grad.numpy(), t.grad.numpy(), rtol=10 * layer.tol, atol=layer.tol, err_msg=f"input {i}"
            )
    for (name, w), (other, b) in zip(theirs.named_buffers(), ours.named_buffers(), strict=True):
        assert name == other
        np.testing.assert_allclose(b.numpy(), w.numpy(), rtol=1e-12, err_msg=name)


@everything
def test_it_prints_as_in_torch(layer: Layer):
    pytest.importorskip("torch")
    if layer.name == "LinearCrossEntropyLoss":
        pytest.skip("there it has options for work in chunks")
    theirs = (
        repr(layer.theirs())
        .replace(", inplace=False", "")
        .replace("NonDynamicallyQuantizableLinear", "Linear")
    )
    assert repr(layer.ours()) == theirs


DRAWN = list({x.name: x for x in LAYERS if list(x.ours().parameters())}.values())


@pytest.mark.parametrize("layer", DRAWN, ids=[x.id for x in DRAWN])
def test_initial_parameters_are_distributed_as_in_torch(layer: Layer):
    torch, stats = pytest.importorskip("torch"), pytest.importorskip("scipy.stats")
    wf.manual_seed(0)
    torch.manual_seed(0)
    ours = [dict(layer.ours().named_parameters()) for _ in range(20)]
    theirs = [dict(layer.theirs().named_parameters()) for _ in range(20)]
    assert list(ours[0]) == list(theirs[0])
    for name in theirs[0]:
        mine = np.concatenate([o[name].numpy().ravel() for o in ours])
        other = np.concatenate([t[name].detach().numpy().ravel() for t in theirs])
        if other.std() == 0:
            np.testing.assert_array_equal(mine, other)
        else:
            assert abs(mine.std() / other.std() - 1) < 0.25 and abs(mine.mean()) < 0.3 * other.std()
            assert abs(abs(mine).max() / abs(other).max() - 1) < 0.35
            if min(len(mine), len(other)) >= 80:  # the whole distribution, not its width alone
                assert stats.ks_2samp(mine, other).pvalue > 1e-3, name


PLACED = [
    x for x in DRAWN if x.name not in ("TransformerEncoder", "TransformerDecoder")
]  # these copy a layer


@pytest.mark.parametrize("layer", PLACED, ids=[x.id for x in PLACED])
def test_device_and_dtype_are_chosen_as_in_torch(layer: Layer):
    arguments, keywords = layer.given(wf.tensor, nn)
    net = getattr(nn, layer.name)(*arguments, **keywords, device="cpu", dtype=wf.float64)
    assert {p.dtype for p in net.parameters()} == {wf.float64}
    with pytest.raises(wf.errors.ArgumentError, match="there is no device 'cuda'"):
        getattr(nn, layer.name)(*arguments, **keywords, device="cuda")


@pytest.mark.parametrize(("name", "arguments", "shape"), LAZY, ids=[x[0] for x in LAZY])
def test_a_lazy_layer_remembers_device_and_dtype(name, arguments, shape):
    options = {"device": "cpu", "dtype": wf.float64} | ({"affine": True} if "Norm" in name else {})
    lazy = getattr(nn, name)(*arguments, **options)
    lazy(wf.tensor(spread(*shape)))
    assert {p.dtype for p in lazy.parameters()} == {wf.float64}
    with pytest.raises(wf.errors.ArgumentError, match="there is no device 'cuda'"):
        getattr(nn, name)(*arguments, device="cuda")


@everything
def test_sixteen_bits(layer: Layer):
    ours = layer.ours().bfloat16()
    cast = [wf.tensor(a).astype(wf.bfloat16) if a.dtype.kind == "f" else wf.tensor(a) for a in layer.inputs]
    for out in leaves(ours(*cast)):
        if out.dtype.kind == "i":
            continue  # positions
        assert out.dtype is wf.bfloat16 and np.isfinite(out.astype("float32").numpy()).all()


@pytest.mark.parametrize("layer", [x for x in LAYERS if x.batch], ids=[x.id for x in LAYERS if x.batch])
def test_one_sample_at_a_time_under_vmap(layer: Layer):
    if layer.name in ("Flatten", "Unflatten", "Bilinear"):
        pytest.skip("a single sample has other axes")
    ours = layer.ours()
    inputs = [wf.tensor(a) for a in layer.inputs]
    one = wf.vmap(lambda *xs: leaves(ours(*[x[None] for x in xs]))[0][0])(*inputs)
    np.testing.assert_allclose(one.numpy(), leaves(ours(*inputs))[0].numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("layer", [x for x in LAYERS if x.empty], ids=[x.id for x in LAYERS if x.empty])
def test_an_empty_batch(layer: Layer):
    ours = layer.ours()
    full = leaves(ours(*[wf.tensor(a) for a in layer.inputs]))
    empty = leaves(ours(*[wf.tensor(a[:0]) for a in layer.inputs]))
    for e, f in zip(empty, full):
        assert e.numpy().size == 0 and e.ndim == f.ndim


@everything
def test_compiled_and_not_agree(layer: Layer):
    plain = layer.ours()
    compiled = layer.ours()
    compiled.load_state_dict(plain.state_dict())
    inputs = [wf.tensor(a) for a in layer.inputs]

    @wf.compile
    def run(*xs):
        return compiled(*xs)

    for _ in range(2):
        for a, b in zip(leaves(plain(*inputs)), leaves(run(*inputs)), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    for a, b in zip(plain.buffers(), compiled.buffers(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def _open(layer: Layer) -> bool:
    """Whether the layer's inputs have a batch axis, that may be left open."""
    return "one" not in layer.label


def _batch_axis(layer: Layer, position: int) -> int:
    steps_first = ("RNN", "LSTM", "GRU", "MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer",
                   "Transformer")  # fmt: skip
    batch_first = (layer.keywords or {}).get("batch_first", False)
    state = layer.name in steps_first[:3] and position > 0
    return 1 if state or (layer.name in steps_first and not batch_first) else 0


@pytest.mark.parametrize("layer", [x for x in LAYERS if _open(x)], ids=[x.id for x in LAYERS if _open(x)])
def test_one_program_serves_every_batch_size(layer: Layer):
    with wf.no_grad():
        net = layer.ours()
        plain = layer.ours()
        plain.load_state_dict(net.state_dict())
        batch, shapes = wf.Dim("batch"), []
        for i, a in enumerate(layer.inputs):
            axis = _batch_axis(layer, i)
            shapes.append(wf.spec((*a.shape[:axis], batch, *a.shape[axis + 1 :]), a.dtype))
        program = wf.compile(lambda *xs: net(*xs)).trace(*shapes)
        for repeat in (1, 2):
            arrays = [np.concatenate([a] * repeat, _batch_axis(layer, i)) for i, a in enumerate(layer.inputs)]
            inputs = [wf.tensor(a) for a in arrays]
            got = program.run([x._node.value for x in inputs])
            for g, w in zip(leaves(got), leaves(plain(*inputs)), strict=True):
                np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-9, atol=1e-12)
    for a, b in zip(plain.buffers(), net.buffers(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9)


TIMES, BATCHES = wf.Dim("time"), wf.Dim("batch")
SEQUENCE_LAYERS = [
    ("LSTM", (3, 4, 2), {"bidirectional": True, "batch_first": True}, (BATCHES, TIMES, 3)),
    ("GRU", (3, 4), {}, (TIMES, BATCHES, 3)),
    ("TransformerEncoderLayer", (4, 2, 8, 0.0), {"batch_first": True}, (BATCHES, TIMES, 4)),
    ("Conv1d", (3, 4, 3), {"padding": 1}, (BATCHES, 3, TIMES)),
    ("AdaptiveAvgPool1d", (1,), {}, (BATCHES, 3, TIMES)),
    ("BatchNorm1d", (3,), {}, (BATCHES, 3, TIMES)),
    ("GroupNorm", (1, 3), {}, (BATCHES, 3, TIMES)),
    ("Flatten", (), {}, (BATCHES, 3, TIMES)),
    ("ZeroPad1d", (1,), {}, (BATCHES, 3, TIMES)),
    ("Softmax", (-1,), {}, (BATCHES, TIMES)),
]


@pytest.mark.parametrize(
    ("name", "arguments", "keywords", "shape"), SEQUENCE_LAYERS, ids=[x[0] for x in SEQUENCE_LAYERS]
)
def test_one_program_serves_every_length(name, arguments, keywords, shape):
    net = getattr(nn, name)(*arguments, **keywords).eval()
    with wf.no_grad():
        program = wf.compile(lambda x: net(x)).trace(wf.spec(shape))
        for length in (2, 5):
            sizes = [length if s is TIMES else 3 if s is BATCHES else s for s in shape]
            x = wf.tensor(spread(*sizes).astype(np.float32))
            for g, w in zip(leaves(program.run([x._node.value])), leaves(net(x)), strict=True):
                np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-5, atol=1e-6)


#: PyTorch has no second derivative of these.
ONCE = ("EmbeddingBag", "Hardsigmoid", "MultiMarginLoss", "MultiLabelMarginLoss")
#: The second derivative of gradients scaled by frequency leaves the scale out there.
TWICE = [x for x in LAYERS if x.name not in ONCE and x.label != "frequency"]


@pytest.mark.parametrize("layer", TWICE, ids=[x.id for x in TWICE])
def test_a_penalty_on_gradients_is_differentiated_as_in_torch(layer: Layer):
    torch = pytest.importorskip("torch")
    theirs, ours = layer.theirs(), layer.ours()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    given = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in layer.inputs]
    inputs = layer.tensors()
    with torch.nn.attention.sdpa_kernel(
        torch.nn.attention.SDPBackend.MATH
    ):  # others have no second derivative
        want = weighted([o.tanh() for o in leaves(theirs(*given))], torch.tensor)
    moving = list(theirs.parameters()) + [t for t in given if t.requires_grad]
    first = torch.autograd.grad(want, moving, create_graph=True, allow_unused=True)
    sum((g * g).sum() for g in first if g is not None).backward()
    moved = [*ours.parameters(), *[x for x in inputs if x.requires_grad]]
    weighted([wf.tanh(o) for o in leaves(ours(*inputs))], wf.tensor).backward(create_graph=True)
    grads = [x.grad for x in moved]
    for x in moved:
        x.grad = None
    sum((g * g).sum() for g in grads if g is not None).backward()
    for t, x in zip(moving, moved, strict=True):
        if t.grad is None:
            assert x.grad is None or not x.grad.numpy().any()
        else:
            np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-7, atol=1e-8)


@everything
def test_forward_mode_gives_the_derivatives_of_reverse_mode(layer: Layer):
    """<w, J t> = <J^T w, t> for a direction t of all parameters and floating inputs, and weights w of the results."""
    net, rng = layer.ours(), np.random.default_rng(4)
    given = {i: wf.tensor(a) for i, a in enumerate(layer.inputs) if a.dtype.kind == "f"}
    point = (dict(net.named_parameters()), given)

    def call(params, moving):
        found = nn.functional_call(net, params, {}, *[moving.get(i, a) for i, a in enumerate(layer.inputs)])
        return [o for o in leaves(found) if o.dtype.kind == "f"]

    away = wf.pytree.tree_map(lambda p: wf.tensor(rng.standard_normal(p.shape)), point)
    outs, moved = wf.jvp(call, point, away)
    weights = [wf.tensor(w) for w in weighting(outs)]
    _, pull = wf.vjp(call, *point)
    forward = sum((m * w).sum().item() for m, w in zip(moved, weights, strict=True))
    pairs = zip(wf.pytree.flatten(pull(weights))[0], wf.pytree.flatten(away)[0], strict=True)
    assert forward == pytest.approx(sum((g * t).sum().item() for g, t in pairs), rel=1e-9, abs=1e-12)


@everything
def test_arrays_are_taken_and_other_things_refused(layer: Layer):
    net, other = layer.ours(), layer.ours()
    other.load_state_dict(net.state_dict())
    for a, b in zip(leaves(net(*layer.inputs)), leaves(other(*map(wf.tensor, layer.inputs))), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    if layer.name != "Identity":
        for wrong in ("text", None, [1.0]):
            with pytest.raises(wf.errors.DTypeError, match="takes a tensor, got"):
                net(*[wrong] * len(layer.inputs))


@everything
def test_the_compiled_backend_computes_what_the_reference_does(layer: Layer):
    net = layer.ours()

    def compute():
        net.zero_grad()
        inputs = layer.tensors()
        outs = leaves(net(*inputs))
        weighted(outs, wf.tensor).backward()
        found = [*outs, *[p.grad for p in net.parameters()], *[x.grad for x in inputs if x.grad is not None]]
        return [x.numpy() for x in found]

    with wf.config(backend="reference"):
        want = compute()
    with wf.config(backend="cpu"):
        got = compute()
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-13)


STATEFUL = [x for x in LAYERS if x.ours().state_dict()]


@pytest.mark.parametrize("layer", STATEFUL, ids=[x.id for x in STATEFUL])
def test_a_layer_comes_back_from_a_file(layer: Layer, tmp_path):
    net, again = layer.ours(), layer.ours()
    wf.save(net, tmp_path / "layer.safetensors")
    again.load_state_dict(wf.load(tmp_path / "layer.safetensors"))
    for a, b in zip(leaves(net(*layer.inputs)), leaves(again(*layer.inputs)), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@everything
def test_computed_at_once_or_later_is_the_same(layer: Layer):
    later, at_once = layer.ours(), layer.ours()
    at_once.load_state_dict(later.state_dict())
    results = []
    for net, options in ((later, {}), (at_once, {"eager": True, "debug_nan": True})):
        inputs = layer.tensors()
        with wf.config(**options):
            outs = leaves(net(*inputs))
            weighted(outs, wf.tensor).backward()
            results.append([x.numpy() for x in [*outs, *[p.grad for p in net.parameters()], *net.buffers()]])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
