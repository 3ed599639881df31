"""What the tests of optimisers share: rules with tables of options, and a loss."""

import numpy as np

from weft.arrays.creation import tensor
from weft.optim import SGD, Adam, AdamW

KINDS = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}

OPTIONS = [
    ("SGD", dict(lr=0.1)),
    ("SGD", dict(lr=0.1, weight_decay=0.05)),
    ("SGD", dict(lr=0.1, momentum=0.9)),
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.5)),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
    ("SGD", dict(lr=0.02, momentum=0.5, maximize=True)),
    ("Adam", dict(lr=0.1)),
    ("Adam", dict(lr=0.1, betas=(0.8, 0.95), eps=1e-4)),
    ("Adam", dict(lr=0.1, betas=(0.0, 0.0))),
    ("Adam", dict(lr=0.1, weight_decay=0.1)),
    ("Adam", dict(lr=0.3, amsgrad=True)),
    ("Adam", dict(lr=0.1, maximize=True, weight_decay=0.1)),
    ("AdamW", dict(lr=0.1)),
    ("AdamW", dict(lr=0.1, weight_decay=0.5, amsgrad=True)),
]


def parameter(array, dtype="float32"):
    return tensor(np.array(array, dtype=dtype), requires_grad=True)


def loss_of(w, b):
    """Anything with a minimum that is not symmetric; the same text works on tensors of both libraries."""
    return (w * w).sum() * 0.5 + (w * b * 0.3).sum() + (b * b * b * b).sum() * 0.05
