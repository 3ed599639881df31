"""Predictions: the inputs of every batch, and the outputs of all batches put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..arrays.tensor import Tensor
from ..base.errors import DataError
from ..base.pytree import flatten, unflatten
from ..data import DataLoader, TensorDataset
from ..data.dataset import host_array, to_tensor
from ..ir.dtype import DType
from .inputs import floats_as


def inputs_of(data: Any, batch_size: int, dtype: DType) -> Iterator[tuple[Any, ...]]:
    """The inputs of every batch, targets dropped."""
    if isinstance(data, (Tensor, np.ndarray, list, tuple)):
        given = data if isinstance(data, tuple) else (data,)
        arrays = [floats_as(host_array(a, "predict's x"), dtype) for a in given]
        if any(a.ndim == 0 for a in arrays):
            raise DataError("predict's x is a single number; its first axis must count samples")
        if any(len(a) == 0 for a in arrays):
            raise DataError("predict got no samples")
        yield from DataLoader(TensorDataset(*arrays), batch_size, seed=0)
        return
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size, seed=0)
    for batch in loader:
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        yield tuple(parts[:-1]) if len(parts) > 1 else tuple(parts)


def joined(outputs: Iterable[Any]) -> Any:
    """Outputs of one structure, their tensors joined along the first axis."""
    parts: list[list[np.ndarray]] = []
    structure = None
    for out in outputs:
        leaves, structure = flatten(out)
        parts.append([host_array(leaf) for leaf in leaves])
    if structure is None:
        raise DataError("predict got no data")
    return unflatten(structure, [to_tensor(np.concatenate(column)) for column in zip(*parts, strict=True)])
