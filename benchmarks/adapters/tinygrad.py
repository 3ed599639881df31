"""tinygrad, TinyJit on the CPU device (needs a `clang` on PATH). Variant "llvm": LLVM renderer, not clang.
The LSTM is unrolled in Python: tinygrad has no scan, so its w6 graph has 100 time steps.
"""

import os
import sys

import numpy as np

from common import BLOCKS, GPT, LSTM, SEQ, batches, params

os.environ.setdefault("DEV", "CPU:LLVM" if sys.argv[1].endswith("llvm") else "CPU")
from tinygrad import Context, Tensor, TinyJit, nn


def seq(model, p, x):
    for i, layer in enumerate(SEQ[model]):
        if layer[0] == "dense":
            x = x.linear(p[f"{i}.w"].T, p[f"{i}.b"])
        elif layer[0] == "conv":
            x = x.conv2d(p[f"{i}.w"], p[f"{i}.b"])
        elif layer[0] == "relu":
            x = x.relu()
        elif layer[0] == "pool":
            x = x.max_pool2d((2, 2))
        else:
            x = x.flatten(1)
    return x


def lstm(p, x):
    g = p["emb"][x].linear(p["w_ih"].T, p["b"]).contiguous()
    h = c = Tensor.zeros(x.shape[0], LSTM["hidden"])
    for t in range(LSTM["steps"]):
        i, f, u, o = (g[:, t] + h @ p["w_hh"].T).chunk(4, 1)
        c = (f.sigmoid() * c + i.sigmoid() * u.tanh()).contiguous()
        h = (o.sigmoid() * c.tanh()).contiguous()
    return h.linear(p["out.w"].T, p["out.b"])


def gpt(p, x):
    B, T, C = *x.shape, GPT["d"]
    h = p["wte"][x] + p["wpe"]
    for i in range(GPT["layers"]):
        a = (h.layernorm() * p[f"{i}.ln1"]) @ p[f"{i}.qkv"].T
        q, k, v = (t.reshape(B, T, GPT["heads"], -1).transpose(1, 2) for t in a.split(C, 2))
        y = q.scaled_dot_product_attention(k, v, is_causal=True).transpose(1, 2).reshape(B, T, C)
        h = h + y @ p[f"{i}.proj"].T
        h = h + ((h.layernorm() * p[f"{i}.ln2"]) @ p[f"{i}.fc"].T).gelu("none") @ p[f"{i}.out"].T
    return (h.layernorm() * p["lnf"]) @ p["wte"].T


def resnet(p, bn, x):
    def cbn(n, x, s, pad):
        return bn[n](x.conv2d(p[n + ".w"], stride=s, padding=pad))

    x = cbn("stem", x, 2, 3).relu().max_pool2d((3, 3), 2, padding=1)
    for n, _, _, s in BLOCKS:
        y = cbn(n + ".c2", cbn(n + ".c1", x, s, 1).relu(), 1, 1)
        x = (y + (cbn(n + ".ds", x, s, 0) if n + ".ds.w" in p else x)).relu()
    return x.mean((2, 3)).linear(p["fc.w"].T, p["fc.b"])


LOSS = {
    "mse": lambda o, y: (o - y).square().mean(),
    "bce": lambda o, y: o.binary_crossentropy_logits(y),
    "ce": lambda o, y: o.reshape(-1, o.shape[-1]).sparse_categorical_crossentropy(y.reshape(-1)),
}


def build(w, variant):
    raw = params(w.model)
    p = {k: Tensor(v).contiguous().realize() for k, v in raw.items()}
    bn = {}
    if w.model == "resnet18":
        for k in [k[:-2] for k in p if k.endswith(".g")]:
            bn[k] = nn.BatchNorm(len(raw[k + ".g"]))
            bn[k].weight, bn[k].bias = p[k + ".g"], p[k + ".b"]
    data = [tuple(a.astype(np.int32) if a.dtype == np.int64 else a for a in b) for b in batches(w)]

    def fwd(x):
        if w.model in SEQ:
            return seq(w.model, p, x)
        return resnet(p, bn, x) if bn else {"lstm": lstm, "gpt": gpt}[w.model](p, x)

    if w.mode == "infer":
        f = TinyJit(lambda x: fwd(x).realize())

        def run(k):
            for i in range(k):
                out = f(Tensor(data[i % len(data)][0]).realize()).numpy()
            return out

        return run

    kind, lr, *o = w.opt
    allp = list(p.values())
    opt = {
        "sgd": lambda: nn.optim.SGD(allp, lr, momentum=o[0]),
        "adam": lambda: nn.optim.Adam(allp, lr),
        "adamw": lambda: nn.optim.AdamW(allp, lr, b1=o[0], b2=o[1], weight_decay=o[2]),
    }[kind]()

    @TinyJit
    def step(x, y):
        opt.zero_grad()
        loss = LOSS[w.loss](fwd(x), y).backward()
        return loss.realize(*opt.schedule_step())

    data = [(Tensor(x).realize(), Tensor(y).realize()) for x, y in data]

    def run(k):
        with Context(TRAINING=1):
            for i in range(k):
                if w.epochs > 1:
                    for n, t in p.items():
                        t.assign(Tensor(raw[n])).realize()
                x, y = data[i % len(data)]
                for _ in range(w.epochs):
                    loss = step(x, y)
            return loss.item()

    return run
