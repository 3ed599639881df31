"""From texts to numbers: tokens, a vocabulary of them, rows of equal length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..base.checked import checked
from ..base.errors import ArgumentError, DataError, nearest
from ..ir.dtype import dtype as as_dtype
from .collate import collate
from .dataset import host_array, to_tensor

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")

Tokenizer = Callable[[str], Sequence[str]]


@checked
def tokenize(text: str, level: str = "word", *, lowercase: bool = True) -> list[str]:
    """A text cut into words and punctuation marks, or into characters.

    >>> tokenize("Don't panic, Arthur!")
    ["don't", 'panic', ',', 'arthur', '!']
    >>> tokenize("ab c", "char")
    ['a', 'b', ' ', 'c']
    """
    if not isinstance(text, str):
        raise ArgumentError(f"a text expected, got {type(text).__name__}")
    if level not in ("word", "char"):
        raise ArgumentError(f"level={level!r} is unknown. {nearest(str(level), ['word', 'char'])}")
    if level == "char":
        return list(text)
    return _WORD.findall(text.lower() if lowercase else text)


def _words(text: str) -> list[str]:
    return tokenize(text)


def _characters(text: str) -> list[str]:
    return list(text)


_TOKENIZERS: dict[str, Tokenizer] = {"word": _words, "char": _characters}


class Vocabulary:
    """The tokens that occur in texts, each with a number: first the special ones, then the others by falling frequency.

    Args:
        texts: texts, or sequences of tokens.
        tokenizer: what cuts a text: "word", "char", or a function from a text to tokens.
        min_freq: how often a token must occur.
        max_size: how many tokens there are at most, the special ones among them.
        specials: tokens that stand for something else than a piece of text; the first is number 0.
        unknown: the special token that stands for all that are not in the vocabulary; None: these are errors.

    >>> v = Vocabulary(["to be or not to be", "that is"], min_freq=2)
    >>> v.tokens, len(v)
    (['<pad>', '<unk>', 'be', 'to'], 4)
    >>> v.encode("to see").tolist(), v.decode([3, 2])
    ([3, 1], 'to be')
    """

    @checked
    def __init__(
        self,
        texts: Iterable[str | Sequence[str]],
        tokenizer: str | Tokenizer = "word",
        *,
        min_freq: int = 1,
        max_size: int | None = None,
        specials: Sequence[str] = ("<pad>", "<unk>"),
        unknown: str | None = "<unk>",
    ) -> None:
        for name, value in (("min_freq", min_freq), ("max_size", max_size)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ArgumentError(f"{name} must be a positive integer, got {value!r}")
        if isinstance(texts, str):
            raise ArgumentError("texts is a list of texts, got one text; write [text]")
        self._cut = _tokenizer(tokenizer)
        self.tokenizer = tokenizer
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self.split(text))
        common = [t for t in counts if counts[t] >= min_freq and t not in set(specials)]
        common.sort(key=lambda t: (-counts[t], t))
        if max_size is not None:
            if max_size < len(specials):
                raise ArgumentError(f"max_size {max_size} leaves no room for {len(specials)} special tokens")
            common = common[: max_size - len(specials)]
        self._number([*specials, *common], unknown)
        self.specials = tuple(specials)

    @classmethod
    def from_tokens(
        cls,
        tokens: Sequence[str],
        tokenizer: str | Tokenizer = "word",
        *,
        specials: Sequence[str] = ("<pad>", "<unk>"),
        unknown: str | None = "<unk>",
    ) -> Vocabulary:
        """The vocabulary of these tokens in this order: what `tokens` of another one gave."""
        made = cls([], tokenizer, specials=[], unknown=None)
        made._number(list(tokens), unknown)
        made.specials = tuple(t for t in specials if t in made)
        return made

    def _number(self, tokens: list[str], unknown: str | None) -> None:
        for t in tokens:
            if not isinstance(t, str):
                raise ArgumentError(f"a token is a text, got {t!r}")
        twice = sorted(t for t, n in Counter(tokens).items() if n > 1)
        if twice:
            raise ArgumentError(f"the tokens {twice[:5]} come twice")
        if unknown is not None and unknown not in tokens:
            raise ArgumentError(
                f"unknown={unknown!r} must be one of the special tokens {tokens[:8]}, or None"
            )
        self.tokens = tokens  #: token number i is `tokens[i]`
        self.unknown = unknown
        self._numbers = {t: i for i, t in enumerate(tokens)}

    def split(self, text: str | Sequence[str]) -> Sequence[str]:
        """The tokens of a text; tokens stay as they are."""
        return self._cut(text) if isinstance(text, str) else text

    @checked
    def encode(self, text: str | Sequence[str]) -> np.ndarray:
        """The numbers of the tokens of a text, int64."""
        default = None if self.unknown is None else self._numbers[self.unknown]
        out = [self._numbers.get(t, default) for t in self.split(text)]
        if default is None and None in out:
            lost = self.split(text)[out.index(None)]
            raise DataError(
                f"the token {lost!r} is not in the vocabulary of {len(self)} tokens; add it, or give the vocabulary a "
                "token for what is unknown (unknown='<unk>')"
            )
        return np.array(out, np.int64)

    def lookup(self, numbers: Any) -> list[str]:
        """The tokens of numbers."""
        array = host_array(numbers, "numbers of tokens").ravel()
        if array.size and array.dtype.kind not in "iu":
            raise DataError(f"numbers of tokens are integers, got {array.dtype}")
        wrong = (array < 0) | (array >= len(self))
        if wrong.any():
            raise DataError(f"{array[wrong][0]} is the number of no token: there are {len(self)}, from 0")
        return [self.tokens[i] for i in array]

    def decode(self, numbers: Any, *, skip_specials: bool = True) -> str:
        """The text of numbers: characters side by side, other tokens with spaces between them."""
        skip = set(self.specials) if skip_specials else ()
        return ("" if self.tokenizer == "char" else " ").join(
            [t for t in self.lookup(numbers) if t not in skip]
        )

    def __getitem__(self, token: str) -> int:
        return int(self.encode([token])[0])

    def __contains__(self, token: object) -> bool:
        return token in self._numbers

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens)"


def _tokenizer(given: Any) -> Tokenizer:
    if isinstance(given, str):
        if given not in _TOKENIZERS:
            raise ArgumentError(f"tokenizer={given!r} is unknown. {nearest(given, _TOKENIZERS)}")
        return _TOKENIZERS[given]
    if not callable(given):
        raise ArgumentError(f"tokenizer must be 'word', 'char' or a function, got {given!r}")
    return given  # type: ignore[return-value]


@checked
def pad_sequences(
    sequences: Sequence[Any],
    length: int | None = None,
    value: float = 0,
    *,
    side: str = "right",
    truncate: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of several lengths as rows of one array, filled up with `value`.

    Args:
        sequences: arrays (length, ...) whose other axes agree.
        length: of the rows; by default that of the longest sequence.
        side: where rows are filled up, "right" or "left".
        truncate: cut what is longer than `length` (at that side); otherwise it is an error.

    Returns:
        the rows (n, length, ...), and the lengths (n,) of what is in them.

    >>> rows, lengths = pad_sequences([[1, 2, 3], [4]])
    >>> rows.tolist(), lengths.tolist()
    ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    if side not in ("right", "left"):
        raise ArgumentError(f"side={side!r} is unknown. {nearest(str(side), ['right', 'left'])}")
    if not len(sequences):
        raise DataError("there are no sequences to be padded")
    arrays = [host_array(s, f"sequence {i}") for i, s in enumerate(sequences)]
    full = [a for a in arrays if a.size]
    pattern = full[0] if full else arrays[0]
    for i, a in enumerate(arrays):
        if a.ndim == 0 or (a.size and a.shape[1:] != pattern.shape[1:]):
            raise DataError(
                f"sequence {i} has the shape {a.shape}, others (length, {str(pattern.shape[1:])[1:]}"
            )
    longest = max([len(a) for a in arrays])
    wide = longest if length is None else length
    if longest > wide and not truncate:
        raise DataError(
            f"sequence {int(np.argmax([len(a) for a in arrays]))} has {longest} elements, rows have {wide}; "
            "use truncate=True or longer rows"
        )
    kind = np.result_type(*[a.dtype for a in full]) if full else np.dtype(np.int64)
    as_dtype(kind)
    if kind.kind in "iub" and not (hasattr(value, "__index__") or float(value).is_integer()):
        raise ArgumentError(f"sequences of {kind} cannot be filled up with {value!r}; give an integer")
    out = np.full((len(arrays), wide, *pattern.shape[1:]), value, kind)
    lengths = np.empty(len(arrays), np.int64)
    for row, a, i in zip(out, arrays, range(len(arrays)), strict=True):
        n = lengths[i] = min(len(a), wide)
        if n and side == "right":
            row[:n] = a[:n]
        elif n:
            row[wide - n :] = a[len(a) - n :]
    return out, lengths


class PadCollate:
    """A `collate_fn` for samples with sequences of several lengths, which are padded to the longest of the batch.

    Args:
        value: what rows are filled up with.
        parts: which parts of a sample are sequences; all others are stacked.
        lengths: whether the lengths follow, as the last part of the batch (one for each part that is padded).
        side: where sequences are filled up, "right" or "left".
        multiple: rows get a length that this number divides. A training step is compiled for each length that
            it meets, so that few lengths save time.

    >>> x, y, n = PadCollate(multiple=4)([([1, 2], 0), ([3], 1)])
    >>> x.tolist(), y.tolist(), n.tolist()
    ([[1, 2, 0, 0], [3, 0, 0, 0]], [0, 1], [2, 1])
    """

    def __init__(
        self,
        value: float = 0,
        *,
        parts: Sequence[int] = (0,),
        lengths: bool = True,
        side: str = "right",
        multiple: int = 1,
    ) -> None:
        if not (isinstance(multiple, int) and multiple >= 1):
            raise ArgumentError(f"multiple must be a positive integer, got {multiple!r}")
        self.value, self.parts, self.lengths, self.side = value, tuple(parts), lengths, side
        self.multiple = multiple

    @checked
    def __call__(self, samples: Sequence[Any]) -> tuple[Any, ...]:
        if not len(samples):
            raise DataError("a batch needs at least one sample")
        rows = [s if isinstance(s, (tuple, list)) and len(s) and not _number(s[0]) else (s,) for s in samples]
        columns = list(zip(*rows, strict=True))
        out, lengths = [], []
        for i, column in enumerate(columns):
            if i in self.parts:
                padded, n = pad_sequences(column, value=self.value, side=self.side)
                if missing := -padded.shape[1] % self.multiple:
                    longer = padded.shape[1] + missing
                    padded, _ = pad_sequences(column, longer, self.value, side=self.side)
                out.append(to_tensor(padded))
                lengths.append(to_tensor(n))
            else:
                out.append(collate(column))
        return (*out, *lengths) if self.lengths else tuple(out)


def _number(x: Any) -> bool:
    return isinstance(x, (int, float, np.number))
