"""A small GPT over characters learns to write like Shakespeare; better than the best table of pairs of letters."""

import numpy as np

import weft as wf
from weft import nn, optim
from weft.data import DataLoader
from weft.train import LearningRateSchedule

CONTEXT, WIDTH, HEADS, BLOCKS, BATCH = 32, 64, 4, 2, 32


class Attention(nn.Module):
    """Every place looks at itself and at what stands before it, in several ways (heads) at once."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        n, t, _ = x.shape
        qkv = self.project(x).reshape((n, t, 3, HEADS, WIDTH // HEADS))
        q, k, v = wf.unstack(wf.permute_dims(qkv, (2, 0, 3, 1, 4)))  # each (n, HEADS, t, WIDTH / HEADS)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(wf.permute_dims(y, (0, 2, 1, 3)).reshape((n, t, WIDTH)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, characters: int):
        super().__init__()
        self.token = nn.Embedding(characters, WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(BLOCKS)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, characters)

    def forward(self, tokens):
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]  # (n, t, WIDTH)
        return self.head(self.norm(self.blocks(x)))  # (n, t, characters)


def loss_of(scores, targets):
    """Cross-entropy over all places of all windows."""
    return nn.functional.cross_entropy(scores.reshape((-1, scores.shape[-1])), targets.reshape((-1,)))


def pairs_table(train: np.ndarray, test: np.ndarray, characters: int) -> float:
    """The loss on `test` of the best table that predicts a character from the one before (counted in `train`)."""
    counts = np.full((characters, characters), 0.1)
    np.add.at(counts, (train[:-1], train[1:]), 1)
    share = counts / counts.sum(1, keepdims=True)
    return float(-np.log(share[test[:-1], test[1:]]).mean())


def write(model: GPT, text, start: str, length: int) -> str:
    """Go on from `start`, drawing one character after the other from what the model thinks likely."""
    rng = np.random.default_rng(0)
    tokens = list(text.encode(start))
    model.eval()
    with wf.no_grad():
        for _ in range(length):
            window = ([0] * CONTEXT + tokens)[-CONTEXT:]
            scores = model(wf.tensor([window])).numpy()[0, -1].astype(np.float64)
            share = np.exp(scores - scores.max())
            tokens.append(int(rng.choice(len(share), p=share / share.sum())))
    return text.decode(tokens)


def main(steps: int = 300, progress: bool = True) -> tuple[float, float]:
    text = wf.data.shakespeare()
    train, test = text.windows(CONTEXT)
    table = pairs_table(train.tokens, test.tokens, len(text.vocabulary))

    wf.manual_seed(0)
    model = GPT(len(text.vocabulary))
    trainer = wf.Trainer(model, loss_of, optim.AdamW(lr=4e-3))
    some = wf.data.Subset(train, np.random.default_rng(0).integers(0, len(train), steps * BATCH))
    schedule = LearningRateSchedule(make=lambda o: optim.CosineAnnealingLR(o, steps), every="batch")
    trainer.fit(DataLoader(some, BATCH), callbacks=[schedule], progress=progress)

    apart = wf.data.Subset(test, range(0, len(test), CONTEXT))
    loss = trainer.evaluate(apart, batch_size=64)["loss"]
    print(f"loss on the last tenth of the play: {loss:.3f} nats a character; a table of pairs: {table:.3f}")
    print(write(model, text, "ROSALIND\t", 120))
    return loss, table


if __name__ == "__main__":
    main()
