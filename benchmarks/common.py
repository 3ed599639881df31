"""Workloads, shared data and shared initial weights. Only NumPy: every framework gets the same numbers."""

from dataclasses import dataclass

import numpy as np

THREADS = 2


@dataclass(frozen=True)
class Work:
    model: str
    mode: str  # "train" | "infer"
    batch: int
    opt: tuple = ()  # ("sgd", lr, momentum) | ("adam", lr) | ("adamw", lr, b1, b2, weight_decay)
    loss: str = "ce"  # "mse" | "bce" (logits) | "ce" (integer labels, logits, mean over all)
    epochs: int = 1  # optimizer steps in a unit; more than 1: a whole training from the initial weights
    unit: str = "ms/step"


WORKLOADS = {
    "w1": Work("linreg", "train", 100, ("sgd", 0.1, 0.0), "mse", 100, "ms/100 epochs"),
    "w2": Work("logreg", "train", 100, ("sgd", 0.1, 0.0), "bce", 1000, "ms/1000 iters"),
    "w3": Work("mlp", "train", 128, ("adam", 1e-3)),
    "w3_b1": Work("mlp", "infer", 1, unit="ms/call"),
    "w3_b16": Work("mlp", "infer", 16, unit="ms/call"),
    "w4": Work("cnn", "train", 64, ("adam", 1e-3)),
    "w4_b1": Work("cnn", "infer", 1, unit="ms/call"),
    "w4_b256": Work("cnn", "infer", 256, unit="ms/call"),
    "w5": Work("lenet", "train", 4, ("sgd", 0.01, 0.9)),
    "w6": Work("lstm", "train", 32, ("adam", 1e-3), "bce"),
    "w6_b1": Work("lstm", "infer", 1, unit="ms/call"),
    "w7": Work("gpt", "train", 12, ("adamw", 1e-3, 0.9, 0.99, 0.1)),
    "w8": Work("resnet18", "train", 8, ("sgd", 0.01, 0.9)),
    "w8_b1": Work("resnet18", "infer", 1, unit="ms/call"),
    "w8_b16": Work("resnet18", "infer", 16, unit="ms/call"),
}

# Plain feed-forward nets. ("flatten", C, H, W) carries the shape: channels-last adapters permute weights.
SEQ = {
    "linreg": [("dense", 1, 1)],
    "logreg": [("dense", 2, 1)],
    "mlp": [("dense", 784, 512), ("relu",), ("dense", 512, 256), ("relu",), ("dense", 256, 10)],
    "cnn": [
        ("conv", 1, 32, 3),
        ("relu",),
        ("pool",),
        ("conv", 32, 64, 3),
        ("relu",),
        ("pool",),
        ("conv", 64, 64, 3),
        ("relu",),
        ("flatten", 64, 3, 3),
        ("dense", 576, 64),
        ("relu",),
        ("dense", 64, 10),
    ],
    "lenet": [
        ("conv", 1, 6, 5),
        ("relu",),
        ("pool",),
        ("conv", 6, 16, 5),
        ("relu",),
        ("pool",),
        ("flatten", 16, 5, 5),
        ("dense", 400, 120),
        ("relu",),
        ("dense", 120, 84),
        ("relu",),
        ("dense", 84, 10),
    ],
}
LSTM = dict(vocab=10000, emb=64, hidden=128, steps=100)
GPT = dict(layers=4, heads=4, d=128, ctx=64, vocab=65)
# ResNet-18 residual blocks: (name, cin, cout, stride)
BLOCKS = [
    (f"l{stage}b{block}", cin if block == 0 else cout, cout, 2 if block == 0 and stage > 1 else 1)
    for stage, cin, cout in ((1, 64, 64), (2, 64, 128), (3, 128, 256), (4, 256, 512))
    for block in (0, 1)
]


def params(model):
    """name -> float32 array. Layouts: dense (out, in); conv OIHW; LSTM gates i,f,g,o stacked on axis 0."""
    r, p = np.random.default_rng(1), {}

    def n(*shape, std=0.02):
        return (r.standard_normal(shape) * std).astype(np.float32)

    def he(*shape):
        return n(*shape, std=np.sqrt(2 / np.prod(shape[1:])))

    if model in SEQ:
        for i, layer in enumerate(SEQ[model]):
            if layer[0] == "dense":
                p[f"{i}.w"], p[f"{i}.b"] = he(layer[2], layer[1]), np.zeros(layer[2], np.float32)
            elif layer[0] == "conv":
                p[f"{i}.w"], p[f"{i}.b"] = (
                    he(layer[2], layer[1], layer[3], layer[3]),
                    np.zeros(layer[2], np.float32),
                )
    elif model == "lstm":
        v, e, h = LSTM["vocab"], LSTM["emb"], LSTM["hidden"]
        s = 1 / np.sqrt(h)
        p = {
            "emb": n(v, e, std=1),
            "w_ih": n(4 * h, e, std=s),
            "w_hh": n(4 * h, h, std=s),
            "b": np.zeros(4 * h, np.float32),
            "out.w": n(1, h, std=s),
            "out.b": np.zeros(1, np.float32),
        }
    elif model == "gpt":  # nanoGPT, bias=False, dropout 0, tied embedding / head
        d = GPT["d"]
        p = {"wte": n(GPT["vocab"], d), "wpe": n(GPT["ctx"], d)}
        for i in range(GPT["layers"]):
            p |= {
                f"{i}.ln1": np.ones(d, np.float32),
                f"{i}.qkv": n(3 * d, d),
                f"{i}.proj": n(d, d),
                f"{i}.ln2": np.ones(d, np.float32),
                f"{i}.fc": n(4 * d, d),
                f"{i}.out": n(d, 4 * d),
            }
        p["lnf"] = np.ones(d, np.float32)
    elif model == "resnet18":

        def cbn(name, cin, cout, k):
            p[name + ".w"] = he(cout, cin, k, k)
            p[name + ".g"], p[name + ".b"] = np.ones(cout, np.float32), np.zeros(cout, np.float32)

        cbn("stem", 3, 64, 7)
        for name, cin, cout, s in BLOCKS:
            cbn(name + ".c1", cin, cout, 3)
            cbn(name + ".c2", cout, cout, 3)
            if s != 1 or cin != cout:
                cbn(name + ".ds", cin, cout, 1)
        p["fc.w"], p["fc.b"] = n(1000, 512), np.zeros(1000, np.float32)
    return p


def batches(w, n=None):
    """List of (x, y) NumPy batches; images NCHW. run(k) cycles through it from the start."""
    r, m, b = np.random.default_rng(2), w.model, w.batch
    n = 1 if m in ("linreg", "logreg") else n or (2 if m == "resnet18" else 8)
    out = []
    for _ in range(n):
        if m in ("linreg", "logreg"):
            x = r.standard_normal((b, SEQ[m][0][1])).astype(np.float32)
            e = r.standard_normal((b, 1)).astype(np.float32)
            y = 3 * x + 2 + 0.1 * e
            if m == "logreg":
                y = (x.sum(1, keepdims=True) + 0.5 * e > 0).astype(np.float32)
        elif m == "lstm":
            x = r.integers(0, LSTM["vocab"], (b, LSTM["steps"]))
            y = r.integers(0, 2, (b, 1)).astype(np.float32)
        elif m == "gpt":
            x, y = (r.integers(0, GPT["vocab"], (b, GPT["ctx"])) for _ in range(2))
        else:
            shape = {"mlp": (784,), "cnn": (1, 28, 28), "lenet": (1, 32, 32), "resnet18": (3, 224, 224)}[m]
            x = r.random((b, *shape), np.float32)
            y = r.integers(0, 1000 if m == "resnet18" else 10, b)
        out.append((x, y))
    return out


def nhwc(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def hwio_params(model):
    """params() for channels-last frameworks: dense (in, out), conv HWIO, HWC rows after a flatten."""
    p = params(model)
    for i, layer in enumerate(SEQ.get(model, [])):
        if layer[0] == "dense" and i and SEQ[model][i - 1][0] == "flatten":
            c, h, w = SEQ[model][i - 1][1:]
            p[f"{i}.w"] = p[f"{i}.w"].reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(layer[2], layer[1])

    def flip(k, v):
        if v.ndim == 4:
            return v.transpose(2, 3, 1, 0)
        return v.T if v.ndim == 2 and k not in ("emb", "wte", "wpe") else v

    return {k: np.ascontiguousarray(flip(k, v)) for k, v in p.items()}
