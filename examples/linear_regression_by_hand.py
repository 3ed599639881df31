"""The same with plain tensors: no model, no optimiser, the update written out. Stops at the least-squares solution."""

import numpy as np

import weft as wf


def main() -> tuple[float, float]:
    rng = np.random.default_rng(0)
    data = rng.uniform(-2, 2, size=200).astype(np.float32)
    x = wf.tensor(data)
    y = wf.tensor(3 * data - 2 + 0.1 * rng.normal(size=200).astype(np.float32))

    a = wf.tensor(0.0, requires_grad=True)
    b = wf.tensor(0.0, requires_grad=True)
    for step in range(200):
        loss = wf.mean((a * x + b - y) ** 2)
        loss.backward()
        with wf.no_grad():
            a -= 0.1 * a.grad
            b -= 0.1 * b.grad
        a.grad = b.grad = None
        if step % 50 == 0:
            print(f"step {step:3}: loss {loss.item():.4f}")

    print(f"y = {a.item():.3f} x {b.item():+.3f}   (the points were made with y = 3 x - 2)")
    return a.item(), b.item()


if __name__ == "__main__":
    main()
