"""Datasets, samplers, loaders, and the real data that ships with Weft."""

from . import transforms
from .buckets import BucketSampler
from .collate import collate, default_collate, default_convert
from .combined import ChainDataset, ConcatDataset, Subset, random_split
from .dataset import Dataset, IterableDataset, TensorDataset
from .generators import from_generator
from .handwriting import digits
from .idx import read_idx
from .image_folder import ImageFolder, read_image
from .loader import DataLoader
from .originals import CIFAR10, MNIST, FashionMNIST
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
from .vocabulary import PadCollate, Vocabulary, pad_sequences, tokenize
from .worker import WorkerInfo, get_worker_info

__all__ = [
    "CIFAR10",
    "MNIST",
    "BatchSampler",
    "BucketSampler",
    "ChainDataset",
    "CharText",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "FashionMNIST",
    "ImageFolder",
    "IterableDataset",
    "PadCollate",
    "RandomSampler",
    "RandomStream",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TableDataset",
    "TensorDataset",
    "Vocabulary",
    "WeightedRandomSampler",
    "Windows",
    "WorkerInfo",
    "collate",
    "default_collate",
    "default_convert",
    "digits",
    "from_arrow",
    "from_csv",
    "from_generator",
    "from_pandas",
    "get_worker_info",
    "item_rng",
    "pad_sequences",
    "random_split",
    "read_idx",
    "read_image",
    "seeded",
    "shakespeare",
    "tokenize",
    "transforms",
]
