"""MNIST, Fashion-MNIST and CIFAR-10 from files: small ones of the same form, whole and broken."""

import gzip
import hashlib
import http.server
import io
import os
import struct
import tarfile
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.base.errors import DataError, FileError, MissingFileError
from weft.data import CIFAR10, MNIST, DataLoader, FashionMNIST, read_idx
from weft.data.download import download
from weft.data.idx import parse_idx


def idx(array):
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def digits(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


@pytest.fixture
def mnist(tmp_path):
    for part, n in (("train", 12), ("t10k", 5)):
        images, labels = digits(n)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5), ()])
def test_arrays_of_every_type(tmp_path, rng, dtype, shape):
    array = np.asarray(rng.normal(size=shape) * 50).astype(dtype)
    path = tmp_path / "a"
    for content in (idx(array), gzip.compress(idx(array))):
        path.write_bytes(content)
        found = read_idx(path)
        assert found.dtype == array.dtype and found.shape == shape and np.array_equal(found, array)


def test_mnist(mnist):
    images, labels = digits(12)
    data = MNIST(mnist, check=False)
    assert len(data) == 12 and data.data.shape == (12, 1, 28, 28) and data.targets.dtype == np.int64
    image, label = data[3]
    assert (
        image.shape == (1, 28, 28) and np.allclose(image.numpy()[0], images[3] / 255) and label == labels[3]
    )
    x, y = next(iter(DataLoader(data, 12)))
    assert (
        str(x.dtype) == "float32"
        and np.allclose(x.numpy()[:, 0], images / 255)
        and y.tolist() == labels.tolist()
    )
    changed = MNIST(mnist, False, lambda i: i[:, :14], lambda k: -k, check=False)
    assert len(changed) == 5 and changed[0][0].shape == (1, 14, 28) and changed[0][1] <= 0
    assert next(iter(DataLoader(changed, 2)))[0].shape == (2, 1, 14, 28)
    assert repr(data) == "MNIST(12 images (1, 28, 28))"


@pytest.mark.parametrize("folder", ["raw", "MNIST/raw"])
def test_where_files_may_lie(mnist, folder):
    (mnist / folder).mkdir(parents=True)
    for path in [p for p in mnist.iterdir() if p.is_file()]:
        path.rename(mnist / folder / path.name)
    assert len(MNIST(mnist, check=False)) == 12
    with pytest.raises(MissingFileError, match="download=True"):
        MNIST(mnist / "elsewhere")


def test_files_must_be_the_published_ones(mnist, monkeypatch):
    with pytest.raises(
        DataError, match=r"is not the published train-images.*should be sha256:ba89.*check=False"
    ):
        MNIST(mnist)
    known = {}
    for name in MNIST.digests:
        path = mnist / name
        content = path.read_bytes() if path.exists() else gzip.decompress((mnist / f"{name}.gz").read_bytes())
        known[name] = ("sha256:", "sha256:" + hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(MNIST, "digests", known)
    assert len(MNIST(mnist)) == 12 and len(MNIST(mnist, False)) == 5
    (mnist / "train-images-idx3-ubyte").write_bytes((mnist / "t10k-images-idx3-ubyte").read_bytes())
    with pytest.raises(DataError, match="is t10k-images-idx3-ubyte of MNIST, not train-images"):
        MNIST(mnist)


def test_fashion_mnist_is_known_by_its_compressed_files(mnist, monkeypatch):
    assert len(FashionMNIST(mnist, check=False)) == 12
    assert FashionMNIST.classes[9] == "Ankle boot"
    with pytest.raises(
        DataError, match="train-labels-idx1-ubyte of FashionMNIST: its digest should be md5:25c8"
    ):
        FashionMNIST(mnist)
    content = (mnist / "train-labels-idx1-ubyte.gz").read_bytes()
    name = "train-labels-idx1-ubyte"
    monkeypatch.setitem(FashionMNIST.digests, name, ("md5:" + hashlib.md5(content).hexdigest(), None))
    assert len(FashionMNIST(mnist)) == 12


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "train-images-idx3-ubyte",
            idx(digits(12)[1]),
            "should hold images.*holds uint8 of shape .12,.*exchanged",
        ),
        ("train-images-idx3-ubyte", idx(digits(11)[0]), "11 images and 12 labels"),
        (
            "train-images-idx3-ubyte",
            idx(digits(12)[0])[:-1],
            "needs 9408 bytes after its head, and there are 9407",
        ),
        ("train-images-idx3-ubyte", idx(digits(12)[0]) + b"x", "too long"),
        ("train-images-idx3-ubyte", idx(digits(12)[0])[:10], "truncated: 3 axes"),
        ("train-images-idx3-ubyte", b"", "begins with nothing"),
        ("train-images-idx3-ubyte", b"<html>", "begins with 3c 68 74 6d"),
        ("train-images-idx3-ubyte", b"\0\0\7\1\0\0\0\0", "0x07 is none of its types"),
        ("train-images-idx3-ubyte", idx(digits(12)[0].astype("i2")), "int16"),
        ("train-labels-idx1-ubyte", idx(np.arange(12, dtype=np.uint8)), "label 10 is 10, there are 10"),
        ("train-labels-idx1-ubyte", gzip.compress(idx(digits(12)[1]))[:-9], "truncated"),
        ("train-labels-idx1-ubyte", b"\x1f\x8b" + b"x" * 30, "damaged"),
    ],
    ids=range(12),  # their own names would hold the time at which they were compressed
)
def test_broken_files_are_named(mnist, name, content, says):
    (mnist / name).write_bytes(content)
    with pytest.raises(DataError, match=f"(?s){says}"):
        MNIST(mnist, check=False)


@settings(max_examples=200)
@given(data=st.data(), zipped=st.booleans())
def test_cut_or_altered_a_file_is_read_or_named(tmp_path_factory, data, zipped):
    whole = idx(digits(3)[0][:, :5, :5].copy())
    whole = gzip.compress(whole, mtime=0) if zipped else whole
    content = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(content)
    try:
        read_idx(path)
    except DataError as e:
        assert "fuzz" in str(e)
    else:
        assert len(content) == len(whole)


def test_announced_sizes_are_not_believed():
    with pytest.raises(DataError, match="needs 18446744065119617025 bytes"):
        parse_idx(b"\0\0\x08\x02" + b"\xff" * 8 + b"data", "huge")


# -- CIFAR-10 -----------------------------------------------------------------------------------------------


def cifar(n, seed=0):
    rng = np.random.default_rng(seed)
    labels, images = (
        rng.integers(0, 10, n, dtype=np.uint8),
        rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8),
    )
    return images, labels, np.concatenate([labels[:, None], images.reshape(n, -1)], 1).tobytes()


def archive(n=4, leave_out=(), mode="w:gz"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for i, name in enumerate((*CIFAR10.train_files, *CIFAR10.test_files)):
            if name not in leave_out:
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                content = cifar(n, i)[2]
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i, name in enumerate((*CIFAR10.train_files, *CIFAR10.test_files)):
        (folder / name).write_bytes(cifar(4, i)[2])
    return tmp_path


def test_cifar(pictures):
    data = CIFAR10(pictures, check=False)
    images, labels, _ = cifar(4, 1)
    assert (
        len(data) == 20
        and np.array_equal(data.data[4:8], images)
        and data.targets[4:8].tolist() == labels.tolist()
    )
    x, _ = next(iter(DataLoader(CIFAR10(pictures, False, check=False), 4)))
    assert x.shape == (4, 3, 32, 32) and np.allclose(x.numpy(), cifar(4, 5)[0] / 255)
    with pytest.raises(DataError, match=r"10000 images of 3073 bytes each .30730000 bytes. and has 12292"):
        CIFAR10(pictures)


def test_cifar_from_its_archive(tmp_path, monkeypatch):
    path = tmp_path / CIFAR10.archive
    path.write_bytes(archive())
    with pytest.raises(DataError, match="not the published archive: its sha256 digest should be c4a38c50"):
        CIFAR10(tmp_path)
    assert not (tmp_path / CIFAR10.folder).exists()
    assert len(CIFAR10(tmp_path, check=False)) == 20
    assert sorted(p.name for p in (tmp_path / CIFAR10.folder).iterdir()) == sorted(
        [*CIFAR10.train_files, *CIFAR10.test_files]
    )
    path.unlink()
    assert len(CIFAR10(tmp_path, False, check=False)) == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (archive()[:9000], "truncated or damaged"),
        (b"no archive", "truncated or damaged"),
        (archive(leave_out=["test_batch.bin"]), "does not hold test_batch.bin"),
    ],
    ids=["short", "other", "lacking"],
)
def test_broken_archives(tmp_path, content, says):
    (tmp_path / CIFAR10.archive).write_bytes(content)
    with pytest.raises(DataError, match=says):
        CIFAR10(tmp_path, check=False)
    with pytest.raises(MissingFileError, match="neither"):
        CIFAR10(tmp_path / "none")


@settings(max_examples=60)
@given(cut=st.integers(0, 3 * 3073), at=st.integers(0, 3 * 3073 - 1), byte=st.integers(0, 255))
def test_cut_or_altered_pictures_are_read_or_named(tmp_path_factory, cut, at, byte):
    folder = tmp_path_factory.getbasetemp() / "cifar"
    folder.mkdir(exist_ok=True)
    content = bytearray(cifar(3)[2])
    content[at] = byte
    (folder / "test_batch.bin").write_bytes(content[:cut])
    try:
        assert len(CIFAR10(folder, False, check=False)) == cut // 3073 and cut % 3073 == 0
    except DataError as e:
        assert "test_batch.bin" in str(e)


# -- downloads ----------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    """A server on this machine: path -> bytes, or (bytes, announced length)."""
    files = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = files.get(self.path)
            if found is None:
                self.send_error(404)
                return
            content, length = found if isinstance(found, tuple) else (found, len(found))
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", files
        running.shutdown()
        thread.join()


def test_a_download(server, tmp_path):
    address, files = server
    files["/b"] = b"content" * 1000
    digest = "md5:" + hashlib.md5(files["/b"]).hexdigest()
    path = tmp_path / "deep" / "file"
    download([address + "/a", address + "/b"], str(path), digest)
    assert path.read_bytes() == files["/b"] and os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"another", r"its md5 digest should be 0000 and is [0-9a-f]{32} \(7 bytes\); nothing was kept"),
        ((b"half", 100), "the connection (ended after 4 of 100 bytes|broke)"),
        (None, "cannot be downloaded.*Not Found.*put it into"),
    ],
)
def test_a_download_that_fails_leaves_nothing(server, tmp_path, content, says):
    address, files = server
    if content is not None:
        files["/x"] = content
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(DataError, match=says):
        download([address + "/x"], str(path), "md5:0000")
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["file"]


def test_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(MNIST, "addresses", ("http://127.0.0.1:9/",))
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte.gz cannot be downloaded .*[Rr]efused.*put it into"
    ):
        MNIST(tmp_path, download=True)
    assert not [f for _, _, files in os.walk(tmp_path) for f in files]


def test_datasets_download_what_is_missing(server, tmp_path, monkeypatch, mnist):
    address, files = server
    known = {}
    for name in MNIST.digests:
        path = mnist / name
        content = path.read_bytes() if path.exists() else gzip.decompress((mnist / f"{name}.gz").read_bytes())
        zipped = gzip.compress(content)
        files[f"/{name}.gz"] = zipped
        known[name] = tuple("sha256:" + hashlib.sha256(c).hexdigest() for c in (zipped, content))
    monkeypatch.setattr(MNIST, "digests", known)
    monkeypatch.setattr(MNIST, "addresses", (address + "/",))
    new = tmp_path / "new"
    assert len(MNIST(new, download=True)) == 12
    assert sorted(os.listdir(new / "MNIST" / "raw")) == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]
    files.clear()
    assert len(MNIST(new, download=True)) == 12  # they are there
    files["/c.tar.gz"] = archive()
    monkeypatch.setattr(CIFAR10, "addresses", (address + "/c.tar.gz",))
    monkeypatch.setattr(CIFAR10, "digest", "sha256:" + hashlib.sha256(files["/c.tar.gz"]).hexdigest())
    with pytest.raises(DataError, match="10000 images"):
        CIFAR10(new, download=True)
    assert len(CIFAR10(new, check=False)) == 20


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot make the folder"):
        download(["http://127.0.0.1:9/"], str(tmp_path / "file" / "inside" / "x"), "md5:0")
