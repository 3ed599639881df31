"""Datasets, loaders, and the real data that ships with Weft."""

from .dataset import Dataset, Subset, TensorDataset, random_split
from .handwriting import digits
from .loader import DataLoader, collate
from .text import CharText, Windows, shakespeare

__all__ = [
    "CharText",
    "DataLoader",
    "Dataset",
    "Subset",
    "TensorDataset",
    "Windows",
    "collate",
    "digits",
    "random_split",
    "shakespeare",
]
