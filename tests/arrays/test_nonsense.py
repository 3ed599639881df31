"""Arguments that make no sense: what was asked, what was given and what would mend it, as an error of Weft's."""

from __future__ import annotations

import traceback

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.base.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    IndexingError,
    ShapeError,
    WeftError,
)

F = nn.functional


def ones(*shape):
    return wf.ones(shape or (3,))


CASES = {
    "stack of a number": (lambda: wf.stack(3), r"stack takes a list or tuple of tensors, got 3"),
    "concat of a text": (lambda: wf.concat("abc"), r"concat takes a list or tuple"),
    "ragged indices": (
        lambda: wf.take(ones(), [[1, 2], [3]]),
        r"indices must be a rectangular list of integers",
    ),
    "a ragged index": (lambda: ones()[[[1, 2], [3]]], r"an index list must be rectangular"),
    "a ragged value": (lambda: ones().__setitem__(0, [[1, 2], [3]]), r"assigned must be rectangular"),
    "one axis for tensordot": (
        lambda: wf.tensordot(ones(), ones(), axes=[-5]),
        r"write axes=\(\[0\], \[1\]\)",
    ),
    "axes that are text": (lambda: wf.tensordot(ones(), ones(), axes="ab"), r"tensordot\(.*axes='ab'\)"),
    "jvp of a tensor": (
        lambda: wf.jvp(wf.sin, ones(), ones()),
        r"primals is a tuple .* got <float32 \(3,\)>",
    ),
    "a branch without operands": (
        lambda: wf.cond(wf.tensor(True), lambda x: x, lambda x: x),
        r"missing 1 required positional argument: 'x'.*cond\(pred, true_fn, false_fn, \*operands\)",
    ),
    "something that is no function": (lambda: wf.while_loop(None, None, ones()), r"while_loop\(cond_fn=None"),
    "a word of another framework": (lambda: wf.stack([ones()], dim=0), r"called 'axis' here"),
    "and another": (lambda: wf.sum(ones(), axis=0, keepdim=True), r"called 'keepdims' here"),
    "a misspelt option": (lambda: wf.sort(ones(), decending=True), r"Did you mean 'descending'\?"),
    "a shift that is a word": (lambda: wf.roll(ones(), "left"), r"whole number of places"),
    "an offset that is a word": (
        lambda: wf.linalg.trace(ones(2, 2), offset="mean"),
        r"trace\(x=<float32 \(2, 2\)>",
    ),
    "axes that are a type": (lambda: wf.fft.fftn(ones(), axes=wf.float32), r"fftn\(.*axes=weft.float32\)"),
    "a length that is none": (lambda: wf.bincount(wf.arange(3), length=-1), r"no negative sizes"),
    "a draw larger than any memory": (lambda: wf.random.permutation(10**30), r"larger than any memory"),
    "a padding that is a number": (lambda: F.pad(ones(), -1), r"pad\(input=<float32 \(3,\)>, pad=-1\)"),
    "clipping a number": (
        lambda: optim.clip_grad_norm_(3, 1.0),
        r"clip_grad_norm_\(parameters=3, max_norm=1.0\)",
    ),
    "an optimiser of a number": (
        lambda: optim.Adam(3),
        r"Adam\(.*params=3.*It is called as Adam\(params=None",
    ),
    "an option of an optimiser": (lambda: optim.SGD([ones()], momentun=0.9), r"Did you mean 'momentum'\?"),
    "an option of a layer": (
        lambda: nn.Conv2d(1, 2, 3, strid=2),
        r"^Conv2d\(\) got an .* 'strid'.*'stride'\?",
    ),
    "a layer's padding": (lambda: nn.ZeroPad2d(object()), r"ZeroPad2d\(padding=<object"),
    "a dimension without a name": (lambda: wf.Dim(3), r"must be a string, got 3"),
    "a part of a dataset": (lambda: wf.data.random_split(3, [1]), r"random_split\(dataset=3"),
}


LISTS = {
    "a tensor times a list": lambda: ones() * [1.0, 2.0, 3.0],
    "a list times a tensor": lambda: [1.0, 2.0, 3.0] * ones(),
    "a whole number that would repeat it": lambda: wf.asarray(3) * [1, 2],
    "and from the left": lambda: (1, 2) * wf.asarray(3),
    "a text": lambda: wf.asarray(3) * "ab",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_product_with_a_list_is_refused_and_repeats_nothing(name):
    with pytest.raises(DTypeError, match=r"multiply takes tensors, arrays and numbers, got .*weft.asarray"):
        LISTS[name]()


def shown(call):
    """What Python prints of the error that the call raises."""
    with pytest.raises(WeftError) as caught:
        call()
    return "".join(traceback.format_exception(caught.value))


MISTAKES = {
    "a layer": lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2))(ones(2, 3)),
    "a loss": lambda: F.cross_entropy(ones(2, 3), wf.asarray([0, 1, 2])),
    "a function": lambda: wf.concat([ones(2, 3), ones(2, 4)]),
    "a word": lambda: ones().sum(dim=0),
    "an index": lambda: ones()[wf.asarray(1), wf.asarray(1)],
    "a number as index": lambda: ones()[7],
    "an operator": lambda: ones(2) + ones(3),
    "a list of indices": lambda: wf.take(ones(), wf.asarray([1.5])),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_an_error_is_shown_alone(name):
    """Not as one raised while the library looked something up, which says nothing to who made the mistake."""
    assert shown(MISTAKES[name]).count("Traceback") == 1


def test_a_method_is_called_by_the_class_that_users_know():
    assert "Tensor.sum() got an unexpected keyword argument 'dim'" in shown(lambda: ones().sum(dim=0))
    assert wf.Tensor.sum.__qualname__ == wf.Tensor.exp.__qualname__.replace("exp", "sum") == "Tensor.sum"


def test_whole_numbers_by_themselves_make_whole_numbers():
    for made, expected in (
        (wf.maximum(1, 2), 2),
        (wf.add(2**53 + 1, 0), 2**53 + 1),
        (wf.pow(2, 3), 8),
        (wf.bitwise_and(6, 3), 2),
    ):
        assert made.dtype == wf.int64 and made.item() == expected
    assert (wf.maximum(1, 2) * wf.ones(2, dtype=wf.int64)).dtype == wf.int64
    assert wf.divide(1, 2).dtype == wf.float32 and wf.equal(1, 1).item() is True
    assert (
        wf.maximum(1, 0.5) * wf.ones(2, dtype=wf.float16)
    ).dtype == wf.float16  # a float gives way, as ever


@pytest.mark.parametrize("name", CASES)
def test_the_error_speaks_of_the_call(name):
    call, message = CASES[name]
    with pytest.raises(WeftError, match=message):
        call()
    assert wf.random.rand(2).shape == wf.random.rand(2).numpy().shape  # and nothing is left behind


def test_it_is_also_the_error_that_python_would_raise():
    with pytest.raises(TypeError) as caught:
        wf.stack([ones()], dim=0)
    assert isinstance(caught.value, ArgumentTypeError) and isinstance(caught.value, ArgumentError)
    with pytest.raises(ValueError):
        wf.linalg.pinv(ones(2, 2), rtol="much")


def test_errors_of_the_users_own_functions_pass_unchanged():
    def branch(x):
        return len(3)  # type: ignore[arg-type]

    for call in (
        lambda: wf.cond(wf.tensor(True), branch, branch, ones()),
        lambda: wf.jvp(branch, (ones(),), (ones(),)),
        lambda: wf.scan(lambda c, x: branch(c), ones(), ones(2, 3)),
    ):
        with pytest.raises(TypeError, match="object of type 'int' has no len") as caught:
            call()
        assert not isinstance(caught.value, WeftError)


class Own(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size + 1


def test_and_those_of_the_users_own_classes():
    with pytest.raises(TypeError) as caught:
        Own("a")
    assert not isinstance(caught.value, WeftError)


MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


@pytest.mark.parametrize(
    "take",
    [
        wf.tensor,
        wf.asarray,
        wf.from_numpy,
        wf.from_dlpack,
        wf.sum,
        lambda m: wf.tensor([m, m]),
        lambda m: wf.ones(2) + m,
        lambda m: wf.add(wf.ones(2), m),
        lambda m: wf.ones(2).__setitem__(0, m),
        lambda m: wf.compile(lambda x: x * 2)(m),
        lambda m: wf.data.TensorDataset(m),
    ],
)
def test_a_mask_is_never_lost(take):
    with pytest.raises(ArgumentTypeError, match=r"masked NumPy array.*filled"):
        take(MASKED)


@pytest.mark.parametrize("label", [-1, -3, -4, 3, 100])
@pytest.mark.parametrize(
    "use",
    [
        lambda i: F.cross_entropy(wf.ones((2, 3)), i),
        lambda i: F.nll_loss(wf.ones((2, 3)), i),
        lambda i: F.one_hot(i, 3),
        lambda i: F.embedding(i, wf.ones((3, 2))),
    ],
)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_class_that_does_not_exist_is_named(label, use, backend):
    message = rf"(class|row) {label} is out of bounds: the valid ones are 0 to 2"
    with wf.config(backend=backend), pytest.raises(IndexingError, match=message):
        use(wf.tensor([0, label])).numpy()


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_an_index_that_does_not_exist_is_named(backend):
    with wf.config(backend=backend):
        x, i = wf.ones((3, 2)), wf.tensor([0, -4])
        with pytest.raises(IndexingError, match="index -4 is out of bounds for axis 0 with size 3"):
            (wf.take(x * 2, i + 0, axis=0) * 3).numpy()
        step = wf.compile(lambda x, i: wf.take(x * 2, i, axis=0).sum())
        with pytest.raises(IndexingError, match="index -4"):
            step(x, i)


def test_shapes_are_shape_errors_still():
    with pytest.raises(ShapeError):
        wf.stack([ones(2), ones(3)])
