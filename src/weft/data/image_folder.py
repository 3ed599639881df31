"""Images in folders, one folder for each class."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..base.atomic import file_error, path_text
from ..base.errors import ArgumentError, DataError, MissingExtraError
from .dataset import Dataset, to_tensor

#: Endings of the files that are taken for images.
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")


def read_image(path: Any, mode: str = "RGB", at_least: int | None = None) -> np.ndarray:
    """An image file as uint8 (channels, height, width); needs Pillow.

    Args:
        mode: "RGB", "L" (grey) or "RGBA".
        at_least: JPEG files are decoded at a half, a quarter or an eighth of their size where both sides keep this
            many pixels, which is much quicker for photographs:
            `ImageFolder(root, loader=partial(read_image, at_least=256))`.

    Raises `DataError` that names the file if it is truncated or no image.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("images are read with Pillow: pip install 'weft[images]'") from None
    name = path_text(path)
    if mode not in ("RGB", "L", "RGBA"):
        raise ArgumentError(f"mode must be 'RGB', 'L' or 'RGBA', got {mode!r}")
    if at_least is not None and (isinstance(at_least, bool) or not isinstance(at_least, int) or at_least < 1):
        raise ArgumentError(f"at_least must be a positive number of pixels, got {at_least!r}")
    try:
        with Image.open(name) as image:
            if at_least is not None and mode != "RGBA":
                image.draft(mode, (at_least, at_least))
            # Into memory of its own: of a mapped file, which may change, there must be nothing left.
            array = np.array(image if image.mode == mode else image.convert(mode))
    except UnidentifiedImageError:
        raise DataError(
            f"{name} is no image that Pillow knows, or is damaged; remove it or save it anew"
        ) from None
    except (FileNotFoundError, PermissionError, IsADirectoryError) as e:
        raise file_error("read", name, e) from None
    except Exception as e:  # decoders raise whatever comes to them
        raise DataError(f"{name} is damaged and cannot be read: {e}; remove it or save it anew") from e
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


class ImageFolder(Dataset):
    """Images in a folder `root` with one folder for each class: `root/cat/1.jpg`, `root/dog/a/2.png`.

    Sample i is (image, class): the image as uint8 (3, height, width), or what `transform` makes of it, the class as a
    number, in the order of the folders' names. Files are found when the dataset is made and read when asked for.

    Args:
        transform: called with each image, an array; see `weft.data.transforms`.
        target_transform: called with each class number.
        loader: reads a file; by default `read_image`, which needs Pillow.
        is_valid_file: says of a path whether it is an image; by default by its ending.
        allow_empty: whether a class may have no images.
    """

    def __init__(
        self,
        root: Any,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        loader: Callable[[str], Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        self.root = path_text(root)
        self.transform = transform
        self.target_transform = target_transform
        self.loader = read_image if loader is None else loader
        self.classes = _folders(self.root)
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.samples: list[tuple[str, int]] = []  #: (path, class) of every image
        valid = _by_ending if is_valid_file is None else is_valid_file
        for number, name in enumerate(self.classes):
            found = sorted(_files(os.path.join(self.root, name), valid))
            if not found and not allow_empty:
                raise DataError(
                    f"the class {name!r} has no images in {os.path.join(self.root, name)} (files ending in "
                    f"{', '.join(IMAGE_EXTENSIONS)}); remove the folder or use allow_empty=True"
                )
            self.samples += [(path, number) for path in found]
        self.targets = [number for _, number in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, number = self.samples[self.check_index(index)]
        image: Any = self.loader(path)
        if self.transform is not None:
            try:
                image = self.transform(image)
            except Exception as e:
                e.add_note(f"while {path} was transformed")
                raise
        elif isinstance(image, np.ndarray):
            image = to_tensor(np.array(image, order="C"))
        return image, number if self.target_transform is None else self.target_transform(number)

    def __repr__(self) -> str:
        return f"ImageFolder({len(self)} images of {len(self.classes)} classes in {self.root})"


def _folders(root: str) -> list[str]:
    try:
        with os.scandir(root) as entries:
            names = sorted([e.name for e in entries if e.is_dir() and not e.name.startswith(".")])
    except OSError as e:
        raise file_error("read the folder", root, e) from None
    if not names:
        raise DataError(f"{root} has no folders in it: there should be one for each class, with its images")
    return names


def _files(folder: str, valid: Callable[[str], bool]) -> list[str]:
    found = []
    for path, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        found += [os.path.join(path, f) for f in files if valid(os.path.join(path, f))]
    return found


def _by_ending(path: str) -> bool:
    return path.lower().endswith(IMAGE_EXTENSIONS) and not os.path.basename(path).startswith(".")
