"""Keras 3 on TensorFlow. Training: model.fit over a cached tf.data pipeline; inference: predict_on_batch.
Variants: "" jit_compile=False; "jit" jit_compile=True (XLA); "tob", "tobjit": train_on_batch instead of fit;
"fn", "fnjit": the same model in a hand-written tf.function step (inference: tf.function around the model).
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L
from keras import ops

from common import BLOCKS, GPT, LSTM, SEQ, THREADS, batches, hwio_params, nhwc

tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(THREADS)


class GPTNet(keras.Model):
    def __init__(self):
        super().__init__()
        g = GPT
        self.wte, self.wpe = L.Embedding(g["vocab"], g["d"]), L.Embedding(g["ctx"], g["d"])

        def ln():
            return L.LayerNormalization(epsilon=1e-5, center=False)

        self.blocks = [
            (
                ln(),
                L.MultiHeadAttention(g["heads"], g["d"] // g["heads"], use_bias=False),
                ln(),
                L.Dense(4 * g["d"], use_bias=False, activation=lambda x: keras.activations.gelu(x)),
                L.Dense(g["d"], use_bias=False),
            )
            for _ in range(g["layers"])
        ]
        self.flat = [layer for block in self.blocks for layer in block]
        self.lnf = ln()

    def call(self, x):
        h = self.wte(x) + self.wpe(ops.arange(x.shape[1]))
        for ln1, att, ln2, fc, out in self.blocks:
            n = ln1(h)
            h = h + att(n, n, use_causal_mask=True)
            h = h + out(fc(ln2(h)))
        return ops.matmul(self.lnf(h), ops.transpose(self.wte.embeddings))


def resnet(x):
    def cbn(n, x, c, k, s):
        if k > 1 and s > 1:
            x = L.ZeroPadding2D(k // 2)(x)
        x = L.Conv2D(c, k, s, "valid" if s > 1 else "same", use_bias=False, name=n + ".c")(x)
        return L.BatchNormalization(momentum=0.9, epsilon=1e-5, name=n + ".n")(x)

    i = x
    x = L.MaxPooling2D(3, 2)(L.ZeroPadding2D(1)(L.ReLU()(cbn("stem", x, 64, 7, 2))))
    for n, cin, cout, s in BLOCKS:
        y = cbn(n + ".c2", L.ReLU()(cbn(n + ".c1", x, cout, 3, s)), cout, 3, 1)
        x = L.ReLU()(L.Add()([y, cbn(n + ".ds", x, cout, 1, s) if s != 1 or cin != cout else x]))
    return keras.Model(i, L.Dense(1000, name="fc")(L.GlobalAveragePooling2D()(x)))


def make(model, x):
    p = hwio_params(model)
    if model in SEQ:
        mk = {
            "dense": lambda i, o: L.Dense(o),
            "conv": lambda i, o, k: L.Conv2D(o, k),
            "relu": L.ReLU,
            "pool": lambda: L.MaxPooling2D(2),
            "flatten": lambda *_: L.Flatten(),
        }
        net = keras.Sequential([keras.Input(x.shape[1:]), *(mk[kind](*args) for kind, *args in SEQ[model])])
        dense_or_conv = [i for i, layer in enumerate(SEQ[model]) if layer[0] in ("dense", "conv")]
        order = [p[f"{i}.{k}"] for i in dense_or_conv for k in "wb"]
    elif model == "lstm":
        net = keras.Sequential(
            [
                keras.Input(x.shape[1:], dtype="int32"),
                L.Embedding(LSTM["vocab"], LSTM["emb"]),
                L.LSTM(LSTM["hidden"]),
                L.Dense(1),
            ]
        )
        order = list(p.values())
    elif model == "gpt":
        net = GPTNet()
        net(x)
        d, h = GPT["d"], GPT["heads"]
        for k in ("wte", "wpe", "lnf"):
            getattr(net, k).set_weights([p[k]])
        for i, (ln1, att, ln2, fc, out) in enumerate(net.blocks):
            att.set_weights(
                [a.reshape(d, h, d // h) for a in np.split(p[f"{i}.qkv"], 3, 1)]
                + [p[f"{i}.proj"].reshape(h, d // h, d)]
            )
            for layer, k in ((ln1, "ln1"), (ln2, "ln2"), (fc, "fc"), (out, "out")):
                layer.set_weights([p[f"{i}.{k}"]])
        order = None
    else:
        net = resnet(keras.Input(x.shape[1:]))
        for k in [k[:-2] for k in p if k.endswith(".g")]:
            net.get_layer(k + ".c").set_weights([p[k + ".w"]])
            net.get_layer(k + ".n").set_weights(
                [p[k + ".g"], p[k + ".b"], 0 * p[k + ".b"], 0 * p[k + ".b"] + 1]
            )
        net.get_layer("fc").set_weights([p["fc.w"], p["fc.b"]])
        order = None
    if order:
        net.set_weights(order)
    return net, order


def build(w, variant):
    data = [(nhwc(x).astype(np.int32) if x.dtype == np.int64 else nhwc(x), y) for x, y in batches(w)]
    net, order = make(w.model, data[0][0])
    jit = variant.endswith("jit")
    api = variant.removesuffix("jit") or "fit"
    if w.mode == "infer":
        net.compile(jit_compile=jit)
        g = tf.function(lambda x: net(x, training=False), jit_compile=jit)
        f = (lambda x: g(tf.constant(x)).numpy()) if api == "fn" else net.predict_on_batch

        def run(k):
            for i in range(k):
                out = f(data[i % len(data)][0])
            return out

        return run

    kind, lr, *o = w.opt
    K = keras.optimizers
    opt = {
        "sgd": lambda: K.SGD(lr, momentum=o[0]),
        "adam": lambda: K.Adam(lr, epsilon=1e-8),
        "adamw": lambda: K.AdamW(lr, beta_1=o[0], beta_2=o[1], weight_decay=o[2], epsilon=1e-8),
    }[kind]()
    loss = {
        "mse": keras.losses.MeanSquaredError,
        "bce": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
        "ce": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }[w.loss]()
    net.compile(opt, loss, jit_compile=jit)
    opt.build(net.trainable_variables)
    if api == "fit":
        if w.epochs > 1:
            ((x, y),) = data

            def fit(k):
                return net.fit(x, y, batch_size=w.batch, epochs=w.epochs, shuffle=False, verbose=0)
        else:
            ds = tf.data.Dataset.from_tensor_slices(tuple(np.stack(a) for a in zip(*data)))
            ds = ds.repeat().prefetch(2)

            def fit(k):
                return net.fit(ds, steps_per_epoch=k, verbose=0)

        def run(k):
            if w.epochs == 1:
                return fit(k).history["loss"][-1]
            for _ in range(k):
                net.set_weights(order)
                h = fit(1)
            return h.history["loss"][-1]

        return run
    if api == "fn":
        data = [(tf.constant(x), tf.constant(y)) for x, y in data]

        @tf.function(jit_compile=jit)
        def one(x, y):
            with tf.GradientTape() as t:
                v = loss(y, net(x, training=True))
            opt.apply_gradients(zip(t.gradient(v, net.trainable_variables), net.trainable_variables))
            return v
    else:

        def one(x, y):
            net.reset_metrics()
            return net.train_on_batch(x, y)

    def run(k):
        for i in range(k):
            if w.epochs > 1:
                net.set_weights(order)
            x, y = data[i % len(data)]
            for _ in range(w.epochs):
                v = one(x, y)
        return float(v)

    return run
