"""Every layer and loss against PyTorch's with the same parameters: values, gradients, state, 16 bits, vmap, compile."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import weft as wf
from composites import integers, spread
from weft import nn


@dataclass
class Layer:
    """A layer by its class name and arguments, which are the same in both libraries, and what it is called with."""

    name: str
    arguments: tuple[Any, ...]
    inputs: tuple[np.ndarray, ...]
    keywords: dict[str, Any] | None = None
    train: bool = True
    batch: bool = True  # whether the first axis counts samples that do not see each other
    empty: bool = True
    label: str = ""
    tol: float = 1e-9

    @property
    def id(self) -> str:
        return self.name + (f"-{self.label}" if self.label else "")

    def make(self) -> nn.Module:
        return getattr(nn, self.name)(*self.arguments, **(self.keywords or {})).double().train(self.train)

    def theirs(self) -> Any:
        import torch

        arguments = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in self.arguments]
        keywords = {
            k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in (self.keywords or {}).items()
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's transformer speaks of its fast path
            return getattr(torch.nn, self.name)(*arguments, **keywords).double().train(self.train)


X, IMAGES, SEQUENCES, VOLUMES = spread(4, 6), spread(2, 3, 7, 8), spread(2, 3, 9), spread(2, 3, 4, 5, 4)
Y, P = spread(4, 6, seed=1) * 0.9 + 0.05, spread(4, 6, low=0.05, high=0.95, seed=2)
CLASSES = integers(4, high=6)
LISTS = np.array([[3, 0, -1, 1, 2, 0], [-1] * 6, [5, -1, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5]])
FRACTIONS = np.random.default_rng(0).uniform(size=(2, 3, 3))
SIGNS = np.where(spread(4, 6, seed=7) > 0, 1, -1)
IDS = integers(2, 5, high=7)


def unpooled(rank: int) -> tuple[np.ndarray, np.ndarray]:
    """What `MaxUnpool` takes: values, and for each of them a position among 2**rank times as many."""
    rng = np.random.default_rng(0)
    shape = (2, 3, *[2, 3, 2][:rank])
    cells = int(np.prod(shape[2:])) * 2**rank
    at = [rng.permutation(cells)[: int(np.prod(shape[2:]))] for _ in range(6)]
    return spread(*shape), np.stack(at).reshape(shape)


STEPS, H0, C0 = spread(5, 2, 3), spread(4, 2, 4, seed=1), spread(4, 2, 4, seed=2)
TOKENS, MEMORY = spread(5, 2, 6), spread(4, 2, 6, seed=1)

RECURRENT = [
    *[Layer(name, (3, 4), (STEPS,), batch=False, empty=False) for name in ("RNN", "LSTM", "GRU")],
    *[
        Layer(
            name, (3, 4, 2), (STEPS, *states), {"bidirectional": True}, batch=False, empty=False, label="deep"
        )
        for name, states in (("RNN", (H0,)), ("GRU", (H0,)))
    ],
    Layer(
        "RNN",
        (3, 4),
        (STEPS,),
        {"nonlinearity": "relu", "bias": False},
        batch=False,
        empty=False,
        label="relu",
    ),
    Layer(
        "LSTM",
        (3, 4, 2),
        (STEPS,),
        {"bidirectional": True, "batch_first": True, "dropout": 0.0},
        label="deep",
    ),
    Layer("LSTM", (3, 4, 2), (STEPS,), {"batch_first": True, "dropout": 0.5}, train=False, label="eval"),
    Layer(
        "LSTM",
        (3, 4, 2),
        (STEPS,),
        {"bidirectional": True, "proj_size": 3},
        batch=False,
        empty=False,
        label="projected",
    ),
    Layer("GRU", (3, 4), (STEPS[:, 0],), batch=False, empty=False, label="one sequence"),
    *[Layer(name, (3, 4), (STEPS[0], H0[0])) for name in ("RNNCell", "GRUCell")],
    Layer("LSTMCell", (3, 4), (STEPS[0],)),
    Layer("LSTMCell", (3, 4), (STEPS[0, 0],), {"bias": False}, batch=False, empty=False, label="one"),
]
ATTENTION = [
    Layer("MultiheadAttention", (6, 3), (TOKENS, MEMORY, MEMORY), batch=False, empty=False),
    Layer(
        "MultiheadAttention",
        (6, 2),
        (TOKENS, MEMORY[..., :4].copy(), MEMORY[..., :5].copy()),
        {"kdim": 4, "vdim": 5, "bias": False},
        batch=False,
        empty=False,
        label="widths",
    ),
    Layer("MultiheadAttention", (6, 2), (TOKENS, TOKENS, TOKENS), {"batch_first": True}, label="batch first"),
    Layer(
        "MultiheadAttention",
        (6, 2),
        (TOKENS, TOKENS, TOKENS),
        {"batch_first": True, "add_bias_kv": True, "add_zero_attn": True},
        label="more keys",
    ),
    Layer(
        "MultiheadAttention",
        (6, 2),
        (TOKENS[:, 0], MEMORY[:, 0], MEMORY[:, 0]),
        batch=False,
        empty=False,
        label="one",
    ),
    Layer("TransformerEncoderLayer", (6, 2, 8, 0.0), (TOKENS,), batch=False, empty=False),
    Layer(
        "TransformerEncoderLayer",
        (6, 2, 8),
        (TOKENS,),
        {"activation": "gelu", "norm_first": True, "batch_first": True},
        train=False,
        label="norm first",
    ),
    Layer("TransformerDecoderLayer", (6, 2, 8, 0.0), (TOKENS, MEMORY), batch=False, empty=False),
    Layer(
        "TransformerDecoderLayer",
        (6, 3, 8, 0.0),
        (TOKENS, TOKENS),
        {"activation": "gelu", "norm_first": True, "batch_first": True, "bias": False},
        label="norm first",
    ),
    Layer("Transformer", (6, 2, 1, 2, 8, 0.0), (MEMORY, TOKENS), batch=False, empty=False),
]

LAYERS = [
    Layer("Identity", (), (X,)),
    Layer("Linear", (6, 3), (X,)),
    Layer("Linear", (6, 3), (X,), {"bias": False}, label="no bias"),
    Layer("Bilinear", (6, 6, 3), (X, Y)),
    Layer("Flatten", (), (IMAGES,)),
    Layer("Flatten", (2, 3), (IMAGES,), label="axes"),
    Layer("Unflatten", (1, (2, 3)), (X,)),
    Layer("Embedding", (7, 4), (IDS,)),
    Layer("Embedding", (7, 4), (IDS,), {"padding_idx": 2}, label="padding"),
    Layer("Embedding", (7, 4, None, 1.5), (IDS,), label="short", batch=False),
    Layer("Embedding", (7, 4), (IDS,), {"scale_grad_by_freq": True, "padding_idx": 2}, label="frequency", batch=False),
    Layer("EmbeddingBag", (7, 4, 1.2, 1.0), (IDS,), batch=False, label="short"),
    *[Layer("EmbeddingBag", (7, 4), (IDS,), {"mode": mode}, label=mode) for mode in ("sum", "mean", "max")],
    Layer("EmbeddingBag", (7, 4), (IDS.ravel(), np.array([0, 3, 3])), {"padding_idx": 2}, batch=False, empty=False,
          label="one list"),
    Layer("Conv1d", (3, 4, 3), (SEQUENCES,), {"padding": "same"}),
    Layer("Conv2d", (3, 4, 3), (IMAGES,)),
    Layer("Conv2d", (3, 6, (3, 2), (2, 1)), (IMAGES,), {"padding": (1, 0), "groups": 3, "bias": False}, label="all"),
    Layer("Conv2d", (3, 4, 4), (IMAGES,), {"padding": "same", "dilation": 2}, label="same"),
    Layer("Conv2d", (3, 4, 3), (IMAGES[0],), batch=False, empty=False, label="one image"),
    Layer("Conv3d", (3, 2, 2), (spread(2, 3, 3, 4, 3),)),
    *[
        Layer("Conv2d", (3, 4, (3, 2)), (IMAGES,), {"padding": (2, 1), "padding_mode": mode, "stride": 2}, label=mode)
        for mode in ("reflect", "replicate", "circular")
    ],
    Layer("Conv1d", (3, 4, 4), (SEQUENCES,), {"padding": "same", "padding_mode": "circular"}, label="circular same"),
    *[Layer(name + "Pad1d", ((2, 1),), (SEQUENCES,)) for name in ("Zero", "Reflection", "Replication", "Circular")],
    *[Layer(name + "Pad2d", ((1, 2, 3, 0),), (IMAGES,)) for name in ("Zero", "Reflection", "Replication", "Circular")],
    *[Layer(name + "Pad3d", (1,), (VOLUMES,)) for name in ("Zero", "Reflection", "Replication", "Circular")],
    Layer("ConstantPad1d", (2, 0.5), (SEQUENCES,)),
    Layer("ConstantPad3d", ((0, 1, 2, 0, -1, 1), 0.5), (VOLUMES,)),
    Layer("ConstantPad2d", ((1, -1, 0, 2), 0.5), (IMAGES,)),
    Layer("ConvTranspose1d", (3, 4, 3), (SEQUENCES,), {"stride": 2, "padding": 1, "output_padding": 1}),
    Layer("ConvTranspose2d", (3, 6, 3), (IMAGES,), {"stride": 2, "groups": 3}),
    Layer("ConvTranspose3d", (3, 2, 2, 2), (VOLUMES,)),
    Layer("MaxPool1d", (2,), (SEQUENCES,)),
    Layer("MaxPool2d", (3, 2, 1), (IMAGES,), {"return_indices": True}, label="indices"),
    Layer("MaxPool3d", (2,), (VOLUMES,)),
    Layer("AvgPool3d", (2, 1), (VOLUMES,)),
    *[Layer(f"LPPool{rank}d", (2, 3, 2, True), (x,)) for rank, x in ((1, SEQUENCES), (2, IMAGES), (3, VOLUMES))],
    *[Layer(f"MaxUnpool{rank}d", (2,), unpooled(rank)) for rank in (1, 2, 3)],
    Layer("AdaptiveAvgPool3d", ((2, None, 2),), (VOLUMES,)),
    Layer("AdaptiveMaxPool2d", ((3, 4), True), (IMAGES,), label="indices"),
    Layer("AdaptiveMaxPool3d", (2,), (VOLUMES,)),
    Layer("MaxPool2d", (3, 2, 1), (IMAGES,), {"ceil_mode": True}),
    Layer("AvgPool1d", (2,), (SEQUENCES,)),
    Layer("AvgPool2d", (3, 2, 1), (IMAGES,), {"count_include_pad": False}),
    Layer("AdaptiveAvgPool1d", (4,), (SEQUENCES,)),
    Layer("AdaptiveAvgPool2d", ((3, None),), (IMAGES,)),
    Layer("AdaptiveMaxPool1d", (4,), (SEQUENCES,)),
    Layer("AdaptiveMaxPool2d", (1,), (IMAGES,)),
    Layer("FractionalMaxPool2d", (2, (3, 5)), (IMAGES,), {"_random_samples": FRACTIONS[..., :2]}, batch=False,
          empty=False, label="one batch"),
    Layer("FractionalMaxPool3d", ((2, 1, 2),), (VOLUMES,),
          {"output_ratio": 0.6, "return_indices": True, "_random_samples": FRACTIONS}, batch=False, empty=False,
          label="one batch"),
    Layer("BatchNorm1d", (6,), (X,), batch=False, empty=False),
    Layer("BatchNorm1d", (3,), (SEQUENCES,), {"momentum": None}, batch=False, empty=False, label="average"),
    Layer("BatchNorm2d", (3,), (IMAGES,), batch=False, empty=False),
    Layer("BatchNorm2d", (3,), (IMAGES,), train=False, label="eval"),
    Layer("BatchNorm2d", (3,), (IMAGES,), {"affine": False, "track_running_stats": False}, batch=False, empty=False,
          label="plain"),
    *[Layer(f"InstanceNorm{rank}d", (3,), (x,)) for rank, x in ((1, SEQUENCES), (2, IMAGES), (3, VOLUMES))],
    Layer("InstanceNorm2d", (3,), (IMAGES,), {"affine": True, "track_running_stats": True}, batch=False, empty=False,
          label="running"),
    Layer("InstanceNorm1d", (3,), (SEQUENCES,), {"track_running_stats": True}, train=False, label="eval"),
    Layer("InstanceNorm1d", (3,), (SEQUENCES[0],), batch=False, empty=False, label="one"),
    Layer("LocalResponseNorm", (2, 0.5), (IMAGES,)),
    Layer("Upsample", (5,), (SEQUENCES,)),
    Layer("Upsample", (), (IMAGES,), {"scale_factor": 2}, label="nearest"),
    Layer("Upsample", (), (IMAGES,), {"scale_factor": (1.5, 2.3), "mode": "bilinear"}, label="bilinear"),
    Layer("Upsample", ((9, 5),), (IMAGES,), {"mode": "bicubic", "align_corners": True}, label="bicubic"),
    Layer("Upsample", ((9, 5, 3),), (VOLUMES,), {"mode": "trilinear"}, label="trilinear"),
    Layer("UpsamplingNearest2d", (5,), (IMAGES,)),
    Layer("UpsamplingBilinear2d", (5,), (IMAGES,)),
    Layer("PixelShuffle", (2,), (spread(2, 8, 2, 3),)),
    Layer("PixelUnshuffle", (2,), (spread(2, 2, 4, 6),)),
    Layer("ChannelShuffle", (3,), (IMAGES,)),
    Layer("Unfold", ((2, 3), 1, 1, 2), (IMAGES,)),
    Layer("Fold", ((4, 3), 2), (spread(2, 8, 6),)),
    Layer("LocalResponseNorm", (3, 0.5, 0.6, 2.0), (SEQUENCES,), label="odd"),
    Layer("LayerNorm", (6,), (X,)),
    Layer("LayerNorm", ((7, 8),), (IMAGES,), {"bias": False}, label="two axes"),
    Layer("RMSNorm", (6,), (X,)),
    Layer("GroupNorm", (2, 6), (spread(2, 6, 5),)),
    Layer("Dropout", (0.5,), (X,), train=False),
    Layer("Dropout", (0.0,), (X,), label="none"),
    *[Layer(name, (0.5,), (IMAGES,), train=False) for name in ("Dropout2d", "AlphaDropout", "FeatureAlphaDropout")],
    Layer("Dropout3d", (0.5,), (VOLUMES,), train=False),
    *[Layer(name, (), (X,)) for name in (
        "ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish", "Sigmoid", "LogSigmoid", "Tanh", "Softsign",
        "Tanhshrink", "GELU",
        "LeakyReLU", "ELU", "CELU", "Hardtanh", "Softplus", "Softshrink", "Hardshrink", "PReLU", "GLU",
    )],
    Layer("Hardsigmoid", (), (X,), tol=1e-7),  # PyTorch divides by 6 in single precision
    Layer("GELU", ("tanh",), (X,), label="tanh"),
    Layer("PReLU", (3,), (IMAGES,), label="channels"),
    Layer("Threshold", (0.5, 0.1), (X,)),
    *RECURRENT,
    *ATTENTION,
    *[Layer(name, (1,), (X,)) for name in ("Softmax", "Softmin", "LogSoftmax")],
    Layer("Softmax2d", (), (IMAGES,)),
    Layer("RReLU", (), (X,), train=False),
    *[Layer(name, (), (X, Y), batch=False, empty=False) for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")],
    Layer("CosineSimilarity", (), (X, Y)),
    Layer("PairwiseDistance", (), (X, Y), {"keepdim": True}),
    Layer("SoftMarginLoss", (), (X, SIGNS), batch=False, empty=False),
    Layer("HingeEmbeddingLoss", (0.7,), (X, SIGNS), batch=False, empty=False),
    Layer("MarginRankingLoss", (0.3,), (X, Y, SIGNS), {"reduction": "sum"}, batch=False, empty=False),
    Layer("CosineEmbeddingLoss", (0.2,), (X, Y, SIGNS[:, 0].copy()), batch=False, empty=False),
    Layer("TripletMarginLoss", (), (X, Y, P), {"swap": True}, batch=False, empty=False),
    Layer("PoissonNLLLoss", (), (X, CLASSES[:, None] + np.arange(6)), {"full": True}, batch=False, empty=False),
    Layer("GaussianNLLLoss", (), (X, Y, P), batch=False, empty=False),
    Layer("KLDivLoss", (), (X, P), {"reduction": "batchmean"}, batch=False, empty=False),
    *[Layer("MultiMarginLoss", (p, 0.7, np.arange(1.0, 7.0)), (X, CLASSES), batch=False, empty=False, label=f"{p}")
      for p in (1, 2)],
    Layer("MultiLabelMarginLoss", (), (X, LISTS), {"reduction": "sum"}, batch=False, empty=False),
    Layer("MultiLabelSoftMarginLoss", (np.arange(1.0, 7.0),), (X, (P > 0.5) * 1.0), batch=False, empty=False),
    Layer("TripletMarginWithDistanceLoss", (), (X, Y, P), {"swap": True, "margin": 0.5}, batch=False, empty=False),
    Layer("BCELoss", (), (P, P[::-1].copy()), batch=False, empty=False),
    Layer("BCEWithLogitsLoss", (), (X, P), {"pos_weight": np.arange(1.0, 7.0)}, batch=False, empty=False),
    Layer("NLLLoss", (), (X, CLASSES), {"reduction": "sum"}, batch=False, empty=False),
    Layer("CrossEntropyLoss", (np.arange(1.0, 7.0),), (X, CLASSES), {"label_smoothing": 0.1}, batch=False, empty=False),
    Layer("LinearCrossEntropyLoss", (6, 6), (X, CLASSES), {"bias": True, "label_smoothing": 0.1}, batch=False,
          empty=False),
    Layer("AdaptiveLogSoftmaxWithLoss", (6, 12, [3, 5]), (X, integers(4, high=12)), {"div_value": 2.0}, batch=False,
          empty=False),
    Layer("AdaptiveLogSoftmaxWithLoss", (6, 6, [2]), (X[0], np.array(4)), {"head_bias": True}, batch=False,
          empty=False, label="one"),
    Layer("CrossEntropyLoss", (), (X, P), batch=False, empty=False, label="probabilities"),
]  # fmt: skip


LAZY = [
    ("LazyLinear", (4,), (2, 6)), ("LazyConv1d", (4, 3), (2, 3, 9)), ("LazyConv2d", (4, 3), (2, 3, 7, 8)),
    ("LazyConv3d", (4, 2), (2, 3, 4, 5, 4)), ("LazyConvTranspose1d", (4, 3), (2, 3, 9)),
    ("LazyConvTranspose2d", (4, 3), (2, 3, 7, 8)), ("LazyConvTranspose3d", (4, 2), (2, 3, 4, 5, 4)),
    ("LazyBatchNorm1d", (), (2, 3, 9)), ("LazyBatchNorm2d", (), (2, 3, 7, 8)), ("LazyBatchNorm3d", (), (2, 3, 4, 5, 4)),
    ("LazyInstanceNorm1d", (), (3, 9)), ("LazyInstanceNorm2d", (), (2, 3, 7, 8)),
    ("LazyInstanceNorm3d", (), (2, 3, 4, 5, 4)),
]  # fmt: skip


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


def _leaves(out: Any) -> list[Any]:
    if isinstance(out, (tuple, list)):
        return [x for o in out for x in _leaves(o)]
    return [] if out is None else [out]


def _build(layer: Layer) -> nn.Module:
    """Our layer, arrays among its arguments made tensors."""
    arguments = [wf.tensor(a) if isinstance(a, np.ndarray) else a for a in layer.arguments]
    keywords = {
        k: wf.tensor(v) if isinstance(v, np.ndarray) else v for k, v in (layer.keywords or {}).items()
    }
    return getattr(nn, layer.name)(*arguments, **keywords).double().train(layer.train)


def _weights(outs: list[Any]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(tuple(o.shape)) for o in outs]


def _loss(outs: list[Any], make: Callable[[np.ndarray], Any]) -> Any:
    return sum((o * make(w)).sum() for o, w in zip(outs, _weights(outs)))


def _inputs(layer: Layer) -> list[wf.Tensor]:
    return [wf.tensor(a, requires_grad=a.dtype.kind == "f") for a in layer.inputs]


everything = pytest.mark.parametrize("layer", LAYERS, ids=[x.id for x in LAYERS])


@everything
def test_values_and_gradients_are_those_of_torch(layer: Layer):
    torch = pytest.importorskip("torch")
    theirs, ours = layer.theirs(), _build(layer)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    given = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in layer.inputs]
    inputs = _inputs(layer)
    want, got = _leaves(theirs(*given)), _leaves(ours(*inputs))
    _loss(want, torch.tensor).backward()
    _loss(got, wf.tensor).backward()
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
    assert repr(_build(layer)) == theirs


DRAWN = list({x.name: x for x in LAYERS if list(_build(x).parameters())}.values())


@pytest.mark.parametrize("layer", DRAWN, ids=[x.id for x in DRAWN])
def test_initial_parameters_are_distributed_as_in_torch(layer: Layer):
    torch = pytest.importorskip("torch")
    wf.manual_seed(0)
    torch.manual_seed(0)
    ours = [dict(_build(layer).named_parameters()) for _ in range(20)]
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


@everything
def test_sixteen_bits(layer: Layer):
    ours = _build(layer).bfloat16()
    cast = [wf.tensor(a).astype(wf.bfloat16) if a.dtype.kind == "f" else wf.tensor(a) for a in layer.inputs]
    for out in _leaves(ours(*cast)):
        if out.dtype.kind == "i":
            continue  # positions
        assert out.dtype is wf.bfloat16 and np.isfinite(out.astype("float32").numpy()).all()


@pytest.mark.parametrize("layer", [x for x in LAYERS if x.batch], ids=[x.id for x in LAYERS if x.batch])
def test_one_sample_at_a_time_under_vmap(layer: Layer):
    if layer.name in ("Flatten", "Unflatten", "Bilinear"):
        pytest.skip("a single sample has other axes")
    ours = _build(layer)
    inputs = [wf.tensor(a) for a in layer.inputs]
    one = wf.vmap(lambda *xs: _leaves(ours(*[x[None] for x in xs]))[0][0])(*inputs)
    np.testing.assert_allclose(one.numpy(), _leaves(ours(*inputs))[0].numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("layer", [x for x in LAYERS if x.empty], ids=[x.id for x in LAYERS if x.empty])
def test_an_empty_batch(layer: Layer):
    ours = _build(layer)
    full = _leaves(ours(*[wf.tensor(a) for a in layer.inputs]))
    empty = _leaves(ours(*[wf.tensor(a[:0]) for a in layer.inputs]))
    for e, f in zip(empty, full):
        assert e.numpy().size == 0 and e.ndim == f.ndim


@everything
def test_compiled_and_not_agree(layer: Layer):
    plain = _build(layer)
    compiled = _build(layer)
    compiled.load_state_dict(plain.state_dict())
    inputs = [wf.tensor(a) for a in layer.inputs]

    @wf.compile
    def run(*xs):
        return compiled(*xs)

    for _ in range(2):
        for a, b in zip(_leaves(plain(*inputs)), _leaves(run(*inputs)), strict=True):
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
        net = _build(layer)
        plain = _build(layer)
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
            for g, w in zip(_leaves(got), _leaves(plain(*inputs)), strict=True):
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
            for g, w in zip(_leaves(program.run([x._node.value])), _leaves(net(x)), strict=True):
                np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-5, atol=1e-6)


#: PyTorch has no second derivative of these.
ONCE = ("EmbeddingBag", "Hardsigmoid", "MultiMarginLoss", "MultiLabelMarginLoss")
#: The second derivative of gradients scaled by frequency leaves the scale out there.
TWICE = [x for x in LAYERS if x.name not in ONCE and x.label != "frequency"]


@pytest.mark.parametrize("layer", TWICE, ids=[x.id for x in TWICE])
def test_a_penalty_on_gradients_is_differentiated_as_in_torch(layer: Layer):
    torch = pytest.importorskip("torch")
    theirs, ours = layer.theirs(), _build(layer)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    given = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in layer.inputs]
    inputs = _inputs(layer)
    with torch.nn.attention.sdpa_kernel(
        torch.nn.attention.SDPBackend.MATH
    ):  # others have no second derivative
        want = _loss([o.tanh() for o in _leaves(theirs(*given))], torch.tensor)
    moving = list(theirs.parameters()) + [t for t in given if t.requires_grad]
    first = torch.autograd.grad(want, moving, create_graph=True, allow_unused=True)
    sum((g * g).sum() for g in first if g is not None).backward()
    leaves = [*ours.parameters(), *[x for x in inputs if x.requires_grad]]
    _loss([wf.tanh(o) for o in _leaves(ours(*inputs))], wf.tensor).backward(create_graph=True)
    grads = [x.grad for x in leaves]
    for x in leaves:
        x.grad = None
    sum((g * g).sum() for g in grads if g is not None).backward()
    for t, x in zip(moving, leaves, strict=True):
        if t.grad is None:
            assert x.grad is None or not x.grad.numpy().any()
        else:
            np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-7, atol=1e-8)


@everything
def test_arrays_are_taken_and_other_things_refused(layer: Layer):
    net, other = _build(layer), _build(layer)
    other.load_state_dict(net.state_dict())
    for a, b in zip(_leaves(net(*layer.inputs)), _leaves(other(*map(wf.tensor, layer.inputs))), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    if layer.name != "Identity":
        for wrong in ("text", None, [1.0]):
            with pytest.raises(wf.errors.DTypeError, match="takes a tensor, got"):
                net(*[wrong] * len(layer.inputs))


@everything
def test_the_compiled_backend_computes_the_same(layer: Layer):
    net = _build(layer)

    def compute():
        net.zero_grad()
        inputs = _inputs(layer)
        outs = _leaves(net(*inputs))
        _loss(outs, wf.tensor).backward()
        found = [*outs, *[p.grad for p in net.parameters()], *[x.grad for x in inputs if x.grad is not None]]
        return [x.numpy() for x in found]

    want = compute()
    with wf.config(backend="cpu"):
        got = compute()
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-13)


STATEFUL = [x for x in LAYERS if _build(x).state_dict()]


@pytest.mark.parametrize("layer", STATEFUL, ids=[x.id for x in STATEFUL])
def test_a_layer_comes_back_from_a_file(layer: Layer, tmp_path):
    net, again = _build(layer), _build(layer)
    wf.save(net, tmp_path / "layer.safetensors")
    again.load_state_dict(wf.load(tmp_path / "layer.safetensors"))
    for a, b in zip(_leaves(net(*layer.inputs)), _leaves(again(*layer.inputs)), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@everything
def test_computed_at_once_or_later_is_the_same(layer: Layer):
    later, at_once = _build(layer), _build(layer)
    at_once.load_state_dict(later.state_dict())
    results = []
    for net, options in ((later, {}), (at_once, {"eager": True, "debug_nan": True})):
        inputs = _inputs(layer)
        with wf.config(**options):
            outs = _leaves(net(*inputs))
            _loss(outs, wf.tensor).backward()
            results.append([x.numpy() for x in [*outs, *[p.grad for p in net.parameters()], *net.buffers()]])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
