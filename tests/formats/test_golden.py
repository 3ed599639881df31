"""Files written by an earlier Weft: what could be read once is read the same for ever.

`python tests/formats/test_golden.py` writes the files again: right when the format or a primitive has a new
version, and wrong when a change of the code made the old files unreadable unawares.
"""

from pathlib import Path

import numpy as np

import weft as wf
from weft.ir.dtype import ALL

FOLDER = Path(__file__).parent / "golden"


def state():
    """Every dtype and every kind of value that a checkpoint holds."""
    return {
        "tensors": {t.name: wf.tensor(np.arange(4).reshape(2, 2).astype(t.numpy)) for t in ALL},
        "scalar": wf.tensor(2.5),
        "empty": wf.tensor(np.zeros((0, 3), np.float32)),
        "values": [1, -2.5, float("inf"), 1 - 2j, True, None, "text, 文", wf.bfloat16, (1, (2,))],
        7: {"nested": {}},
    }


def program():
    """State that changes, an open dimension, a loop, a branch, a composite, constants, nested arguments."""
    w = wf.tensor(np.arange(6, dtype=np.float32).reshape(2, 3) / 8)
    count = wf.tensor(0)
    table = wf.tensor([1.0, 2.0, 3.0])

    @wf.compile
    def step(batch, scale, *, mode):
        x = batch["x"] @ w * scale
        total, steps = wf.scan(lambda c, row: (c + row, c * 2), wf.zeros((3,)), x)
        y = wf.cond(total.sum() > 0, lambda t: wf.tanh(t), lambda t: -t, total + table)
        count._cell.rebind((count + 1)._node)
        return {"y": y, "rows": (steps, wf.nn.functional.softmax(x, dim=1)), "mode": mode}

    return step.trace({"x": wf.spec((wf.Dim("n"), 2))}, 0.5, mode="train")


X = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.25]], np.float32)


def expected():
    x = X @ (np.arange(6, dtype=np.float32).reshape(2, 3) / 8) * np.float32(0.5)
    steps = [np.zeros(3, np.float32)]
    for row in x:
        steps.append(steps[-1] + row)
    e = np.exp(x - x.max(1, keepdims=True))
    total = steps[-1] + np.array([1, 2, 3], np.float32)
    return np.tanh(total), 2 * np.stack(steps[:-1]), e / e.sum(1, keepdims=True)


def test_the_state():
    found, wanted = wf.load(FOLDER / "state.weft"), state()
    assert list(found) == list(wanted) and found["values"] == wanted["values"] and found[7] == wanted[7]
    for name, t in wanted["tensors"].items():
        assert found["tensors"][name].dtype is t.dtype
        assert found["tensors"][name].numpy().tobytes() == t.numpy().tobytes()
    assert found["scalar"].item() == 2.5 and found["empty"].shape == (0, 3)


def test_the_program():
    loaded = wf.load(FOLDER / "program.weft")
    for _ in range(2):
        out = loaded({"x": X}, 0.5, mode="train")
    y, steps, soft = expected()
    np.testing.assert_allclose(out["y"].numpy(), y, rtol=1e-5)
    np.testing.assert_allclose(out["rows"][0].numpy(), steps, rtol=1e-5)
    np.testing.assert_allclose(out["rows"][1].numpy(), soft, rtol=1e-5)
    assert out["mode"] == "train"
    assert sorted(t.numpy().tolist() for t in loaded.state.values() if t.ndim == 0) == [2]


def test_what_is_written_now_is_what_was_written_then(tmp_path):
    wf.save(state(), tmp_path / "state.weft")
    assert (tmp_path / "state.weft").read_bytes() == (FOLDER / "state.weft").read_bytes()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    wf.save(state(), FOLDER / "state.weft")
    wf.save(program(), FOLDER / "program.weft")
