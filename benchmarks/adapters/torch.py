"""PyTorch. Variant "" = eager, else flags joined by "+": compile = torch.compile of model + loss and of
optimizer.step (default mode); cm = torch.compile of model + loss only; cl = channels_last images;
fused = fused optimizer; malloc = glibc keeps freed memory (mallopt), so that large activations are not
page-faulted in again at every step.
"""

import ctypes

import torch
import torch.nn as nn
import torch.nn.functional as F

from common import BLOCKS, GPT, LSTM, SEQ, THREADS, batches, params


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
            t.view(B, T, self.h, C // self.h).transpose(1, 2) for t in self.qkv(self.ln1(x)).split(C, 2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.out(F.gelu(self.fc(self.ln2(x))))


class GPTNet(nn.Module):
    def __init__(self):
        super().__init__()
        g = GPT
        self.wte, self.wpe = nn.Embedding(g["vocab"], g["d"]), nn.Embedding(g["ctx"], g["d"])
        self.blocks = nn.ModuleList(Block(g["d"], g["heads"]) for _ in range(g["layers"]))
        self.lnf = nn.LayerNorm(g["d"], bias=False)

    def forward(self, x):
        h = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
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
        return self.fc(self.blocks(x).mean((2, 3)))


def make(model):
    p = {k: torch.from_numpy(v) for k, v in params(model).items()}
    dst = {}  # our parameter name -> torch parameter
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
    elif model == "lstm":  # torch keeps a second (here zero) bias, b_hh
        net = LSTMNet()
        rnn = net.lstm
        nn.init.zeros_(rnn.bias_hh_l0)
        dst = {
            "emb": net.emb.weight,
            "w_ih": rnn.weight_ih_l0,
            "w_hh": rnn.weight_hh_l0,
            "b": rnn.bias_ih_l0,
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
            if b.ds:
                cb.append((n + ".ds", b.ds, b.dn))
        for n, c, bn in cb:
            dst |= {n + ".w": c.weight, n + ".g": bn.weight, n + ".b": bn.bias}
    assert dst.keys() == p.keys()

    def reset():
        with torch.no_grad():
            for k, t in dst.items():
                t.copy_(p[k])

    reset()
    return net, reset


LOSS = {
    "mse": F.mse_loss,
    "bce": F.binary_cross_entropy_with_logits,
    "ce": lambda o, y: F.cross_entropy(o.view(-1, o.shape[-1]), y.view(-1)),
}


def build(w, variant):
    variant = set(variant.split("+"))
    if "malloc" in variant:
        libc = ctypes.CDLL(None)
        for option in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            libc.mallopt(option, 2**31 - 1)
    torch.set_num_threads(THREADS)
    net, reset = make(w.model)
    data = batches(w)
    if "cl" in variant:
        net = net.to(memory_format=torch.channels_last)
    comp = torch.compile if variant & {"compile", "cm"} else lambda f: f
    if w.mode == "infer":
        net.eval()
        f = comp(net)

        def run(k):
            with torch.inference_mode():
                for i in range(k):
                    x = torch.from_numpy(data[i % len(data)][0])
                    out = f(x.to(memory_format=torch.channels_last) if "cl" in variant else x).numpy()
            return out

        return run

    kind, lr, *o = w.opt
    kw = {"fused": True} if "fused" in variant else {}
    opt = {
        "sgd": lambda: torch.optim.SGD(net.parameters(), lr, momentum=o[0], **kw),
        "adam": lambda: torch.optim.Adam(net.parameters(), lr, **kw),
        "adamw": lambda: torch.optim.AdamW(net.parameters(), lr, betas=(o[0], o[1]), weight_decay=o[2], **kw),
    }[kind]()
    loss_fn = LOSS[w.loss]
    f = comp(lambda x, y: loss_fn(net(x), y))
    update = comp(opt.step) if "compile" in variant else opt.step
    data = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in data]
    if "cl" in variant:
        data = [(x.to(memory_format=torch.channels_last), y) for x, y in data]

    def run(k):
        for i in range(k):
            if w.epochs > 1:
                reset()
            x, y = data[i % len(data)]
            for _ in range(w.epochs):
                opt.zero_grad()
                loss = f(x, y)
                loss.backward()
                update()
        return loss.item()

    return run
