"""A real text that ships with Weft, and windows over it for language models."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np

from ..base.errors import DataError
from .dataset import Dataset, host_array, to_tensor


class CharText:
    """A text as a sequence of numbers, one for each character.

    >>> t = CharText("hello")
    >>> t.vocabulary, t.tokens.tolist(), t.decode([0, 1])
    ('ehlo', [1, 0, 2, 2, 3], 'eh')
    """

    def __init__(self, text: str) -> None:
        if not text:
            raise DataError("the text is empty")
        self.text = text
        self.vocabulary = "".join(sorted(set(text)))
        self._number = {c: i for i, c in enumerate(self.vocabulary)}
        self.tokens = self.encode(text)

    def encode(self, text: str) -> np.ndarray:
        """The numbers of the characters of `text`, int64."""
        try:
            return np.array([self._number[c] for c in text], dtype=np.int64)
        except KeyError as e:
            raise DataError(
                f"the character {e.args[0]!r} does not occur in the text the vocabulary is made of"
            ) from None

    def decode(self, tokens: Any) -> str:
        """The text that `tokens` stand for."""
        return "".join([self.vocabulary[int(t)] for t in host_array(tokens).ravel()])

    def windows(self, length: int, *, test_fraction: float = 0.1) -> tuple[Windows, Windows]:
        """(train, test): windows of `length` characters over the first part of the text and over the last."""
        if not 0 < test_fraction < 1:
            raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
        cut = round(len(self.tokens) * (1 - test_fraction))
        return Windows(self.tokens[:cut], length), Windows(self.tokens[cut:], length)

    def __repr__(self) -> str:
        return f"CharText({len(self.text):,} characters, {len(self.vocabulary)} distinct)"


class Windows(Dataset):
    """All windows over a sequence: sample i is (tokens[i : i+length], tokens[i+1 : i+length+1]), input and target."""

    def __init__(self, tokens: Any, length: int) -> None:
        self.tokens = host_array(tokens, "tokens")
        self.length = length
        if self.tokens.ndim != 1:
            raise DataError(f"tokens must be one sequence, got shape {self.tokens.shape}")
        if not 1 <= length < len(self.tokens):
            raise DataError(
                f"windows of {length} and the next element do not fit a sequence of {len(self.tokens)}; "
                f"choose a length of 1 to {len(self.tokens) - 1}"
            )

    def __len__(self) -> int:
        return len(self.tokens) - self.length

    def __getitem__(self, index: int) -> Any:
        return tuple([to_tensor(part[0]) for part in self.take(np.array([self.check_index(index)]))])

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = indices[:, None] + np.arange(self.length)
        return self.tokens[at], self.tokens[at + 1]

    def __repr__(self) -> str:
        return f"Windows({len(self)} of length {self.length})"


def shakespeare() -> CharText:
    """*As You Like It* by William Shakespeare: 125,179 characters, 68 distinct (public domain)."""
    return CharText((files("weft.data") / "_files" / "as_you_like_it.txt").read_bytes().decode("ascii"))
