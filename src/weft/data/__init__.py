"""Datasets, samplers, loaders, and the real data that ships with Weft."""

from .collate import collate, default_collate
from .combined import ChainDataset, ConcatDataset, Subset, random_split
from .dataset import Dataset, IterableDataset, TensorDataset
from .handwriting import digits
from .loader import DataLoader
from .randomness import RandomStream, item_rng, seeded
from .sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from .text import CharText, Windows, shakespeare
from .worker import WorkerInfo, get_worker_info

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "CharText",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "RandomStream",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "Windows",
    "WorkerInfo",
    "collate",
    "default_collate",
    "digits",
    "get_worker_info",
    "item_rng",
    "random_split",
    "seeded",
    "shakespeare",
]
