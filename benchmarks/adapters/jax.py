"""JAX + optax, one jitted step with donated state, NHWC. Variant "scan": the w1, w2 loop is one lax.scan."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from common import BLOCKS, GPT, LSTM, SEQ, batches, hwio_params, nhwc

conv = partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def pool(x, k, s, pad):
    return lax.reduce_window(
        x, -jnp.inf, lax.max, (1, k, k, 1), (1, s, s, 1), ((0, 0), (pad, pad), (pad, pad), (0, 0))
    )


def seq(model, p, x):
    for i, layer in enumerate(SEQ[model]):
        if layer[0] == "dense":
            x = x @ p[f"{i}.w"] + p[f"{i}.b"]
        elif layer[0] == "conv":
            x = conv(x, p[f"{i}.w"], (1, 1), "VALID") + p[f"{i}.b"]
        elif layer[0] == "relu":
            x = jax.nn.relu(x)
        elif layer[0] == "pool":
            x = pool(x, 2, 2, 0)
        else:
            x = x.reshape(x.shape[0], -1)
    return x


def lstm(p, x):
    gx = p["emb"][x] @ p["w_ih"] + p["b"]  # input projection hoisted out of the scan

    def cell(hc, g):
        h, c = hc
        i, f, g, o = jnp.split(g + h @ p["w_hh"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    z = jnp.zeros((x.shape[0], LSTM["hidden"]))
    (h, _), _ = lax.scan(cell, (z, z), gx.swapaxes(0, 1))
    return h @ p["out.w"] + p["out.b"]


def gpt(p, x):
    def ln(h, g):
        return jax.nn.standardize(h, epsilon=1e-5) * g

    B, T = x.shape
    h = p["wte"][x] + p["wpe"][:T]
    for i in range(GPT["layers"]):
        q, k, v = (
            t.reshape(B, T, GPT["heads"], -1) for t in jnp.split(ln(h, p[f"{i}.ln1"]) @ p[f"{i}.qkv"], 3, -1)
        )
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(B, T, -1)
        h = h + y @ p[f"{i}.proj"]
        h = h + jax.nn.gelu(ln(h, p[f"{i}.ln2"]) @ p[f"{i}.fc"], approximate=False) @ p[f"{i}.out"]
    return ln(h, p["lnf"]) @ p["wte"].T


def resnet(p, st, x, train):
    new = {}

    def cbn(n, x, s, pad):
        x = conv(x, p[n + ".w"], (s, s), ((pad, pad), (pad, pad)))
        if train:
            m, v = x.mean((0, 1, 2)), x.var((0, 1, 2))
            new[n] = (0.9 * st[n][0] + 0.1 * m, 0.9 * st[n][1] + 0.1 * v)
        else:
            m, v = st[n]
        return (x - m) * (lax.rsqrt(v + 1e-5) * p[n + ".g"]) + p[n + ".b"]

    x = pool(jax.nn.relu(cbn("stem", x, 2, 3)), 3, 2, 1)
    for n, _, _, s in BLOCKS:
        y = cbn(n + ".c2", jax.nn.relu(cbn(n + ".c1", x, s, 1)), 1, 1)
        x = jax.nn.relu(y + (cbn(n + ".ds", x, s, 0) if n + ".ds.w" in p else x))
    return x.mean((1, 2)) @ p["fc.w"] + p["fc.b"], new


LOSS = {
    "mse": lambda o, y: jnp.mean((o - y) ** 2),
    "bce": lambda o, y: optax.sigmoid_binary_cross_entropy(o, y).mean(),
    "ce": lambda o, y: optax.softmax_cross_entropy_with_integer_labels(o, y).mean(),
}


def build(w, variant):
    p = {k: jnp.asarray(v) for k, v in hwio_params(w.model).items()}
    stats = {}
    if w.model == "resnet18":
        stats = {k[:-2]: (jnp.zeros_like(v), jnp.ones_like(v)) for k, v in p.items() if k.endswith(".g")}
    data = [(nhwc(x).astype(np.int32) if x.dtype == np.int64 else nhwc(x), y) for x, y in batches(w)]

    def fwd(p, stats, x, train=False):
        if w.model == "resnet18":
            return resnet(p, stats, x, train)
        return (seq(w.model, p, x) if w.model in SEQ else {"lstm": lstm, "gpt": gpt}[w.model](p, x)), {}

    if w.mode == "infer":
        f = jax.jit(lambda p, s, x: fwd(p, s, x)[0])

        def run(k):
            for i in range(k):
                out = np.asarray(f(p, stats, data[i % len(data)][0]))
            return out

        return run

    kind, lr, *o = w.opt
    opt = {
        "sgd": lambda: optax.sgd(lr, o[0] or None),
        "adam": lambda: optax.adam(lr),
        "adamw": lambda: optax.adamw(lr, b1=o[0], b2=o[1], weight_decay=o[2]),
    }[kind]()

    def loss_fn(p, s, x, y):
        out, s = fwd(p, s, x, True)
        return LOSS[w.loss](out, y), s

    def step(state, x, y):
        p, s, os = state
        (loss, s), g = jax.value_and_grad(loss_fn, has_aux=True)(p, s, x, y)
        up, os = opt.update(g, os, p)
        return (optax.apply_updates(p, up), s, os), loss

    def many(state, x, y):
        state, losses = lax.scan(lambda st, _: step(st, x, y), state, length=w.epochs)
        return state, losses[-1]

    scan = variant == "scan"
    f = jax.jit(many if scan else step, donate_argnums=0)

    def fresh():
        return jax.tree.map(jnp.array, (p, stats, opt.init(p)))

    state = fresh()
    data = [(jnp.asarray(x), jnp.asarray(y)) for x, y in data]

    def run(k):
        nonlocal state
        for i in range(k):
            if w.epochs > 1:
                state = fresh()
            x, y = data[i % len(data)]
            for _ in range(1 if scan else w.epochs):
                state, loss = f(state, x, y)
        jax.block_until_ready(state)
        return float(loss)

    return run
