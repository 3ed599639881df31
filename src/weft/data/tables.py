"""Tables — CSV files, pandas data frames, Arrow tables — as datasets of numbers."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.atomic import file_error, path_text
from ..base.checked import checked
from ..base.errors import ArgumentError, DataError, nearest
from .dataset import TensorDataset

#: What stands for a missing value in a CSV file.
NA_VALUES = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_SHOWN = 5


class TableDataset(TensorDataset):
    """The rows of a table: features float32 (k,) and, if there is a target, int64 classes or numbers or float32.

    `columns` are the names of the features, `target` that of the target; `classes` are the texts that the classes of
    the target stand for, if they were texts.
    """

    def __init__(
        self, arrays: Sequence[np.ndarray], columns: Sequence[str], target: str | None, classes: list[str]
    ):
        super().__init__(*arrays)
        self.columns = tuple(columns)
        self.target = target
        self.classes = classes

    def __repr__(self) -> str:
        target = "" if self.target is None else f" -> {self.target}"
        return f"TableDataset({len(self)} rows: {', '.join(self.columns)}{target})"


@dataclass
class _Column:
    """A column as it was read: values, and where they are missing. `place` names a row for a message."""

    name: str
    values: np.ndarray
    missing: np.ndarray


@checked
def from_csv(
    path: Any,
    target: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    categories: Collection[str] | bool = (),
    missing: str | float = "error",
    delimiter: str = ",",
    header: bool = True,
    encoding: str = "utf-8-sig",
    na_values: Collection[str] = NA_VALUES,
) -> TableDataset:
    """A CSV file (which may be gzipped) as a dataset of (features, target).

    Args:
        target: name of the column that is to be predicted. Texts become classes, in the order of the alphabet.
        columns: names of the features; by default all other columns.
        categories: names of columns whose values are names, not amounts (True: all that hold texts). Each becomes one
            feature of 0 and 1 for every name that occurs.
        missing: what becomes of missing values: "error"; "drop" leaves their rows out; "mean" fills in the mean of
            the column; a number is filled in.
        header: whether the first line holds the names; otherwise they are "0", "1", ...
        na_values: what stands for a missing value.

    Raises `DataError` that names lines and columns: for rows of unequal length, texts where numbers should be, missing
    values, unknown columns.
    """
    name = path_text(path)
    names, lines, rows = _read_csv(name, delimiter, header, encoding)
    absent = set(na_values)
    found = []
    for i, column in enumerate(names):
        texts = [row[i].strip() for row in rows]
        gone = np.array([t in absent for t in texts], bool)
        found.append(_Column(column, _parsed(texts, gone), gone))
    rows_are = _Places("line", np.array(lines, np.int64))
    return _table(found, target, columns, categories, missing, rows_are, os.path.basename(name))


@checked
def from_pandas(
    frame: Any,
    target: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    categories: Collection[str] | bool = (),
    missing: str | float = "error",
) -> TableDataset:
    """A pandas data frame as a dataset of (features, target); the arguments are those of `from_csv`."""
    if not hasattr(frame, "columns") or not hasattr(frame, "iloc"):
        raise DataError(f"from_pandas takes a pandas DataFrame, got {type(frame).__name__}")
    names = [str(c) for c in frame.columns]
    _distinct(names, "the data frame")
    found = []
    for i, name in enumerate(names):
        series = frame.iloc[:, i]
        gone = np.asarray(series.isna(), bool)
        values = np.asarray(series.astype(object), object)
        found.append(_Column(name, _plain(values, gone), gone))
    places = _Places("row", np.arange(len(frame)))
    return _table(found, target, columns, categories, missing, places, "the data frame")


@checked
def from_arrow(
    table: Any,
    target: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    categories: Collection[str] | bool = (),
    missing: str | float = "error",
) -> TableDataset:
    """An Arrow table (`pyarrow.Table`, `pyarrow.RecordBatch`) as a dataset of (features, target); the arguments are
    those of `from_csv`."""
    if not hasattr(table, "column_names") or not hasattr(table, "column"):
        raise DataError(f"from_arrow takes a pyarrow Table, got {type(table).__name__}")
    names = [str(n) for n in table.column_names]
    _distinct(names, "the table")
    found = []
    for i, name in enumerate(names):
        column = table.column(i)
        if hasattr(column.type, "value_type") and hasattr(column.type, "index_type"):
            column = column.cast(column.type.value_type)  # names that are kept as numbers
        gone = np.asarray(column.is_null().to_numpy(zero_copy_only=False), bool)
        values = np.empty(len(gone), object)
        if gone.any():
            values[:] = column.to_pylist()
        else:
            values = np.asarray(column.to_numpy(zero_copy_only=False))
        found.append(_Column(name, _plain(values, gone), gone))
    return _table(
        found, target, columns, categories, missing, _Places("row", np.arange(table.num_rows)), "the table"
    )


# -- reading ------------------------------------------------------------------------------------------------


def _read_csv(
    name: str, delimiter: str, header: bool, encoding: str
) -> tuple[list[str], list[int], list[list[str]]]:
    """Names of the columns, line numbers, rows."""
    try:
        opened = gzip.open if name.endswith(".gz") else open
        with opened(name, "rt", encoding=encoding, newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            lines, rows = [], []
            for row in reader:
                if row:
                    lines.append(reader.line_num)
                    rows.append(row)
    except EOFError:
        raise DataError(f"{name} is truncated: its compressed data ends too early") from None
    except gzip.BadGzipFile as e:
        raise DataError(f"{name} is not a gzip file: {e}") from None
    except OSError as e:
        raise file_error("read", name, e) from None
    except UnicodeDecodeError as e:
        raise DataError(
            f"{name} is not text in {encoding} ({e.reason} at byte {e.start}); give its encoding"
        ) from None
    except LookupError as e:
        raise ArgumentError(f"encoding: {e}") from None
    except csv.Error as e:
        raise DataError(f"{name}, line {reader.line_num}: {e}") from None
    if not rows:
        raise DataError(f"{name} is empty")
    names = [c.strip() for c in rows[0]] if header else [str(i) for i in range(len(rows[0]))]
    if header:
        lines, rows = lines[1:], rows[1:]
    _distinct(names, name)
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(names):
            raise DataError(
                f"{name}, line {line}: {len(row)} values, but there are {len(names)} columns ({_list(names)}); is "
                f"{delimiter!r} the delimiter?"
            )
    if not rows:
        raise DataError(f"{name} has names of columns but no rows")
    return names, lines, rows


def _distinct(names: Sequence[str], where: str) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(f"{where} has more than one column {_list(twice)}; give them different names")


def _parsed(texts: list[str], gone: np.ndarray) -> np.ndarray:
    """Texts as integers or floats, if they all are; otherwise as they are. What is missing becomes 0."""
    known = np.array([t if not g else "0" for t, g in zip(texts, gone, strict=True)])
    for dtype in (np.int64, np.float64):
        try:
            return known.astype(dtype)
        except (ValueError, OverflowError):
            continue
    return np.array(texts, object)


def _plain(values: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Values of any kind as an array of numbers, if they all are numbers. What is missing becomes 0."""
    if values.dtype != object:
        return values.astype(np.int64) if values.dtype == bool else values
    known = [0 if g else v for v, g in zip(values, gone, strict=True)]
    numbers = all(isinstance(v, (bool, int, float, np.integer, np.floating, np.bool_)) for v in known)
    if not numbers:
        return values
    if all(isinstance(v, (bool, int, np.integer, np.bool_)) for v in known):
        return np.array([int(v) for v in known], np.int64)
    return np.array([float(v) for v in known], np.float64)


# -- making features ----------------------------------------------------------------------------------------


@dataclass
class _Places:
    """How rows are called in messages."""

    word: str
    numbers: np.ndarray

    def __call__(self, where: np.ndarray) -> str:
        some = self.numbers[where][:_SHOWN].tolist()
        more = ", ..." if int(where.sum()) > _SHOWN else ""
        return f"{self.word}{'s' if int(where.sum()) > 1 else ''} {', '.join(map(str, some))}{more}"


def _table(
    found: list[_Column],
    target: str | None,
    columns: Sequence[str] | None,
    categories: Collection[str] | bool,
    missing: str | float,
    places: _Places,
    title: str,
) -> TableDataset:
    _check_missing(missing)
    known = {c.name: c for c in found}
    features = _chosen(known, target, columns, categories, title)
    used = [known[n] for n in features] + ([known[target]] if target is not None else [])
    keep = np.ones(len(places.numbers), bool)
    for c in used:
        _settle_missing(c, missing, c.name == target, places, title)
        if missing == "drop":
            keep &= ~c.missing
    if not keep.any():
        raise DataError(
            f"no row of {title} is left: " + ("each has a missing value" if len(keep) else "it is empty")
        )
    named, parts = [], []
    for name in features:
        listed = isinstance(categories, bool) and categories and known[name].values.dtype == object
        if listed or (not isinstance(categories, bool) and name in categories):
            names, part = _one_hot(known[name], keep)
        else:
            names, part = [name], _numbers(known[name], places, title)[keep][:, None]
        named += names
        parts.append(part)
    arrays = [np.concatenate(parts, axis=1, dtype=np.float32)]
    classes: list[str] = []
    if target is not None:
        values, classes = _target(known[target], keep)
        arrays.append(values)
    return TableDataset(arrays, named, target, classes)


def _check_missing(missing: Any) -> None:
    if isinstance(missing, str):
        if missing not in ("error", "drop", "mean"):
            raise ArgumentError(
                f"missing={missing!r} is unknown. {nearest(missing, ['error', 'drop', 'mean'])}"
            )
    elif isinstance(missing, bool) or not isinstance(missing, (int, float)):
        raise ArgumentError(f"missing must be 'error', 'drop', 'mean' or a number, got {missing!r}")


def _chosen(
    known: Mapping[str, Any],
    target: str | None,
    columns: Sequence[str] | None,
    categories: Collection[str] | bool,
    title: str,
) -> list[str]:
    """Names of the features."""
    if isinstance(columns, str) or isinstance(categories, str):
        raise ArgumentError("columns and categories are lists of names")
    asked = [*(columns or ()), *([target] if target is not None else [])]
    for name in [*asked, *(() if isinstance(categories, bool) else categories)]:
        if name not in known:
            raise DataError(f"{title} has no column {name!r}. {nearest(str(name), known)}")
    features = [n for n in known if n != target] if columns is None else list(columns)
    if target in features:
        raise ArgumentError(f"the target {target!r} is also among the features; leave it out of columns")
    if not features:
        raise DataError(f"{title} has no column beside the target {target!r}: there is nothing to learn from")
    return features


def _settle_missing(c: _Column, missing: str | float, is_target: bool, places: _Places, title: str) -> None:
    if c.values.dtype.kind == "f":
        c.missing = c.missing | np.isnan(c.values)
    if not c.missing.any() or missing == "drop":
        return
    count = int(c.missing.sum())
    values = "1 missing value" if count == 1 else f"{count} missing values"
    if missing == "error" or is_target:
        mends = "missing='drop' leaves such rows out" + (
            "" if is_target else ", 'mean' or a number fills them in"
        )
        raise DataError(f"column {c.name!r} of {title} has {values} ({places(c.missing)}); {mends}")
    if c.values.dtype == object:
        c.values = np.where(c.missing, "", c.values)  # a name like others
        return
    if c.missing.all() and missing == "mean":
        raise DataError(f"column {c.name!r} of {title} has no values, of which there could be a mean")
    fill = c.values[~c.missing].mean() if missing == "mean" else missing
    c.values = np.where(c.missing, fill, c.values)


def _numbers(c: _Column, places: _Places, title: str) -> np.ndarray:
    if c.values.dtype == object:
        texts = ~np.array([_is_number(v) or bool(g) for v, g in zip(c.values, c.missing, strict=True)], bool)
        first = c.values[texts][0]
        raise DataError(
            f"column {c.name!r} of {title} holds {first!r} ({places(texts)}), which is no number; leave the column out "
            f"with columns=, or name it in categories= if its values are names"
        )
    if c.values.dtype.kind not in "iufb":
        raise DataError(
            f"column {c.name!r} of {title} holds {c.values.dtype}, which is not numeric; encode it first"
        )
    return c.values


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _one_hot(c: _Column, keep: np.ndarray) -> tuple[list[str], np.ndarray]:
    values = np.array([str(v) for v in c.values[keep]])
    names, codes = np.unique(values, return_inverse=True)
    return [f"{c.name}={n}" for n in names], np.eye(len(names), dtype=np.float32)[codes]


def _target(c: _Column, keep: np.ndarray) -> tuple[np.ndarray, list[str]]:
    values = c.values[keep]
    if values.dtype == object:
        names, codes = np.unique(np.array([str(v) for v in values]), return_inverse=True)
        return codes.astype(np.int64), names.tolist()
    return values.astype(np.float32 if values.dtype.kind == "f" else np.int64), []


def _list(names: Sequence[str]) -> str:
    some: Iterator[str] = (repr(n) for n in names[:8])
    return ", ".join(some) + (", ..." if len(names) > 8 else "")
