"""Learning to see without labels (SimCLR): two distorted copies of a scan should look alike, and unlike all others."""

import numpy as np

import weft as wf
from weft import nn, optim
from weft.data import DataLoader, TensorDataset

FEATURES, LABELLED = 64, 50


def encoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),   # (n, 16, 4, 4)
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),     # (n, 512)
        nn.Linear(512, FEATURES), nn.ReLU(),
    )  # fmt: skip


def distorted(images):
    """The images a little turned, slanted, stretched, moved, and with noise: each in its own way."""
    n = images.shape[0]
    moves = wf.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]) + wf.random.uniform(
        (n, 2, 3), low=-0.25, high=0.25
    )
    moved = nn.functional.grid_sample(
        images, nn.functional.affine_grid(moves, images.shape, align_corners=False), align_corners=False
    )
    return moved + 0.1 * wf.random.normal(images.shape)


def contrast(a, b, temperature: float = 0.2):
    """Cross-entropy of finding, for each of the 2n copies, its partner among the 2n - 1 others, by cosine."""
    n = a.shape[0]
    z = nn.functional.normalize(wf.concat([a, b]))  # (2n, d)
    scores = z @ z.T / temperature - 1e9 * wf.eye(2 * n)  # nobody is its own partner
    partner = (wf.arange(2 * n) + n) % (2 * n)
    return nn.functional.cross_entropy(scores, partner)


def pretrain(images: np.ndarray, epochs: int) -> nn.Module:
    """An encoder that has seen the images, but no label."""
    net, head = encoder(), nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, 32))
    optimizer = optim.Adam([*net.parameters(), *head.parameters()], lr=2e-3)

    @wf.compile
    def step(x):
        loss = contrast(head(net(distorted(x))), head(net(distorted(x))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    loader = DataLoader(TensorDataset(images), batch_size=128, shuffle=True, drop_last=True, seed=0)
    for epoch in range(1, epochs + 1):
        losses = [step(x) for (x,) in loader]
        if epoch % 5 == 0:
            print(f"epoch {epoch}: contrastive loss {sum(loss.item() for loss in losses) / len(losses):.3f}")
    return net


def probe(net: nn.Module, train, test) -> float:
    """The accuracy of softmax regression on the encoder's features, from the first `LABELLED` labels alone."""
    with wf.no_grad():
        (x, y), (test_x, test_y) = [(net(wf.tensor(p.arrays[0])).numpy(), p.arrays[1]) for p in (train, test)]
    mean, scale = x.mean(0), x.std(0) + 1e-3
    trainer = wf.Trainer(nn.Linear(FEATURES, 10), "cross_entropy", optim.AdamW(lr=0.02), metrics=["accuracy"])
    trainer.fit((x[:LABELLED] - mean) / scale, y[:LABELLED], epochs=100, batch_size=LABELLED, progress=False)
    return trainer.evaluate((test_x - mean) / scale, test_y)["accuracy"]


def main(epochs: int = 25) -> tuple[float, float]:
    train, test = wf.data.digits()
    wf.manual_seed(0)
    untrained = probe(encoder(), train, test)
    learned = probe(pretrain(train.arrays[0], epochs), train, test)
    print(
        f"{LABELLED} labels, features learned without labels: {learned:.1%} of new scans right; random: {untrained:.1%}"
    )
    return learned, untrained


if __name__ == "__main__":
    main()
