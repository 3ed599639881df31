"""What is done to images without chance, against PyTorch and against plain NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.arrays.creation import tensor
from weft.base.errors import ArgumentError, DataError
from weft.data.transforms import functional as F


def picture(rng, *shape, layout="first"):
    """Bytes; with layout "last" in the memory order of decoders."""
    if layout == "last":
        return np.moveaxis(rng.integers(0, 256, (*shape[1:], shape[0]), dtype=np.uint8), -1, 0)
    return rng.integers(0, 256, shape, dtype=np.uint8)


SIZES = [((20, 30), (10, 15)), ((20, 30), (47, 31)), ((33, 17), (8, 40)), ((5, 5), (5, 9)), ((9, 8), (1, 1))]


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_resize_is_that_of_pytorch(rng, before, after, antialias, layout):
    torch = pytest.importorskip("torch")
    image = picture(rng, 3, *before, layout=layout)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(image))[None].float(),
        after,
        mode="bilinear",
        antialias=antialias,
    )[0].numpy()
    floats = F.resize(image.astype(np.float32) / 255, after, antialias=antialias)
    assert floats.dtype == np.float32 and np.allclose(floats * 255, expected, atol=2e-3)
    bytes_ = F.resize(image, after, antialias=antialias)
    assert bytes_.dtype == np.uint8 and np.abs(bytes_ - expected).max() <= 0.5 + 2e-3
    nearest = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(image))[None].float(), after, mode="nearest-exact"
    )
    assert np.array_equal(F.resize(image, after, "nearest"), nearest[0].numpy())


def test_much_smaller_images_are_nearly_those_of_pytorch(rng):
    torch = pytest.importorskip("torch")
    image = rng.random((3, 400, 600), dtype=np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], (10, 15), mode="bilinear", antialias=True
    )
    assert np.abs(F.resize(image, (10, 15)) - expected[0].numpy()).max() < 0.01
    photo = picture(rng, 3, 400, 600, layout="last")
    assert np.abs(F.resize(photo, (10, 15)) - F.resize(photo / np.float32(255), (10, 15)) * 255).max() < 1


def test_one_number_is_the_shorter_side(rng):
    assert F.resize(picture(rng, 3, 20, 40), 10).shape == (3, 10, 20)
    assert F.resize(picture(rng, 3, 41, 20), 10).shape == (3, 20, 10)
    assert F.resize(picture(rng, 2, 3, 20, 40), 10).shape == (2, 3, 10, 20)


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_warp_is_grid_sampling(rng, channels, dtype, mode):
    torch = pytest.importorskip("torch")
    image = picture(rng, channels, 13, 18)
    image = image if dtype == np.uint8 else image.astype(dtype) / 255
    matrix = F.affine_matrix((13, 18), 25.0, (2.0, -3.0), 1.3, (10.0, -5.0))
    x, y = np.meshgrid(np.arange(18), np.arange(13))
    places = np.einsum("ij,jyx->iyx", matrix, np.stack([x, y, np.ones_like(x)]))
    grid = torch.from_numpy(np.stack([places[0] / 17 * 2 - 1, places[1] / 12 * 2 - 1], -1)[None]).double()
    source = torch.from_numpy(image.astype(np.float64))[None]
    expected = torch.nn.functional.grid_sample(source, grid, mode=mode, align_corners=True)[0].numpy()
    found = F.warp(image, matrix, interpolation=mode)
    assert found.dtype == dtype
    assert np.abs(found - expected).max() < (0.51 if dtype == np.uint8 else 1e-4)


@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (180, 2), (-90, 3), (360, 0)])
def test_quarter_turns_are_exact(rng, angle, turns):
    image = picture(rng, 3, 8, 8)
    assert np.array_equal(F.rotate(image, angle), np.rot90(image, turns, axes=(-2, -1)))
    oblong = picture(rng, 3, 6, 9)
    assert np.array_equal(F.rotate(oblong, angle, expand=True), np.rot90(oblong, turns, axes=(-2, -1)))


def test_expanded_rotations_hold_everything(rng):
    image = np.ones((1, 20, 30), np.float32)
    turned = F.rotate(image, 30, expand=True)
    assert turned.shape == (1, 33, 36) and abs(turned.sum() - 600) < 12
    assert F.rotate(image, 30).sum() < 590


def test_affine_moves_scales_and_fills():
    image = np.zeros((1, 9, 9), np.float32)
    image[0, 4, 4] = 1
    assert F.affine(image, translate=(2, -1))[0, 3, 6] == 1
    assert F.affine(np.ones((3, 9, 9), np.uint8), scale=0.5, fill=(7, 8, 9))[:, 0, 0].tolist() == [7, 8, 9]
    with pytest.raises(ArgumentError, match="nothing of the image"):
        F.affine(image, scale=0.0)


def test_batches_are_images_one_by_one(rng):
    batch = picture(rng, 4, 3, 12, 10)
    for f in (
        lambda x: F.resize(x, (7, 5)),
        lambda x: F.rotate(x, 20, fill=3),
        lambda x: F.adjust_color(x, brightness=0.8, contrast=1.2, saturation=0.5, hue=0.1),
        lambda x: F.grayscale(x, 3),
        lambda x: F.normalize(x, [0.1, 0.2, 0.3], [1, 2, 3]),
        lambda x: F.pad(x, (1, 2, 3, 4), fill=(1, 2, 3)),
        lambda x: F.center_crop(x, 5),
        lambda x: F.erase(x, 1, 2, 3, 4, 9),
    ):
        assert np.array_equal(f(batch), np.stack([f(x) for x in batch]))


@given(
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    sides=st.tuples(*[st.integers(0, 4)] * 4),
    mode=st.sampled_from(["constant", "edge", "reflect", "symmetric"]),
)
def test_padding_is_numpys(h, w, sides, mode):
    left, up, right, down = sides
    image = np.arange(3 * h * w, dtype=np.uint8).reshape(3, h, w)
    if mode == "reflect" and (max(left, right) >= w or max(up, down) >= h):
        with pytest.raises(DataError, match="too small to be mirrored"):
            F.pad(image, sides, mode=mode)
        return
    expected = np.pad(image, [(0, 0), (up, down), (left, right)], mode=mode)
    assert np.array_equal(F.pad(image, sides, mode=mode), expected)


def test_values(rng):
    image = picture(rng, 3, 4, 5, layout="last")
    assert F.to_float(image).flags.c_contiguous and np.allclose(F.to_float(image), image / 255)
    m, s = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.4])
    expected = (image / 255 - m[:, None, None]) / s[:, None, None]
    for given_ in (image, image / np.float32(255), tensor(np.ascontiguousarray(image))):
        assert np.allclose(F.normalize(given_, m, s), expected, atol=1e-5)
    with pytest.raises(DataError, match="2 numbers for 3 channels"):
        F.normalize(image, [0, 0], 1)


def test_colours(rng):
    image = rng.random((3, 6, 7)).astype(np.float32) * 0.5 + 0.25
    grey = np.einsum("c,chw->hw", [0.299, 0.587, 0.114], image)
    assert np.allclose(F.grayscale(image)[0], grey, atol=1e-6)
    assert np.allclose(F.adjust_color(image), image, atol=1e-6)
    assert np.allclose(F.adjust_color(image, brightness=1.2), image * 1.2, atol=1e-6)
    assert np.allclose(F.adjust_color(image, saturation=0), grey, atol=1e-6)
    mean = grey.mean()
    assert np.allclose(F.adjust_color(image, contrast=0.5), mean + (image - mean) * 0.5, atol=1e-6)
    turned = F.adjust_color(image * 0.2 + 0.4, hue=0.3)
    assert np.allclose(F.grayscale(turned), F.grayscale(image * 0.2 + 0.4), atol=2e-3)  # brightness stays
    back = F.adjust_color(turned, hue=-0.3)
    assert np.allclose(back, image * 0.2 + 0.4, atol=1e-4) and not np.allclose(turned, back, atol=0.02)
    bytes_ = F.adjust_color(np.full((3, 2, 2), 200, np.uint8), brightness=2)
    assert bytes_.dtype == np.uint8 and bytes_.min() == 255
    assert F.adjust_color(np.full((1, 2, 2), 100, np.uint8), brightness=1.5).max() == 150


def test_windows_cost_no_copy(rng):
    image = picture(rng, 3, 8, 8)
    for view in (F.crop(image, 1, 2, 3, 4), F.center_crop(image, 4), F.hflip(image), F.vflip(image)):
        assert np.shares_memory(view, image)
    erased = F.erase(image, -2, 5, 5, 9, value=(1, 2, 3))
    assert not np.shares_memory(erased, image) and (erased[:, :3, 5:] == [[[1]], [[2]], [[3]]]).all()
    assert np.array_equal(erased[:, 3:], image[:, 3:])


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: F.resize(np.zeros((4, 4), np.uint8), 2), DataError, r"image\[None\]"),
        (lambda: F.resize(np.zeros((8, 9, 3), np.uint8), 2), DataError, "ChannelsFirst"),
        (lambda: F.resize(np.zeros((3, 4, 4), np.int64), 2), DataError, "got int64"),
        (lambda: F.resize(np.zeros((3, 0, 4), np.uint8), 2), DataError, "empty"),
        (lambda: F.resize(np.zeros((3, 4, 4)), 0), ArgumentError, "positive"),
        (lambda: F.resize(np.zeros((3, 4, 4)), (2, 3), "cubic"), ArgumentError, "bilinear"),
        (lambda: F.crop(np.zeros((3, 4, 4)), 2, 0, 3, 1), DataError, "3 x 1 at .2, 0."),
        (lambda: F.center_crop(np.zeros((3, 4, 4)), 5), DataError, "does not lie"),
        (lambda: F.pad(np.zeros((3, 4, 4)), (1, 2, 3)), ArgumentError, "padding"),
        (lambda: F.pad(np.zeros((3, 4, 4)), -1), ArgumentError, "padding"),
        (lambda: F.pad(np.zeros((3, 4, 4)), 1, mode="wrap"), ArgumentError, "mode"),
        (lambda: F.pad(np.zeros((3, 4, 4)), 1, fill=(1, 2)), ArgumentError, "fill"),
        (lambda: F.adjust_color(np.zeros((2, 4, 4))), DataError, "1 or 3 channels"),
        (lambda: F.normalize(np.zeros((3, 4, 4)), 0, 0), ArgumentError, "std"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()
