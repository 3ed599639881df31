"""Texts as numbers: tokens, vocabularies, padding, buckets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.base.errors import ArgumentError, DataError
from weft.data import BucketSampler, DataLoader, PadCollate, Vocabulary, pad_sequences, tokenize

WORDS = st.lists(st.lists(st.sampled_from(["a", "b", "c", "dd", "é"]), max_size=8), max_size=8)


@pytest.mark.parametrize(
    ("text", "options", "tokens"),
    [
        ("It's 5 o'clock.", {}, ["it's", "5", "o'clock", "."]),
        ("Élan vital!", {"lowercase": False}, ["Élan", "vital", "!"]),
        ("", {}, []),
        ("a b", {"level": "char"}, ["a", " ", "b"]),
    ],
)
def test_tokens(text, options, tokens):
    assert tokenize(text, **options) == tokens


@given(texts=WORDS, min_freq=st.integers(1, 3))
def test_what_is_known_comes_back(texts, min_freq):
    v = Vocabulary(texts, min_freq=min_freq)
    flat = [t for text in texts for t in text]
    assert set(v.tokens[2:]) == {t for t in flat if flat.count(t) >= min_freq}
    counts = [flat.count(t) for t in v.tokens[2:]]
    assert counts == sorted(counts, reverse=True)
    for text in texts:
        assert v.lookup(v.encode(text)) == [t if t in v else "<unk>" for t in text]


@given(text=st.text(min_size=1, max_size=60))
def test_characters_come_back(text):
    v = Vocabulary([text], "char", specials=(), unknown=None)
    assert v.decode(v.encode(text)) == text and len(v) == len(set(text))


def test_special_tokens():
    v = Vocabulary(["a a b"], specials=("<pad>", "<s>", "<unk>"), max_size=4)
    assert v.tokens == ["<pad>", "<s>", "<unk>", "a"] and v["b"] == 2 and v["<pad>"] == 0
    assert v.decode([1, 3, 0]) == "a" and v.decode([1, 3], skip_specials=False) == "<s> a"
    again = Vocabulary.from_tokens(v.tokens, specials=v.specials)
    assert (
        again.tokens == v.tokens and again.encode("a b").tolist() == [3, 2] and again.specials == v.specials
    )
    commas = Vocabulary(["a,b", "b,c"], lambda t: t.split(","))
    assert commas.encode("c,b").tolist() == [4, 2]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Vocabulary("one text"), ArgumentError, r"write \[text\]"),
        (lambda: Vocabulary([], "words"), ArgumentError, "Did you mean 'word'"),
        (lambda: Vocabulary([], 3), ArgumentError, "a function"),
        (lambda: Vocabulary([], min_freq=0), ArgumentError, "min_freq"),
        (lambda: Vocabulary([], max_size=1), ArgumentError, "no room"),
        (lambda: Vocabulary([], specials=("<pad>",)), ArgumentError, "unknown='<unk>'"),
        (lambda: Vocabulary([], specials=("a", "a"), unknown=None), ArgumentError, "twice"),
        (lambda: Vocabulary([["a"]], unknown=None).encode(["b"]), DataError, "token 'b' is not in"),
        (lambda: Vocabulary([["a"]]).lookup([3]), DataError, "3 is the number of no token"),
        (lambda: Vocabulary([["a"]]).lookup([-1]), DataError, "-1 is"),
        (lambda: Vocabulary([["a"]]).lookup([0.5]), DataError, "integers"),
        (lambda: Vocabulary.from_tokens(["a", 3], unknown=None), ArgumentError, "got 3"),
        (lambda: tokenize("a", "sentence"), ArgumentError, "level"),
        (lambda: tokenize(3), ArgumentError, "got int"),
        (lambda: pad_sequences([]), DataError, "no sequences"),
        (lambda: pad_sequences([3]), DataError, "sequence 0"),
        (lambda: pad_sequences([np.zeros((2, 3)), np.zeros((2, 4))]), DataError, "sequence 1"),
        (lambda: pad_sequences([[1], [1, 2]], 1), DataError, "sequence 1 has 2 elements"),
        (lambda: pad_sequences([[1]], side="up"), ArgumentError, "side"),
        (lambda: BucketSampler([], 2), DataError, "at least one"),
        (lambda: BucketSampler([0.5], 2), ArgumentError, "integers"),
        (lambda: BucketSampler([1], 0), ArgumentError, "batch_size"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=9), wide=st.integers(0, 12), left=st.booleans()
)
def test_padding(lengths, wide, left):
    sequences = [np.arange(1, n + 1) for n in lengths]
    side = "left" if left else "right"
    rows, found = pad_sequences(sequences, side=side, value=-1)
    assert rows.shape == (len(lengths), max(lengths)) and found.tolist() == lengths
    for row, s in zip(rows, sequences, strict=True):
        kept = row[len(row) - len(s) :] if left else row[: len(s)]
        assert np.array_equal(kept, s) and (row != -1).sum() == len(s)
    cut, short = pad_sequences(sequences, wide, truncate=True, side=side)
    assert cut.shape == (len(lengths), wide) and short.tolist() == [min(n, wide) for n in lengths]


def test_padding_of_features_and_types():
    rows, _ = pad_sequences([np.ones((2, 3), np.float32), np.zeros((0, 3)), np.ones((1, 3))])
    assert rows.shape == (3, 2, 3) and rows.dtype == np.float64 and rows.sum() == 9


@given(
    lengths=st.lists(st.integers(0, 50), min_size=1, max_size=60),
    size=st.integers(1, 9),
    bucket=st.integers(1, 5),
    shuffle=st.booleans(),
    drop=st.booleans(),
)
def test_buckets_are_a_partition(lengths, size, bucket, shuffle, drop):
    sampler = BucketSampler(lengths, size, shuffle, drop, bucket_size=bucket, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    flat = [i for b in batches for i in b]
    assert len(set(flat)) == len(flat) == (len(lengths) // size * size if drop else len(lengths))
    assert sum(len(b) != size for b in batches) <= (0 if drop else 1)
    for batch in batches:
        assert [lengths[i] for i in batch] == sorted(lengths[i] for i in batch)


def test_buckets_pad_less_and_differ_from_epoch_to_epoch():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)

    def padded(batches):
        return sum(len(b) * lengths[b].max() for b in batches) / lengths.sum()

    sampler = BucketSampler(lengths, 10, bucket_size=20, seed=0)
    first, second = list(sampler), list(sampler)
    assert padded(first) < 1.12 < 1.5 < padded(np.arange(1000).reshape(-1, 10)) and first != second
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_texts_to_batches():
    texts = ["to be", "or", "not to be that is"]
    v = Vocabulary(texts)
    samples = [(v.encode(t), i) for i, t in enumerate(texts)]
    loader = DataLoader(
        samples,
        batch_sampler=BucketSampler([len(s[0]) for s in samples], 2, False),
        collate_fn=PadCollate(v["<pad>"]),
    )
    (x, y, n), (last, _, _) = loader
    assert x.shape == (2, 2) and y.tolist() == [1, 0] and n.tolist() == [1, 2] and last.shape == (1, 5)
    assert v.decode(last) == texts[2]
    (alone,) = PadCollate(lengths=False)([[1, 2], [3]])
    assert alone.tolist() == [[1, 2], [3, 0]]
    both = PadCollate(parts=(0, 1))([([1, 2], [1]), ([3], [4, 5, 6])])
    assert [p.tolist() for p in both] == [[[1, 2], [3, 0]], [[1, 0, 0], [4, 5, 6]], [2, 1], [1, 3]]


@pytest.mark.parametrize("side", ["right", "left"])
def test_batches_of_few_lengths(side):
    pad = PadCollate(9, multiple=4, side=side)
    for lengths, expected in (([1, 3], 4), ([4, 2], 4), ([5], 8), ([0], 0)):
        rows, n = pad([(list(range(k)),) for k in lengths])
        assert rows.shape == (len(lengths), expected) and n.tolist() == lengths
        for row, k in zip(rows.tolist(), lengths, strict=True):
            content, filled = (
                (row[:k], row[k:]) if side == "right" else (row[expected - k :], row[: expected - k])
            )
            assert content == list(range(k)) and filled == [9] * (expected - k)
    for wrong in (0, -1, 1.5):
        with pytest.raises(ArgumentError, match="multiple must be a positive integer"):
            PadCollate(multiple=wrong)
