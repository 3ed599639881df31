"""Files of the published datasets in their true sizes and containers: read whole, cut short, exchanged, downloaded.

The pictures are made up, the files are byte for byte of the original form: IDX in gzip with the original's names and
magic numbers, and CIFAR's archive with its folder and the files beside the pictures.
"""

import gzip
import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest

from weft.base.errors import DataError
from weft.data import CIFAR10, MNIST, DataLoader, FashionMNIST

pytestmark = pytest.mark.slow

#: The heads of the original files: magic number, count, height, width.
HEADS = {
    "train-images-idx3-ubyte": "00000803 0000ea60 0000001c 0000001c",
    "train-labels-idx1-ubyte": "00000801 0000ea60",
    "t10k-images-idx3-ubyte": "00000803 00002710 0000001c 0000001c",
    "t10k-labels-idx1-ubyte": "00000801 00002710",
}
#: And their sizes, unpacked.
SIZES = dict(zip(HEADS, (47_040_016, 60_008, 7_840_016, 10_008), strict=True))


def labels(n, seed):
    return np.random.default_rng(seed).integers(0, 10, n, dtype=np.uint8)


def pictures(n, size, seed):
    """Pictures of which each tells its number, and which can be packed quickly."""
    out = np.zeros((n, size), np.uint8)
    out[:, :4] = (np.arange(n, dtype="<u4") + seed).view(np.uint8).reshape(n, 4)
    out[:, size // 2] = 255
    return out


def idx_file(name, seed):
    n = 60_000 if name.startswith("train") else 10_000
    content = pictures(n, 784, seed) if "images" in name else labels(n, seed)
    return bytes.fromhex(HEADS[name]) + content.tobytes()


@pytest.fixture(scope="module")
def published():
    """Names -> gzipped files, of each of the two datasets."""
    return {
        kind: {name: gzip.compress(idx_file(name, seed), 1, mtime=0) for name in HEADS}
        for kind, seed in ((MNIST, 1), (FashionMNIST, 2))
    }


@pytest.fixture(scope="module")
def digests(published):
    """Those of the files and, for one of the datasets, of what is in them."""
    found = {}
    for kind, files in published.items():
        how = hashlib.sha256 if kind is MNIST else hashlib.md5
        found[kind] = {
            name: (f"{how().name}:{how(zipped).hexdigest()}", None) for name, zipped in files.items()
        }
    for name, (outside, _) in found[MNIST].items():
        plain = hashlib.sha256(gzip.decompress(published[MNIST][name])).hexdigest()
        found[MNIST][name] = outside, f"sha256:{plain}"
    return found


@pytest.fixture
def known(published, digests, monkeypatch):
    """The made-up files taken for the published ones."""
    for kind in published:
        monkeypatch.setattr(kind, "digests", digests[kind])
    return published


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.gz").write_bytes(content)
    return folder


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
@pytest.mark.parametrize("train", [True, False])
def test_all_of_mnist(known, kind, train, tmp_path):
    put(tmp_path, known[kind])
    for name, size in SIZES.items():
        assert len(gzip.decompress(known[kind][name])) == size
    data = kind(tmp_path, train)
    n, seed = (60_000 if train else 10_000), (1 if kind is MNIST else 2)
    assert len(data) == n and data.data.shape == (n, 1, 28, 28) and data.data.dtype == np.uint8
    assert np.array_equal(data.targets, labels(n, seed))
    last = data.data[n - 1].reshape(-1)
    assert int(last[:4].view("<u4")[0]) == n - 1 + seed and last[392] == 255
    seen = 0
    for x, y in DataLoader(data, 7_000, num_workers=0):
        assert x.shape[1:] == (1, 28, 28) and x.numpy().max() == 1.0
        seen += len(y)
    assert seen == n


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: {"train-images-idx3-ubyte": f[MNIST]["train-images-idx3-ubyte"][:-1000]}, "truncated"),
        (lambda f: {"train-images-idx3-ubyte": f[MNIST]["train-images-idx3-ubyte"][:100_000]}, "truncated"),
        (
            lambda f: {"train-images-idx3-ubyte": f[MNIST]["t10k-images-idx3-ubyte"]},
            "is t10k-images-idx3-ubyte of MNIST, not train-images",
        ),
        (
            lambda f: {"train-labels-idx1-ubyte": f[MNIST]["train-images-idx3-ubyte"]},
            "is train-images-idx3-ubyte of MNIST, not train-labels",
        ),
        (
            lambda f: {"train-labels-idx1-ubyte": f[FashionMNIST]["train-labels-idx1-ubyte"]},
            "not the published train-labels|of FashionMNIST",
        ),
        (lambda f: {"train-labels-idx1-ubyte": b"<html>not found</html>"}, "begins with 3c 68 74 6d"),
    ],
    ids=["cut", "cut early", "part", "exchanged", "other dataset", "web page"],
)
def test_mnist_files_that_are_not_what_they_should_be(known, change, says, tmp_path):
    put(tmp_path, {**known[MNIST], **change(known)})
    with pytest.raises(DataError, match=says):
        MNIST(tmp_path)


def cifar_file(seed):
    content = np.zeros((10_000, 3073), np.uint8)
    content[:, 0] = labels(10_000, seed)
    content[:, 1:] = pictures(10_000, 3072, seed)
    return content.tobytes()


@pytest.fixture(scope="module")
def cifar():
    """`cifar-10-binary.tar.gz`: the folder, the names of classes, the pictures and a page about them."""
    file = io.BytesIO()
    others = {
        "batches.meta.txt": "\n".join(CIFAR10.classes).encode() + b"\n\n",
        "readme.html": b"<html></html>",
    }
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        files = {n: cifar_file(i) for i, n in enumerate((*CIFAR10.train_files, *CIFAR10.test_files))}
        for name, content in {**others, **files}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def known_cifar(cifar, monkeypatch):
    monkeypatch.setattr(CIFAR10, "digest", "sha256:" + hashlib.sha256(cifar).hexdigest())
    return cifar


def check_cifar(root, train):
    data = CIFAR10(root, train)
    n = 50_000 if train else 10_000
    assert data.data.shape == (n, 3, 32, 32)
    for i in range(n // 10_000):
        part = slice(10_000 * i, 10_000 * (i + 1))
        seed = i if train else 5
        assert np.array_equal(data.targets[part], labels(10_000, seed))
        assert np.array_equal(data.data[part].reshape(10_000, -1), pictures(10_000, 3072, seed))


def test_all_of_cifar(known_cifar, tmp_path):
    (tmp_path / CIFAR10.archive).write_bytes(known_cifar)
    check_cifar(tmp_path, True)
    assert all((tmp_path / CIFAR10.folder / n).stat().st_size == 30_730_000 for n in CIFAR10.train_files)
    (tmp_path / CIFAR10.archive).unlink()
    check_cifar(tmp_path, False)
    path = tmp_path / CIFAR10.folder / "data_batch_3.bin"
    whole = path.read_bytes()
    for content, says in (
        (whole[:-1], "10000 images of 3073 bytes each .30730000 bytes. and has 30729999"),
        (whole[: 3073 * 9_000], "has 27657000 bytes: it is truncated"),
        (np.zeros((10_000, 3074), np.uint8).tobytes(), "has 30740000 bytes"),  # CIFAR-100 has two labels
        (b"\x0b" + whole[1:], "label 0 is 11, there are 10"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"data_batch_3.bin.*{says}"):
            CIFAR10(tmp_path)
    path.write_bytes(whole)
    check_cifar(tmp_path, True)


def test_an_archive_that_is_cut_or_changed(known_cifar, tmp_path):
    path = tmp_path / CIFAR10.archive
    changed = bytearray(known_cifar)
    changed[len(changed) // 2] ^= 1
    for content in (known_cifar[:-100], bytes(changed)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"not the published archive.*digest should be"):
            CIFAR10(tmp_path)
        with pytest.raises(DataError, match="truncated or damaged"):
            CIFAR10(tmp_path, check=False)
        assert not list(tmp_path.glob(f"{CIFAR10.folder}/.*.part"))


def test_downloads_in_their_true_sizes(known, known_cifar, tmp_path, monkeypatch):
    """From a server of this machine, with the digests checked on the way; a second time nothing is asked for."""
    files = {f"/mnist/{name}.gz": content for name, content in known[MNIST].items()}
    files["/cifar.tar.gz"] = known_cifar
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(MNIST, "addresses", (address + "/mnist/",))
        monkeypatch.setattr(CIFAR10, "addresses", (address + "/cifar.tar.gz",))
        try:
            for _ in range(2):
                assert len(MNIST(tmp_path, download=True)) == 60_000
                assert len(MNIST(tmp_path, False, download=True)) == 10_000
                assert len(CIFAR10(tmp_path, download=True)) == 50_000
            assert sorted(asked) == sorted(files)
            # Somebody has changed a file on the server: nothing of it is kept.
            (tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz").unlink()
            files["/mnist/train-labels-idx1-ubyte.gz"] = known[FashionMNIST]["train-labels-idx1-ubyte"]
            with pytest.raises(DataError, match="is not the published file: its sha256 digest should be"):
                MNIST(tmp_path, download=True)
            assert len(list((tmp_path / "MNIST" / "raw").iterdir())) == 3
        finally:
            server.shutdown()
            thread.join()
