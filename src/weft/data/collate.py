"""From a list of samples to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from ..arrays.tensor import Tensor
from ..base.checked import checked
from ..base.errors import DataError
from .dataset import host_array, to_tensor


@checked
def collate(samples: Sequence[Any]) -> Any:
    """Stack samples into a batch: tensors, arrays and numbers along a new first axis; tuples, lists, named tuples and
    mappings part by part; strings become a list.

    >>> x, names = collate([(1.5, "a"), (2.5, "b")])
    >>> x.tolist(), names
    ([1.5, 2.5], ['a', 'b'])
    """
    if not len(samples):
        raise DataError("a batch needs at least one sample")
    return _collate(samples, "")


#: PyTorch's name for it.
default_collate = collate


def _collate(samples: Sequence[Any], where: str) -> Any:
    first = samples[0]
    if isinstance(first, (str, bytes)):
        _check_kind(samples, (str, bytes), where)
        return list(samples)
    if isinstance(first, Mapping):
        keys = set(first)
        for s in samples:
            if not isinstance(s, Mapping) or set(s) != keys:
                got = sorted(map(str, s)) if isinstance(s, Mapping) else type(s).__name__
                raise DataError(
                    f"samples of one batch must have the same keys{where}: {sorted(map(str, keys))} and {got}"
                )
        return {k: _collate([s[k] for s in samples], f"{where}[{k!r}]") for k in first}
    if isinstance(first, (tuple, list)):
        lengths = {len(s) if isinstance(s, (tuple, list)) else 1 for s in samples}
        if len(lengths) > 1:
            raise DataError(f"samples of one batch have different numbers of parts{where}: {sorted(lengths)}")
        parts = [_collate(p, f"{where}[{i}]") for i, p in enumerate(zip(*samples, strict=True))]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return _stack(samples, where)


def _stack(samples: Sequence[Any], where: str) -> Tensor:
    for s in samples:
        if s is None:
            raise DataError(f"a sample{where} is None; every sample of a batch needs a value")
        if isinstance(s, (str, bytes, Mapping)):
            _mixed(samples, where)
    arrays = [host_array(s, f"a sample{where}") for s in samples]
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        mend = "pad them to one shape, or give the loader a collate_fn that does"
        if len({len(s) for s in shapes}) > 1:
            mend = "if they are whole arrays, one for each part of a sample, wrap them in TensorDataset(x, y)"
        raise DataError(
            f"samples of one batch have different shapes{where}: {', '.join(map(str, sorted(shapes)))}; {mend}"
        )
    stacked = np.stack(arrays)
    if stacked.dtype == np.float64 and all(type(s) is float for s in samples):
        stacked = stacked.astype(np.float32)
    return to_tensor(np.ascontiguousarray(stacked))


def _check_kind(samples: Sequence[Any], kinds: tuple[type, ...], where: str) -> None:
    """Raise unless all samples are of these types, as the first one is."""
    if not all(isinstance(s, kinds) for s in samples):
        _mixed(samples, where)


def _mixed(samples: Sequence[Any], where: str) -> NoReturn:
    kinds = sorted({type(s).__name__ for s in samples})
    raise DataError(
        f"samples of one batch are of different kinds{where}: {', '.join(kinds)}; make them one kind"
    )


def default_convert(sample: Any) -> Any:
    """A sample that makes no batch: its arrays become tensors, all else stays."""
    if isinstance(sample, (np.ndarray, np.generic)):
        return to_tensor(np.array(host_array(sample, "a sample"), order="C"))
    if isinstance(sample, Mapping):
        return {k: default_convert(v) for k, v in sample.items()}
    if isinstance(sample, (tuple, list)):
        parts = [default_convert(v) for v in sample]
        return type(sample)(*parts) if hasattr(sample, "_fields") else type(sample)(parts)
    return sample
