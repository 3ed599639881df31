"""The safetensors container: against the safetensors library, and against damage."""

import hashlib
import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.base.errors import ArgumentError, FormatError, MissingFileError
from weft.formats import container
from weft.ir.dtype import ALL

ARRAYS = {
    **{d.name: np.arange(6).reshape(2, 3).astype(d.numpy) for d in ALL},
    "scalar": np.float32(2.5).reshape(()),
    "scalar complex": np.complex64(1 + 2j).reshape(()),
    "empty": np.zeros((0, 3), np.float32),
    "empty complex": np.zeros((2, 0), np.complex128),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "strided": np.arange(24)[::2].reshape(3, 4)[:, ::-1],
    "big-endian": np.arange(4, dtype=">i4"),
    "nan": np.array([np.nan, -0.0, np.inf, 5e-324]),
    "a.b/c 数": np.ones(1),
}


def written(tmp_path, tensors=ARRAYS, **metadata):
    path = tmp_path / "file.safetensors"
    container.write(path, tensors, "weights", metadata)
    return path


def test_round_trip(tmp_path):
    content = container.read(written(tmp_path, note="by hand"))
    assert content.metadata["note"] == "by hand"
    assert content.kind == "weights"
    assert content.tensors.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        found = content.tensors[name]
        assert found.dtype == array.dtype.newbyteorder("="), name
        assert found.shape == array.shape, name
        assert found.tobytes() == array.astype(found.dtype).tobytes(), name
        assert found.flags.c_contiguous and found.flags.writeable


def test_nothing_at_all(tmp_path):
    content = container.read(written(tmp_path, {}))
    assert content.tensors == {}


def test_the_library_reads_what_weft_writes(tmp_path):
    safetensors = pytest.importorskip("safetensors")
    path = written(tmp_path)
    found = dict(safetensors.deserialize(path.read_bytes()))
    assert found.keys() == ARRAYS.keys()
    assert found["bfloat16"]["dtype"] == "BF16"
    assert bytes(found["bfloat16"]["data"]) == ARRAYS["bfloat16"].tobytes()
    assert found["scalar"]["shape"] == []
    assert found["complex64"]["shape"] == [2, 3, 2]
    with safetensors.safe_open(path, "np") as file:
        np.testing.assert_array_equal(file.get_tensor("float32"), ARRAYS["float32"])
        assert file.metadata()["weft.kind"] == "weights"


def test_weft_reads_what_the_library_writes(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    tensors = {k: ARRAYS[k] for k in ("float32", "int64", "bool", "scalar", "empty", "uint8")}
    path = tmp_path / "other.safetensors"
    library.save_file({k: np.array(v) for k, v in tensors.items()}, path)
    content = container.read(path)
    assert content.kind is None
    for name, array in tensors.items():
        np.testing.assert_array_equal(content.tensors[name], array)


def test_elements_are_aligned_and_the_digest_is_as_documented(tmp_path):
    data = written(tmp_path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    for name, entry in header.items():
        if name != "__metadata__":
            width = int("".join(filter(str.isdigit, entry["dtype"])) or 8) // 8
            assert entry["data_offsets"][0] % width == 0, name
    digest = header["__metadata__"].pop("weft.digest")
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(text + data[8 + length :]).hexdigest() == digest


@pytest.mark.parametrize("name", ["__metadata__", 3, "\ud800"])
def test_names_that_cannot_be_written(tmp_path, name):
    with pytest.raises(ArgumentError):
        written(tmp_path, {name: np.ones(1)})
    assert list(tmp_path.iterdir()) == []


def test_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match=r"nothing\.safetensors"):
        container.read(tmp_path / "nothing.safetensors")


# -- damage ---------------------------------------------------------------------------------------------------


def good_bytes():
    header = {"__metadata__": {"weft.format": "1", "weft.kind": "weights"},
              "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
              "b": {"dtype": "U8", "shape": [3], "data_offsets": [16, 19]}}  # fmt: skip
    body = bytes(range(19))
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    header["__metadata__"]["weft.digest"] = hashlib.sha256(text + body).hexdigest()
    return pack(header, body)


def pack(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


GOOD = good_bytes()


def test_the_hand_made_file_is_good():
    assert container.read_bytes(GOOD).tensors["a"].shape == (2, 2)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_every_changed_byte_is_found(at, change):
    data = bytearray(GOOD)
    data[at] ^= change
    with pytest.raises(FormatError):
        container.read_bytes(bytes(data))


def test_every_truncation_is_found():
    for length in range(len(GOOD)):
        with pytest.raises(FormatError):
            container.read_bytes(GOOD[:length])


@given(st.binary(min_size=1, max_size=40))
def test_anything_appended_is_found(more):
    with pytest.raises(FormatError):
        container.read_bytes(GOOD + more)


@given(st.binary(max_size=300))
def test_garbage_is_refused(data):
    with pytest.raises(FormatError):
        container.read_bytes(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), json_values), st.binary(max_size=8))
def test_headers_of_any_content_are_refused_or_read(header, body):
    try:
        container.read_bytes(pack(header, body))
    except FormatError:
        pass


def entry(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (entry(dtype="F4"), "element type 'F4'"),
        (entry(dtype=[]), "element type"),
        (entry(shape=[3]), "8 bytes for shape"),
        (entry(shape=[-2]), "not made of sizes"),
        (entry(shape=[True, 2]), "not made of sizes"),
        (entry(shape=[2.0]), "not made of sizes"),
        (entry(shape=[2**70]), "not made of sizes"),
        (entry(shape=[0, 2**61, 2**61], data_offsets=[0, 0]), "no memory holds"),
        (entry(shape=[1] * 65), "not made of sizes"),
        (entry(data_offsets=[8, 16]), "does not begin"),
        (entry(data_offsets=[8, 0]), "-8 bytes"),
        (entry(data_offsets=[0]), "not made of sizes"),
        (entry(extra=1), "not a tensor's"),
        ({"a": 3}, "not a tensor's"),
        ({"a": entry()["a"], "b": entry()["a"]}, "does not begin"),
        ({"__metadata__": {"k": 1}}, "does not describe"),
        ({"__metadata__": []}, "does not describe"),
        ([], "does not describe"),
        (b'{"a": {}, "a": {}}', "occurs twice"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"1" * 10_000, "not JSON"),
        (entry(), "followed by something else"),
    ],
)
def test_headers_that_do_not_fit(header, message):
    with pytest.raises(FormatError, match=message):
        container.read_bytes(pack(header, b"\0" * (8 if header != entry() else 12)))


@pytest.mark.parametrize("version", ["2", "10"])
def test_a_newer_format_says_so(version):
    with pytest.raises(FormatError, match="a newer Weft can read it"):
        container.read_bytes(pack({"__metadata__": {"weft.format": version}}))


@pytest.mark.parametrize("listed", ["[1]", '["b"]', "3", "[[]]", "nonsense", '["a"]', '{"a": []}'])
def test_wrong_lists_of_complex_tensors(listed):
    header = {
        "__metadata__": {"weft.complex": listed, "weft.format": "1", "weft.kind": "weights"},
        **entry(shape=[2, 1]),
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    header["__metadata__"]["weft.digest"] = hashlib.sha256(text + bytes(8)).hexdigest()
    with pytest.raises(FormatError, match="complex"):
        container.read_bytes(pack(header, bytes(8)))


def test_booleans_from_elsewhere_are_made_clean():
    found = container.read_bytes(pack(entry(dtype="BOOL", shape=[3], data_offsets=[0, 3]), b"\x00\x01\x07"))
    assert found.tensors["a"].view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04" + b"archive/data.pkl" * 20, "pickled Python objects"),
        (b"PK\x03\x04" + b"weights.npy" * 20, "numpy.load"),
        (b"\x80\x02}q\x00." + b"\0" * 20, "is a pickle"),
        (b"\x80\x05\x95\x00\x00\x00\x00\x00\x00\x00.", "is a pickle"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "HDF5"),
        (b"\x93NUMPY\x01\x00" + b"\0" * 50, "numpy.load"),
        (b"GGUF\x03\0\0\0" + b"\0" * 50, "GGUF"),
    ],
)
def test_files_of_other_frameworks(data, message):
    with pytest.raises(FormatError, match=message):
        container.read_bytes(data)


def test_a_pickle_is_never_run(tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return exec, ("raise SystemExit('ran')",)

    path = tmp_path / "model.pt"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Trap(), protocol=protocol))
        with pytest.raises(FormatError, match="pickle"):
            container.read(path)


def test_checkpoints_of_torch_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(3)}, path)
    with pytest.raises(FormatError, match="Save it there as safetensors"):
        container.read(path)


def test_bfloat16_keeps_its_bits(tmp_path):
    bits = np.arange(0, 2**16, 17, dtype=np.uint16)
    path = written(tmp_path, {"x": bits.view(ml_dtypes.bfloat16)})
    np.testing.assert_array_equal(container.read(path).tensors["x"].view(np.uint16), bits)
