"""Images in folders: what is found, what is read, what is named when it cannot be."""

import io

import numpy as np
import pytest

from weft.base.errors import ArgumentError, DataError, MissingExtraError, MissingFileError
from weft.data import DataLoader, ImageFolder, read_image
from weft.data.transforms import Compose, Normalize, RandomCrop

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path, rng):
    for kind in ("cat", "dog"):
        (tmp_path / kind / "more").mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / ("more" if i == 2 else ".") / f"{i}.png")
        (tmp_path / kind / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def test_what_is_in_a_folder(folder):
    data = ImageFolder(folder)
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert len(data) == 6 and data.targets == [0, 0, 0, 1, 1, 1]
    assert [p.split("/")[-1] for p, _ in data.samples[:3]] == ["0.png", "1.png", "2.png"]
    image, label = data[4]
    pixels = np.asarray(Image.open(folder / "dog" / "1.png"))
    assert label == 1 and np.array_equal(image.numpy(), pixels.transpose(2, 0, 1))
    x, y = next(iter(DataLoader(data, 6, num_workers=1)))
    assert x.shape == (6, 3, 10, 12) and str(x.dtype) == "uint8" and y.tolist() == data.targets


def test_transforms_and_loaders_of_ones_own(folder):
    data = ImageFolder(folder, Compose([RandomCrop(8), Normalize(0.5, 0.5)]), lambda k: 10 * k)
    x, y = data[5]
    assert x.shape == (3, 8, 8) and x.dtype == np.float32 and y == 10
    sizes = ImageFolder(folder, loader=lambda p: len(p), is_valid_file=lambda p: p.endswith(".txt"))
    assert len(sizes) == 2 and sizes[0][0] == len(str(folder / "cat" / "notes.txt"))


@pytest.mark.parametrize(
    ("mode", "save", "channels"), [("RGB", "L", 3), ("L", "RGB", 1), ("RGBA", "P", 4), ("RGB", "1", 3)]
)
def test_modes(tmp_path, rng, mode, save, channels):
    Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).convert(save).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", mode)
    assert image.shape == (channels, 5, 6) and image.dtype == np.uint8


def test_photographs_are_read_smaller(tmp_path, rng):
    coarse = np.repeat(np.repeat(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8), 40, 0), 40, 1)
    Image.fromarray(coarse).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(coarse).save(tmp_path / "a.png")
    whole = read_image(tmp_path / "a.jpg")
    assert whole.shape == (3, 400, 480) == read_image(tmp_path / "a.png", at_least=90).shape
    small = read_image(tmp_path / "a.jpg", at_least=90)
    assert small.shape == (3, 100, 120)
    blocks = whole.reshape(3, 100, 4, 120, 4).mean(axis=(2, 4))
    assert np.abs(small - blocks).mean() < 4
    assert read_image(tmp_path / "a.jpg", "L", at_least=101).shape == (1, 200, 240)
    for bad in (dict(mode="CMYK"), dict(at_least=0)):
        with pytest.raises(ArgumentError):
            read_image(tmp_path / "a.jpg", **bad)


def jpeg(rng):
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file, "jpeg")
    return file.getvalue()


def test_broken_images_are_named(folder, rng):
    whole = jpeg(rng)
    for name, content in [
        ("a.jpg", whole[:300]),
        ("b.jpg", b""),
        ("c.jpg", b"text"),
        ("d.png", whole[: len(whole) // 2]),
    ]:
        path = folder / "cat" / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{name} .*(damaged|no image)"):
            read_image(path)
    with pytest.raises(DataError, match=r"a\.jpg"):
        list(DataLoader(ImageFolder(folder), 1, num_workers=1))


def test_cut_anywhere_or_altered_an_image_is_read_or_named(tmp_path, rng):
    whole = jpeg(rng)
    path = tmp_path / "x.jpg"
    for i in range(60):
        content = bytearray(whole[: int(rng.integers(len(whole)))] if i % 2 else whole)
        if i % 2 == 0:
            for at in rng.integers(len(content), size=5):
                content[at] = rng.integers(256)
        path.write_bytes(content)
        try:
            assert read_image(path).shape[0] == 3
        except DataError as e:
            assert "x.jpg" in str(e)


def test_folders_without_images(tmp_path):
    with pytest.raises(DataError, match="no folders in it"):
        ImageFolder(tmp_path)
    with pytest.raises(MissingFileError, match="no such file or folder"):
        ImageFolder(tmp_path / "none")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="the class 'cat' has no images"):
        ImageFolder(tmp_path)
    assert len(ImageFolder(tmp_path, allow_empty=True)) == 0
    with pytest.raises(MissingFileError):
        read_image(tmp_path / "none.png")


def test_an_error_in_a_transform_names_the_image(folder):
    data = ImageFolder(folder, RandomCrop(20))
    with pytest.raises(DataError) as caught:
        data[1]
    assert "1.png was transformed" in caught.value.__notes__[0]


def test_without_pillow(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'weft.images.'"):
        ImageFolder(folder)[0]
