"""Softmax regression on the ten digits, in a loop of one's own with a compiled step."""

import weft as wf
from weft import nn, optim
from weft.data import DataLoader


def main() -> float:
    train, test = wf.data.digits()
    wf.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @wf.compile
    def step(images, labels):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    loader = DataLoader(train, batch_size=64, shuffle=True, seed=0)
    for epoch in range(1, 31):
        losses = [step(images, labels) for images, labels in loader]
        if epoch % 10 == 0:
            print(f"epoch {epoch}: loss {sum(loss.item() for loss in losses) / len(losses):.3f}")

    accuracy = wf.metrics.Accuracy()
    with wf.no_grad():
        for images, labels in DataLoader(test, batch_size=128):
            accuracy.update(model(images), labels)
    print(f"right in {accuracy.compute():.1%} of the held-out scans")
    return accuracy.compute()


if __name__ == "__main__":
    main()
