"""Weft. Variant "" = the loop as written, "compile" = the step compiled by weft.compile, "scan" = a whole training
(w1, w2) as one weft.scan, "fit" = Trainer.fit."""

import numpy as np

import weft as wf
from common import BLOCKS, GPT, LSTM, SEQ, batches, params
from weft import nn, optim

F = nn.functional


class LSTMNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(LSTM["vocab"], LSTM["emb"])
        self.lstm = nn.LSTM(LSTM["emb"], LSTM["hidden"], batch_first=True)
        self.out = nn.Linear(LSTM["hidden"], 1)

    def forward(self, x):
        return self.out(self.lstm(self.emb(x))[0][:, -1])


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        self.ln1, self.ln2 = nn.LayerNorm(d, bias=False), nn.LayerNorm(d, bias=False)
        self.qkv, self.proj = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.fc, self.out = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (
            wf.swapaxes(t.reshape(B, T, self.h, C // self.h), 1, 2)
            for t in wf.split(self.qkv(self.ln1(x)), C, axis=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(wf.swapaxes(y, 1, 2).reshape(B, T, C))
        return x + self.out(F.gelu(self.fc(self.ln2(x))))


class GPTNet(nn.Module):
    def __init__(self):
        super().__init__()
        g = GPT
        self.wte, self.wpe = nn.Embedding(g["vocab"], g["d"]), nn.Embedding(g["ctx"], g["d"])
        self.blocks = nn.ModuleList([Block(g["d"], g["heads"]) for _ in range(g["layers"])])
        self.lnf = nn.LayerNorm(g["d"], bias=False)

    def forward(self, x):
        h = self.wte(x) + self.wpe(wf.arange(x.shape[1]))
        for b in self.blocks:
            h = b(h)
        return F.linear(self.lnf(h), self.wte.weight)


class Res(nn.Module):
    def __init__(self, cin, cout, st):
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(cin, cout, 3, st, 1, bias=False), nn.BatchNorm2d(cout)
        self.c2, self.n2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.ds = self.dn = None
        if st != 1 or cin != cout:
            self.ds, self.dn = nn.Conv2d(cin, cout, 1, st, bias=False), nn.BatchNorm2d(cout)

    def forward(self, x):
        y = self.n2(self.c2(F.relu(self.n1(self.c1(x)))))
        return F.relu(y + (x if self.ds is None else self.dn(self.ds(x))))


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.n = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.blocks = nn.Sequential(*(Res(i, o, st) for _, i, o, st in BLOCKS))
        self.fc = nn.Linear(512, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.n(self.stem(x))), 3, 2, 1)
        return self.fc(self.blocks(x).mean(axis=(2, 3)))


def make(model):
    """The network, and a function that gives it the shared initial weights again."""
    p = params(model)
    dst = {}  # our parameter name -> Weft's parameter
    if model in SEQ:
        mk = {
            "dense": lambda i, o: nn.Linear(i, o),
            "conv": lambda i, o, k: nn.Conv2d(i, o, k),
            "relu": nn.ReLU,
            "pool": lambda: nn.MaxPool2d(2),
            "flatten": lambda *_: nn.Flatten(),
        }
        net = nn.Sequential(*(mk[kind](*args) for kind, *args in SEQ[model]))
        for i, m in enumerate(net):
            if hasattr(m, "weight"):
                dst |= {f"{i}.w": m.weight, f"{i}.b": m.bias}
    elif model == "lstm":  # as in PyTorch, a second (here zero) bias, b_hh
        net = LSTMNet()
        rnn = net.lstm
        p["b2"] = np.zeros_like(p["b"])
        dst = {
            "emb": net.emb.weight,
            "w_ih": rnn.weight_ih_l0,
            "w_hh": rnn.weight_hh_l0,
            "b": rnn.bias_ih_l0,
            "b2": rnn.bias_hh_l0,
            "out.w": net.out.weight,
            "out.b": net.out.bias,
        }
    elif model == "gpt":
        net = GPTNet()
        dst = {"wte": net.wte.weight, "wpe": net.wpe.weight, "lnf": net.lnf.weight}
        for i, b in enumerate(net.blocks):
            dst |= {f"{i}.{k}": getattr(b, k).weight for k in ("ln1", "qkv", "proj", "ln2", "fc", "out")}
    else:
        net = ResNet18()
        dst = {"fc.w": net.fc.weight, "fc.b": net.fc.bias}
        cb = [("stem", net.stem, net.n)]
        for (n, *_), b in zip(BLOCKS, net.blocks):
            cb += [(n + ".c1", b.c1, b.n1), (n + ".c2", b.c2, b.n2)]
            if b.ds is not None:
                cb.append((n + ".ds", b.ds, b.dn))
        for n, c, bn in cb:
            dst |= {n + ".w": c.weight, n + ".g": bn.weight, n + ".b": bn.bias}
    assert dst.keys() == p.keys()

    def reset():
        with wf.no_grad():
            for k, t in dst.items():
                t[...] = wf.asarray(p[k])

    reset()
    return net, reset


LOSS = {
    "mse": F.mse_loss,
    "bce": F.binary_cross_entropy_with_logits,
    "ce": lambda o, y: F.cross_entropy(o.reshape(-1, o.shape[-1]), y.reshape(-1)),
}


def in_one_scan(w, net, data):
    """A whole training by gradient descent as one compiled scan, from the initial weights each time."""
    _, lr, _ = w.opt
    names, initial = zip(*[(n, wf.asarray(p.numpy())) for n, p in net.named_parameters()])

    def loss_of(params, x, y):
        return LOSS[w.loss](nn.functional_call(net, dict(zip(names, params)), None, x), y)

    def step(params, x, y):
        loss, grads = wf.value_and_grad(loss_of)(params, x, y)
        return tuple(p - lr * g for p, g in zip(params, grads)), loss

    @wf.compile
    def train(params, x, y):
        params, losses = wf.scan(lambda params, _: step(params, x, y), params, length=w.epochs)
        return params, losses[-1]

    def run(k):
        for i in range(k):
            _, loss = train(initial, *data[i % len(data)])
        return loss.item()

    return run


def by_fit(w, net, reset, opt, data):
    """`Trainer.fit` with the data, order and calls that Keras's `fit` is timed with."""
    trainer = wf.Trainer(net, LOSS[w.loss], opt)

    def whole(k):
        ((x, y),) = data
        for _ in range(k):
            reset()
            history = trainer.fit(x, y, epochs=w.epochs, batch_size=w.batch, shuffle=False, progress=False)
        return history["loss"][-1]

    ready = [(wf.asarray(x), wf.asarray(y)) for x, y in data]

    def steps(k):
        history = trainer.fit([ready[i % len(ready)] for i in range(k)], progress=False)
        return history["loss"][-1]

    return whole if w.epochs > 1 else steps


def build(w, variant):
    net, reset = make(w.model)
    data = batches(w)
    transform = wf.compile if variant == "compile" else lambda f: f
    if w.mode == "infer":
        net.eval()
        f = wf.compile(net) if variant == "compile" else lambda x: net(wf.asarray(x))

        def run(k):
            with wf.no_grad():
                for i in range(k):
                    out = f(data[i % len(data)][0]).numpy()
            return out

        return run

    kind, lr, *o = w.opt
    opt = {
        "sgd": lambda: optim.SGD(net.parameters(), lr=lr, momentum=o[0]),
        "adam": lambda: optim.Adam(net.parameters(), lr=lr),
        "adamw": lambda: optim.AdamW(net.parameters(), lr=lr, betas=(o[0], o[1]), weight_decay=o[2]),
    }[kind]()
    loss_fn = LOSS[w.loss]
    if variant == "fit":
        return by_fit(w, net, reset, opt, data)
    data = [(wf.asarray(x), wf.asarray(y)) for x, y in data]
    if variant == "scan":
        return in_one_scan(w, net, data)

    @transform
    def step(x, y):
        opt.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        opt.step()
        return loss

    def run(k):
        for i in range(k):
            if w.epochs > 1:
                reset()
            x, y = data[i % len(data)]
            for _ in range(w.epochs):
                loss = step(x, y)
        return loss.item()

    return run
