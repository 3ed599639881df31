"""MNIST, Fashion-MNIST and CIFAR-10 from the files in which they were published."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..base.atomic import file_error, path_text, replacing
from ..base.errors import DataError, MissingFileError
from .dataset import Dataset, rows, to_tensor
from .download import digest_of, download
from .idx import parse_idx, read_bytes


class LabelledImages(Dataset):
    """Images uint8 (n, channels, height, width) in `data` and labels int64 in `targets`.

    Sample i is (image, label): the image as float32 from 0 to 1, or what `transform` makes of it as uint8.
    """

    classes: tuple[str, ...] = ()

    def __init__(
        self,
        data: np.ndarray,
        targets: np.ndarray,
        transform: Callable[[Any], Any] | None,
        target_transform: Callable[[int], Any] | None,
    ) -> None:
        self.data, self.targets = data, targets
        self.transform, self.target_transform = transform, target_transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        i = self.check_index(index)
        image = to_tensor(_scaled(self.data[i])) if self.transform is None else self.transform(self.data[i])
        label = int(self.targets[i])
        return image, label if self.target_transform is None else self.target_transform(label)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, ...] | None:
        if self.transform is not None or self.target_transform is not None:
            return None
        return _scaled(rows(self.data, indices)), rows(self.targets, indices)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images {self.data.shape[1:]})"


def _scaled(image: np.ndarray) -> np.ndarray:
    return np.multiply(image, np.float32(1 / 255), dtype=np.float32)


# -- MNIST and its relative ---------------------------------------------------------------------------------


class MNIST(LabelledImages):
    """The MNIST database: 60,000 handwritten digits to train on (`train=True`) and 10,000 for the test, 28 x 28.

    Args:
        root: a folder with the four original files (`train-images-idx3-ubyte` and so on, plain or with .gz), in itself,
            in `raw` or in `MNIST/raw`.
        transform: called with each image, uint8 (1, 28, 28).
        target_transform: called with each label.
        download: get missing files from the network, into `MNIST/raw`.
        check: whether the files must be the published ones, by their digests. Without it, files of the same form
            with other content will do.

    Raises `DataError` for files that are truncated, altered, exchanged or of another dataset.

    Data: Y. LeCun, C. Cortes, C. J. C. Burges, *The MNIST database of handwritten digits*.
    """

    classes = tuple("0123456789")
    title = "MNIST"
    addresses = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    #: Of each file, the digests of the gzipped one and (where it is known) of what is in it.
    digests = {
        "train-images-idx3-ubyte": (
            "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        "train-labels-idx1-ubyte": (
            "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        "t10k-images-idx3-ubyte": (
            "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        "t10k-labels-idx1-ubyte": (
            "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    }

    def __init__(
        self,
        root: Any,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = False,
        *,
        check: bool = True,
    ) -> None:
        self.root, self.train = path_text(root), train
        part = "train" if train else "t10k"
        images = self._array(f"{part}-images-idx3-ubyte", download, check)
        labels = self._array(f"{part}-labels-idx1-ubyte", download, check)
        _expect(images, 3, self.title, f"{part}-images-idx3-ubyte", "images (n, height, width)")
        _expect(labels, 1, self.title, f"{part}-labels-idx1-ubyte", "labels (n,)")
        if len(images) != len(labels):
            raise DataError(
                f"{self.title} in {self.root}: {len(images)} images and {len(labels)} labels; the files do not belong "
                "together"
            )
        if len(labels) and labels.max() >= len(self.classes):
            at = int(np.argmax(labels >= len(self.classes)))
            raise DataError(
                f"{self.title} in {self.root}: label {at} is {labels[at]}, there are {len(self.classes)}"
            )
        super().__init__(images[:, None], labels.astype(np.int64), transform, target_transform)

    def _array(self, name: str, may_download: bool, check: bool) -> np.ndarray:
        path = self._find(name)
        if path is None:
            target = os.path.join(self.root, self.title, "raw", name + ".gz")
            if not may_download:
                raise MissingFileError(
                    f"{self.title}: {name} or {name}.gz is not in {self.root} (nor in {self.title}/raw there); put it "
                    "there, or use download=True where there is a network"
                )
            download([a + name + ".gz" for a in self.addresses], target, self.digests[name][0])
            path = target
        content = read_bytes(path)
        if check:
            self._check(name, path, content)
        return parse_idx(content, path)

    def _find(self, name: str) -> str | None:
        for folder in ("", "raw", os.path.join(self.title, "raw")):
            for form in (name, name.replace("-idx", ".idx")):
                for ending in ("", ".gz"):
                    path = os.path.join(self.root, folder, form + ending)
                    if os.path.isfile(path):
                        return path
        return None

    def _check(self, name: str, path: str, content: bytes) -> None:
        zipped, plain = self.digests[name]
        if plain is not None:
            known, found = plain, "sha256:" + digest_of(content, "sha256")
        elif path.endswith(".gz"):
            kind = zipped.partition(":")[0]
            known, found = zipped, f"{kind}:{digest_of(path, kind)}"
        else:
            return  # of the plain file no digest was published: its form must do
        if found == known:
            return
        for other in (MNIST, FashionMNIST):
            for title, digests in other.digests.items():
                if found in digests:
                    raise DataError(f"{path} is {title} of {other.title}, not {name} of {self.title}")
        parse_idx(content, path)  # says more, if the form is broken too
        raise DataError(
            f"{path} is not the published {name} of {self.title}: its digest should be {known} and is {found}; get it "
            "anew, or use check=False for data of your own in this form"
        )


class FashionMNIST(MNIST):
    """Fashion-MNIST: 60,000 pictures of clothes to train on and 10,000 for the test, 28 x 28, in the files of MNIST.

    The arguments are those of `MNIST`; files may also lie in `FashionMNIST/raw`.

    Data: H. Xiao, K. Rasul, R. Vollgraf, *Fashion-MNIST*, 2017, arXiv:1708.07747 (MIT licence).
    """

    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    title = "FashionMNIST"
    addresses = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    digests = {
        "train-images-idx3-ubyte": ("md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d", None),
        "train-labels-idx1-ubyte": ("md5:25c81989df183df01b3e8a0aad5dffbe", None),
        "t10k-images-idx3-ubyte": ("md5:bef4ecab320f06d8554ea6380940ec79", None),
        "t10k-labels-idx1-ubyte": ("md5:bb300cfdad3c16e7a12a480ee83cd310", None),
    }


def _expect(array: np.ndarray, axes: int, title: str, name: str, what: str) -> None:
    if array.ndim != axes or array.dtype != np.uint8 or (axes == 3 and 0 in array.shape[1:]):
        raise DataError(
            f"{title}: {name} should hold {what} of bytes, and holds {array.dtype} of shape {array.shape}; are the "
            "files exchanged?"
        )


# -- CIFAR-10 -----------------------------------------------------------------------------------------------


class CIFAR10(LabelledImages):
    """CIFAR-10: 50,000 colour pictures of ten kinds to train on (`train=True`) and 10,000 for the test, 32 x 32.

    Args:
        root: a folder with the binary version (`data_batch_1.bin` to `data_batch_5.bin`, `test_batch.bin`),
            in itself or in `cifar-10-batches-bin`, or with `cifar-10-binary.tar.gz`, which is unpacked there.
        transform: called with each image, uint8 (3, 32, 32).
        target_transform: called with each label.
        download: get the archive from the network if neither is there.
        check: whether the archive must be the published one, by its digest, and each file must have 10,000 images.

    Raises `DataError` for files that are truncated or hold anything else.

    Data: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
    """

    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    archive = "cifar-10-binary.tar.gz"
    folder = "cifar-10-batches-bin"
    addresses = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",)
    digest = "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    train_files = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    test_files = ("test_batch.bin",)
    shape = (3, 32, 32)

    def __init__(
        self,
        root: Any,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = False,
        *,
        check: bool = True,
    ) -> None:
        self.root, self.train = path_text(root), train
        names = self.train_files if train else self.test_files
        if not all(self._find(n) for n in names):
            self._unpack(download, check)
        parts = [self._read(n, check) for n in names]
        images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        super().__init__(images, labels, transform, target_transform)

    def _find(self, name: str) -> str | None:
        found = [os.path.join(self.root, folder, name) for folder in ("", self.folder)]
        return next((path for path in found if os.path.isfile(path)), None)

    def _unpack(self, may_download: bool, check: bool) -> None:
        path = os.path.join(self.root, self.archive)
        if not os.path.isfile(path):
            if not may_download:
                raise MissingFileError(
                    f"CIFAR10: neither {self.archive} nor the folder {self.folder} with its files is in {self.root}; "
                    "put one of them there, or use download=True where there is a network"
                )
            download(self.addresses, path, self.digest)
        elif check:
            kind, _, expected = self.digest.partition(":")
            found = digest_of(path, kind)
            if found != expected:
                raise DataError(
                    f"{path} is not the published archive: its {kind} digest should be {expected} and is {found}; get "
                    "it anew, or use check=False"
                )
        _extract(path, os.path.join(self.root, self.folder), (*self.train_files, *self.test_files))

    def _read(self, name: str, check: bool) -> tuple[np.ndarray, np.ndarray]:
        path = self._find(name)
        assert path is not None
        content = np.frombuffer(read_bytes(path), np.uint8)
        size = 1 + int(np.prod(self.shape))
        count, rest = divmod(len(content), size)
        if rest or not count or (check and count != 10_000):
            wanted = (
                f"10000 images of {size} bytes each ({10_000 * size} bytes)"
                if check
                else f"images of {size} bytes"
            )
            raise DataError(
                f"{path} should hold {wanted} and has {len(content)} bytes: it is truncated or another file"
            )
        records = content.reshape(count, size)
        labels = records[:, 0].astype(np.int64)
        if labels.max() >= len(self.classes):
            at = int(np.argmax(labels >= len(self.classes)))
            raise DataError(
                f"{path}: label {at} is {labels[at]}, there are {len(self.classes)}: this is another file"
            )
        return records[:, 1:].reshape(count, *self.shape), labels


def _extract(archive: str, folder: str, names: tuple[str, ...]) -> None:
    """Unpack these files of an archive, each as a whole or not at all."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            members = {os.path.basename(m.name): m for m in tar.getmembers() if m.isfile()}
            missing = [n for n in names if n not in members]
            if missing:
                raise DataError(
                    f"{archive} does not hold {', '.join(missing)}: it is truncated or damaged, or another archive"
                )
            os.makedirs(folder, exist_ok=True)
            for name in names:
                source = tar.extractfile(members[name])
                assert source is not None
                with replacing(os.path.join(folder, name)) as file:
                    file.write(source.read())
    except (tarfile.TarError, EOFError, zlib.error) as e:
        raise DataError(f"{archive} is truncated or damaged: {e}; get it anew") from None
    except OSError as e:
        if isinstance(e, MissingFileError) or e.errno is not None:
            raise file_error("unpack", archive, e) from None
        raise DataError(f"{archive} is truncated or damaged: {e}; get it anew") from None
