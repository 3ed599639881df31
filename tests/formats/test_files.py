"""`save` and `load`: checkpoints, weights, state of models."""

import json
import math
import os
import threading

import numpy as np
import pytest

import weft.formats as f
from weft.arrays.creation import tensor
from weft.arrays.tensor import Tensor
from weft.base.errors import ArgumentError, FileError, FormatError
from weft.formats import container
from weft.ir.dtype import ALL, bfloat16


class Model:
    """Anything with a state_dict can be saved."""

    def __init__(self, size=2):
        self.weight = tensor(np.ones((size, 3), np.float32))

    def state_dict(self):
        return {"weight": self.weight, "layer.bias": tensor([1.0, 2.0])}


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, Tensor):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.numpy().tobytes() == b.numpy().tobytes()
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for k in a:
            same(a[k], b[k])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    elif isinstance(a, float) and math.isnan(a):
        assert math.isnan(b)
    else:
        assert a == b


TREES = [
    {"a": tensor([1.0, 2.0]), "b": {"c": tensor(3), "d": [tensor([True]), 1, 2.5]}},
    {"epoch": 3, "best": 0.1, "name": "run", "none": None, "flag": True, "inf": math.inf, "nan": math.nan},
    {
        "state": {0: {"step": 3, "m": tensor([1.0])}, 1: {}},
        "param_groups": [{"betas": (0.9, 0.999), "params": [0, 1]}],
    },
    [tensor(1.0), (tensor([2]), [])],
    {"dtype": bfloat16, "z": 1 + 2j, "empty": {}, "nothing": ()},
    {"a.b": tensor(1.0), "a": {"b": tensor(2.0)}, "__metadata__": tensor(3.0)},
    {d.name: tensor(np.arange(3).astype(d.numpy)) for d in ALL},
    {"scalar": tensor(1.5), "zero": tensor(np.zeros((0, 4), np.float32)), "c": tensor(np.complex64(1j))},
    {"large": 10**30, "deep": {"x": {"y": {"z": [[[[tensor(1)]]]]}}}},
]


@pytest.mark.parametrize("tree", TREES, ids=range(len(TREES)))
def test_checkpoints_come_back(tmp_path, tree):
    f.save(tree, tmp_path / "c.weft")
    same(f.load(tmp_path / "c.weft"), tree)


def test_pending_tensors_are_computed(tmp_path):
    f.save({"x": tensor([1.0, 2.0]) * 2}, tmp_path / "c.weft")
    assert f.load(tmp_path / "c.weft")["x"].numpy().tolist() == [2.0, 4.0]


def test_loaded_tensors_are_their_own(tmp_path):
    x = tensor([1.0, 2.0])
    f.save({"x": x}, tmp_path / "c.weft")
    y = f.load(tmp_path / "c.weft")["x"]
    y += 1
    y.requires_grad = True
    assert x.numpy().tolist() == [1.0, 2.0]
    assert f.load(tmp_path / "c.weft")["x"].numpy().tolist() == [1.0, 2.0]


def test_a_single_tensor_and_numpy_arrays(tmp_path):
    f.save(tensor([1.0]), tmp_path / "c.weft")
    assert f.load(tmp_path / "c.weft").numpy().tolist() == [1.0]
    f.save({"x": np.arange(3), "n": np.int64(3), "m": np.float32(0.5)}, tmp_path / "c.weft")
    found = f.load(tmp_path / "c.weft")
    assert found["x"].numpy().tolist() == [0, 1, 2]
    assert found["n"] == 3 and type(found["n"]) is int
    assert found["m"].item() == 0.5 and found["m"].dtype.name == "float32"


def test_state_of_an_object(tmp_path):
    f.save(Model(), tmp_path / "m.weft")
    state = f.load(tmp_path / "m.weft")
    assert list(state) == ["weight", "layer.bias"]
    assert state.class_name == "Model"
    f.save(Model(), tmp_path / "again.weft")
    f.save(Model(5), tmp_path / "other.weft")
    assert f.load(tmp_path / "again.weft").fingerprint == state.fingerprint
    assert f.load(tmp_path / "other.weft").fingerprint != state.fingerprint


def test_objects_inside_a_checkpoint(tmp_path):
    f.save({"model": Model(), "epoch": 2}, tmp_path / "c.weft")
    found = f.load(tmp_path / "c.weft")
    assert found["epoch"] == 2
    assert found["model"]["weight"].shape == (2, 3)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        ({"a": {"b": object()}}, "'a.b' is a object, which a file cannot hold"),
        ({"a": [1, lambda: 0]}, "'a.1' is a function"),
        ({"a": {(1, 2): 3}}, r"the key \(1, 2\) in 'a' cannot be saved"),
        ({"a": {1.5: 3}}, "keys are texts or integers"),
        ({"a": int}, "'a' is the class int"),
        ({"a": b"bytes"}, "'a' is a bytes"),
        ({"a": [np.array(["x"])]}, "'a.0' is an array of <U1, which a file cannot hold"),
        ({"a": np.array([None])}, "'a' is an array of object"),
        (3, "save takes a module"),
        ("text", "save takes a module"),
        (None, "save takes a module"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path, thing, message):
    with pytest.raises(ArgumentError, match=message):
        f.save(thing, tmp_path / "c.weft")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", [3, None, "", b"c.weft", "a\0b", 1.5, ["c.weft"]])
def test_what_is_no_path(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    for use in (
        lambda: f.save({}, path),
        lambda: f.load(path),
        lambda: f.load_program(path),
        lambda: f.load_weights(path),
    ):
        with pytest.raises(ArgumentError, match="a file's path must be a text"):
            use()
    assert os.listdir(tmp_path) == []


def test_relative_paths_and_path_objects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    f.save({"n": 1}, "c.weft")
    f.save({"n": 2}, tmp_path / "d.weft")
    assert f.load("c.weft") == {"n": 1} and f.load(tmp_path / "d.weft") == {"n": 2}


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(FileError, match="that is a folder"):
        f.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.weft"):
        f.load(tmp_path / "nothing.weft")
    with pytest.raises(FileNotFoundError):
        f.save({}, tmp_path / "nowhere" / "c.weft")


def test_a_tree_that_contains_itself(tmp_path):
    loop = {}
    loop["again"] = loop
    with pytest.raises(ArgumentError, match="contains itself"):
        f.save(loop, tmp_path / "c.weft")


def test_an_error_while_saving_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.weft"
    f.save({"x": tensor([1.0])}, path)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(FileError, match="disk is full"):
        f.save({"x": tensor([2.0])}, path)
    assert f.load(path)["x"].item() == 1.0
    assert os.listdir(tmp_path) == ["c.weft"]


def test_weights(tmp_path):
    state = {
        "w": tensor(np.ones((2, 3), np.float32)),
        "b": tensor(np.zeros(3)),
        "z": tensor(np.array([1 + 1j])),
    }
    f.save_weights(state, tmp_path / "w.safetensors")
    for found in (f.load_weights(tmp_path / "w.safetensors"), f.load(tmp_path / "w.safetensors")):
        same(found, dict(sorted(state.items())))
    with pytest.raises(ArgumentError, match="'n' is a int"):
        f.save_weights({"n": 3}, tmp_path / "w.safetensors")
    with pytest.raises(ArgumentError, match="takes a dict"):
        f.save_weights([tensor(1)], tmp_path / "w.safetensors")


def test_a_file_of_another_kind(tmp_path):
    container.write(tmp_path / "x", {}, "tokenizer", {})
    with pytest.raises(FormatError, match="holds a 'tokenizer'"):
        f.load(tmp_path / "x")
    f.save({"a": tensor(1)}, tmp_path / "s")
    with pytest.raises(FormatError, match="holds no program but state"):
        f.load_program(tmp_path / "s")


@pytest.mark.parametrize(
    "skeleton",
    [
        "", "{", "[" * 5000, '{"tensor": "nothing"}', '{"tensor": []}', '{"dict": 3}', '{"dict": [[1]]}',
        '{"dict": [[[], 1]]}', '{"dtype": "float3"}', '{"float": "x"}', '{"complex": []}', '{"new": 1}', "{}",
        '{"a": 1, "b": 2}', '{"tuple": 3}', "[" * 200 + "]" * 200,
    ],
)  # fmt: skip
def test_skeletons_that_are_damaged(tmp_path, skeleton):
    container.write(tmp_path / "x", {"t": np.ones(2)}, "state", {"weft.tree": skeleton})
    with pytest.raises(FormatError):
        f.load(tmp_path / "x")


def test_a_reader_during_many_saves(tmp_path):
    """Whoever loads sees a whole checkpoint, the old one or the new one."""
    path = tmp_path / "c.weft"
    f.save({"n": 0, "x": tensor(np.zeros(1000))}, path)
    errors, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            found = f.load(path)
            if found["x"].numpy().tolist() != [float(found["n"])] * 1000:
                errors.append(found["n"])

    reader = threading.Thread(target=look)
    reader.start()
    for n in range(20):
        f.save({"n": n, "x": tensor(np.full(1000, float(n)))}, path)
    stop.set()
    reader.join()
    assert errors == []


def test_metadata_is_plain_json(tmp_path):
    f.save({"x": tensor([1.0]), "bad": math.nan}, tmp_path / "c.weft")
    tree = container.read(tmp_path / "c.weft").metadata["weft.tree"]
    json.loads(tree, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
