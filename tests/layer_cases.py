"""What the tests of layers share: a table of layers with arguments and inputs, which are the same in PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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

    def given(self, make: Callable[[Any], Any], library: Any) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, arrays made tensors; a function makes what is another layer of the same library."""

        def ready(a: Any) -> Any:
            return make(a) if isinstance(a, np.ndarray) else a(library) if callable(a) else a

        return [ready(a) for a in self.arguments], {k: ready(v) for k, v in (self.keywords or {}).items()}

    def ours(self) -> nn.Module:
        """Weft's layer, in double precision."""
        arguments, keywords = self.given(wf.tensor, nn)
        return getattr(nn, self.name)(*arguments, **keywords).double().train(self.train)

    def tensors(self) -> list[wf.Tensor]:
        """The inputs; gradients of floating ones are asked for."""
        return [wf.tensor(a, requires_grad=a.dtype.kind == "f") for a in self.inputs]

    def theirs(self) -> Any:
        """PyTorch's."""
        import torch

        arguments, keywords = self.given(torch.tensor, torch.nn)
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
    Layer(
        "TransformerEncoder",
        (lambda m: m.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True), 1),
        (TOKENS,),
        {"norm": lambda m: m.LayerNorm(6)},
    ),
    Layer(
        "TransformerDecoder",
        (lambda m: m.TransformerDecoderLayer(6, 2, 8, 0.0, batch_first=True), 1),
        (TOKENS, TOKENS),
    ),
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
    Layer("BatchNorm3d", (3,), (VOLUMES,), batch=False, empty=False),
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
    Layer("Dropout1d", (0.5,), (SEQUENCES,), train=False),
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
    Layer("PoissonNLLLoss", (), (X, CLASSES[:, None] + np.arange(6.0)), {"full": True}, batch=False, empty=False),
    # logarithms of integers are float32 in both, and PyTorch's depend on the processor
    Layer("PoissonNLLLoss", (), (X, CLASSES[:, None] + np.arange(6)), {"full": True}, batch=False, empty=False,
          label="integers", tol=1e-7),
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


def leaves(out: Any) -> list[Any]:
    if isinstance(out, (tuple, list)):
        return [x for o in out for x in leaves(o)]
    return [] if out is None else [out]


def weighting(outs: list[Any]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(tuple(o.shape)) for o in outs]


def weighted(outs: list[Any], make: Callable[[np.ndarray], Any]) -> Any:
    return sum((o * make(w)).sum() for o, w in zip(outs, weighting(outs)))
