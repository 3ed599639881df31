"""Datasets, samplers, loaders, and the real data that ships with Weft."""

from . import transforms
from .collate import collate, default_collate
from .combined import ChainDataset, ConcatDataset, Subset, random_split
from .dataset import Dataset, IterableDataset, TensorDataset
from .generators import from_generator
from .handwriting import digits
from .image_folder import ImageFolder, read_image
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
from .tables import TableDataset, from_arrow, from_csv, from_pandas
from .text import CharText, Windows, shakespeare
from .worker import WorkerInfo, get_worker_info

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "CharText",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "IterableDataset",
    "RandomSampler",
    "RandomStream",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TableDataset",
    "TensorDataset",
    "WeightedRandomSampler",
    "Windows",
    "WorkerInfo",
    "collate",
    "default_collate",
    "digits",
    "from_arrow",
    "from_csv",
    "from_generator",
    "from_pandas",
    "get_worker_info",
    "item_rng",
    "random_split",
    "read_image",
    "seeded",
    "shakespeare",
    "transforms",
]
