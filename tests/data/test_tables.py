"""Tables and generators as datasets: what they become, and what is named when they cannot."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.base.errors import ArgumentError, DataError, MissingFileError
from weft.data import DataLoader, from_arrow, from_csv, from_generator, from_pandas

TEXT = """size, weight ,kind,price
1,2.5,a,10
2,3.5,b,20
3,4.5,a,30
"""


@pytest.fixture
def write(tmp_path):
    def make(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return make


def test_numbers_and_a_numeric_target(write):
    table = from_csv(write(TEXT), "price", ["size", "weight"])
    x, y = table.arrays
    assert x.dtype == np.float32 and x.tolist() == [[1, 2.5], [2, 3.5], [3, 4.5]]
    assert y.dtype == np.int64 and y.tolist() == [10, 20, 30]
    assert repr(table) == "TableDataset(3 rows: size, weight -> price)"
    assert from_csv(write(TEXT), "weight", ["size"]).arrays[1].dtype == np.float32
    (only,) = from_csv(write(TEXT), columns=["size"]).arrays
    assert only.shape == (3, 1)


def test_texts_are_classes_as_a_target_and_columns_as_a_feature(write):
    table = from_csv(write(TEXT), "kind")
    assert table.arrays[1].tolist() == [0, 1, 0] and table.classes == ["a", "b"]
    for categories in (True, ["kind"]):
        table = from_csv(write(TEXT), "price", categories=categories)
        assert table.columns == ("size", "weight", "kind=a", "kind=b")
        assert table.arrays[0][:, 2:].tolist() == [[1, 0], [0, 1], [1, 0]]


def test_forms_of_files(write, tmp_path):
    expected = from_csv(write(TEXT), "price", ["size"]).arrays[0].tolist()
    assert from_csv(write("\ufeff" + TEXT), "price", ["size"]).arrays[0].tolist() == expected
    assert (
        from_csv(write(TEXT.replace(",", ";")), "price", ["size"], delimiter=";").arrays[0].tolist()
        == expected
    )
    assert from_csv(write(TEXT.replace("\n", "\r\n\r\n")), "price", ["size"]).arrays[0].tolist() == expected
    zipped = tmp_path / "t.csv.gz"
    zipped.write_bytes(gzip.compress(TEXT.encode()))
    assert from_csv(zipped, "price", ["size"]).arrays[0].tolist() == expected
    bare = from_csv(write("1,2\n3,4\n"), "1", header=False)
    assert bare.arrays[0].tolist() == [[1], [3]] and bare.arrays[1].tolist() == [2, 4]
    quoted = from_csv(write('a,b\n"1","x, ""y"""\n'), "b")
    assert quoted.classes == ['x, "y"']
    latin = from_csv(write("größe,y\n1,2\n", encoding="latin-1"), "y", encoding="latin-1")
    assert latin.columns == ("größe",)


GAPS = "a,b,y\n1,2,0\n,NA,1\n3,4,\n5,6,1\n"


def test_missing_values(write):
    path = write(GAPS)
    dropped = from_csv(path, "y", missing="drop")
    assert dropped.arrays[0].tolist() == [[1, 2], [5, 6]] and dropped.arrays[1].tolist() == [0, 1]
    assert from_csv(path, columns=["a", "b"], missing="mean").arrays[0][1].tolist() == [3, 4]
    assert from_csv(path, columns=["a", "b"], missing=-1).arrays[0][1].tolist() == [-1, -1]
    named = write("k,y\nx,1\n,2\n")
    assert from_csv(named, "y", categories=["k"], missing=0).columns == ("k=", "k=x")


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (
            GAPS,
            dict(target="y"),
            r"column 'a' of table.csv has 1 missing value \(line 3\); missing='drop'.*'mean'",
        ),
        (GAPS, dict(target="y", missing="mean"), r"column 'y' .* 1 missing value \(line 4\)"),
        ("a,b\n1,2\n3\n", {}, "line 3: 1 values, but there are 2 columns .'a', 'b'."),
        ("a,b\n1,2\n3,4,5\n", {}, "line 3: 3 values"),
        ("a,b\n1,2\nx,4\n", {}, r"column 'a' of table.csv holds 'x' \(line 3\).*categories="),
        ("a,b\n1,2\n", dict(target="c"), "no column 'c'"),
        ("height,b\n1,2\n", dict(columns=["hieght"]), "Did you mean 'height'"),
        ("a,b\n1,2\n", dict(categories=["z"]), "no column 'z'"),
        ("a,a\n1,2\n", {}, "more than one column 'a'"),
        ("", {}, "empty"),
        ("\n\n", {}, "empty"),
        ("a,b\n", {}, "no rows"),
        ("a\n1\n", dict(target="a"), "no column beside the target"),
        ("a,b\n,1\n2,\n", dict(missing="drop"), "each has a missing value"),
        ('a,b\n"1,2\n', {}, "line 2"),
        ("a,b\nNA,1\nNA,2\n", dict(missing="mean"), "no values"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(write, text, options, says):
    with pytest.raises(DataError, match=f"(?s){says}"):
        from_csv(write(text), **options)


def test_wrong_arguments(write, tmp_path):
    path = write(TEXT)
    for options, says in [
        (dict(missing="drpo"), "Did you mean 'drop'"),
        (dict(missing=None), "a number"),
        (dict(columns="size"), "lists of names"),
        (dict(target="size", columns=["size"]), "also among the features"),
        (dict(encoding="utf-99"), "utf-99"),
    ]:
        with pytest.raises(ArgumentError, match=says):
            from_csv(path, **options)
    with pytest.raises(MissingFileError, match="no such file"):
        from_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="not text in utf-8"):
        from_csv(write("größe,y\n", encoding="latin-1"))
    bad = tmp_path / "bad.csv.gz"
    bad.write_bytes(gzip.compress(TEXT.encode() * 50)[:60])
    with pytest.raises(DataError, match="truncated"):
        from_csv(bad)
    bad.write_bytes(b"plain text")
    with pytest.raises(DataError, match="not a gzip file"):
        from_csv(bad)


@given(
    rows=st.lists(
        st.tuples(st.integers(-(2**40), 2**40), st.floats(-1e6, 1e6), st.sampled_from(["u", "v", "w x"])),
        min_size=1,
    )
)
def test_what_is_written_is_read(tmp_path_factory, rows):
    import csv

    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("i", "f", "t"), *rows])
    table = from_csv(path, "t")
    assert np.array_equal(table.arrays[0], np.array([r[:2] for r in rows], np.float64).astype(np.float32))
    assert [table.classes[c] for c in table.arrays[1]] == [r[2] for r in rows]
    assert from_csv(path, "i", ["f"]).arrays[1].tolist() == [r[0] for r in rows]


def test_from_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "f": [0.5, float("nan"), 2.5],
            "b": [True, False, True],
            "c": pd.Categorical(["x", "y", "x"]),
            "y": ["no", "yes", "no"],
        }
    )
    table = from_pandas(frame, "y", categories=True, missing="drop")
    assert table.columns == ("i", "f", "b", "c=x") and table.arrays[0].tolist() == [
        [1, 0.5, 1, 1],
        [3, 2.5, 1, 1],
    ]
    assert from_pandas(frame, "y", ["f"], missing="mean").arrays[0].tolist() == [[0.5], [1.5], [2.5]]
    assert from_pandas(frame, "b", ["f"], missing=0).arrays[1].tolist() == [1, 0, 1]
    with pytest.raises(DataError, match=r"column 'i' of the data frame has 1 missing value \(row 1\)"):
        from_pandas(frame, "y", ["i"])
    with pytest.raises(DataError, match="no column 'z'"):
        from_pandas(frame, "z")
    with pytest.raises(DataError, match="no number"):
        from_pandas(pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])}))


def test_from_arrow():
    pa = pytest.importorskip("pyarrow")
    table = pa.table(
        {
            "i": pa.array([1, None, 3], pa.int32()),
            "f": [0.5, 1.5, 2.5],
            "d": pa.array(["x", "y", "x"]).dictionary_encode(),
            "y": ["no", "yes", "no"],
        }
    )
    found = from_arrow(table, "y", categories=["d"], missing="drop")
    assert found.columns == ("i", "f", "d=x") and found.arrays[0].tolist() == [[1, 0.5, 1], [3, 2.5, 1]]
    assert found.classes == ["no"]
    assert from_arrow(table, "i", ["f"], missing="drop").arrays[1].tolist() == [1, 3]
    assert from_arrow(table.to_batches()[0], "y", ["f"]).arrays[0].shape == (3, 1)
    with pytest.raises(DataError, match=r"column 'i' of the table has 1 missing value \(row 1\)"):
        from_arrow(table, "y", ["i"])


def test_tables_of_another_kind():
    with pytest.raises(DataError, match="DataFrame, got list"):
        from_pandas([1])
    with pytest.raises(DataError, match="pyarrow Table, got dict"):
        from_arrow({})


def squares(n):
    for i in range(n):
        yield i * i


def test_generators_are_read_anew_in_every_epoch():
    data = from_generator(squares, 5)
    loader = DataLoader(data, 2)
    assert [[b.tolist() for b in loader] for _ in range(2)] == [[[0, 1], [4, 9], [16]]] * 2
    known = DataLoader(from_generator(squares, 5, length=5), 2)
    assert len(known) == 3 and len(list(known)) == 3


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: from_generator(squares(3)), ArgumentError, "read only once; give the function"),
        (lambda: from_generator(3), ArgumentError, "got int"),
        (lambda: from_generator(squares, 3, length=-1), ArgumentError, "length"),
        (lambda: list(from_generator(lambda: None)), DataError, "returned NoneType"),
        (lambda: list(from_generator(squares, 3, length=2)), DataError, "more than the 2"),
        (lambda: list(from_generator(squares, 3, length=4)), DataError, "gave 3 samples, 4"),
    ],
)
def test_what_is_no_generator_function(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_a_function_that_returns_the_same_iterator():
    once = squares(3)
    data = from_generator(lambda: once)
    assert list(data) == [0, 1, 4]
    with pytest.raises(DataError, match="read before"):
        list(data)
