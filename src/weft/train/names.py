"""Losses, optimisers and metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import metrics as m
from .. import nn, optim
from ..base.errors import ArgumentError, nearest

LOSSES: dict[str, Callable[[], Any]] = {
    "cross_entropy": nn.CrossEntropyLoss,
    "nll": nn.NLLLoss,
    "bce": nn.BCELoss,
    "bce_with_logits": nn.BCEWithLogitsLoss,
    "mse": nn.MSELoss,
    "l1": nn.L1Loss,
    "huber": nn.HuberLoss,
    "smooth_l1": nn.SmoothL1Loss,
    "kl_div": lambda: nn.KLDivLoss(reduction="batchmean"),
    "poisson_nll": nn.PoissonNLLLoss,
    "soft_margin": nn.SoftMarginLoss,
    "hinge_embedding": nn.HingeEmbeddingLoss,
    "multi_margin": nn.MultiMarginLoss,
    "multilabel_margin": nn.MultiLabelMarginLoss,
    "multilabel_soft_margin": nn.MultiLabelSoftMarginLoss,
}
OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "sgd": lambda: optim.SGD(lr=0.01, momentum=0.9),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "nadam": optim.NAdam,
    "radam": optim.RAdam,
    "adamax": optim.Adamax,
    "adafactor": optim.Adafactor,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
    "rmsprop": optim.RMSprop,
    "rprop": optim.Rprop,
    "lion": optim.Lion,
    "asgd": optim.ASGD,
    "muon": lambda: optim.Muon(lr=0.02, weight_decay=0.01, others=optim.AdamW()),
    "lbfgs": lambda: optim.LBFGS(line_search_fn="strong_wolfe"),
}
_OF_LABELS = ("accuracy", "precision", "recall", "f1", "confusion_matrix")


def find_loss(loss: Any) -> Callable[..., Any]:
    """A loss for a name; a function or module of (predictions, targets) as it is."""
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ArgumentError(f"there is no loss {loss!r}. {nearest(loss, LOSSES)}")
        return LOSSES[loss]()
    if isinstance(loss, type):
        raise ArgumentError(
            f"the loss must be an object, got the class {loss.__name__}; write {loss.__name__}()"
        )
    if not callable(loss):
        raise ArgumentError(
            f"the loss is a function of (predictions, targets) or a name, got {type(loss).__name__}"
        )
    return loss


def find_optimizer(optimizer: Any) -> optim.Optimizer:
    """An optimiser for a name, with its usual options; an optimiser as it is."""
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise ArgumentError(f"there is no optimizer {optimizer!r}. {nearest(optimizer, OPTIMIZERS)}")
        return OPTIMIZERS[optimizer]()
    if isinstance(optimizer, type):
        name = optimizer.__name__
        raise ArgumentError(f"the optimizer must be an object, got the class {name}; write {name}(lr=...)")
    if not isinstance(optimizer, optim.Optimizer):
        raise ArgumentError(f"the optimizer is one of weft.optim or a name, got {type(optimizer).__name__}")
    return optimizer


def find_metrics(specs: Iterable[Any] | None, loss: Any) -> list[m.Metric]:
    """Metrics for names. They take after the loss: with one on logits the threshold between two classes is 0 and
    scores of classes are logits; what the loss ignores they leave out, and where it takes probabilities of classes as
    targets, so do they."""
    if specs is None or isinstance(specs, (str, m.Metric)):
        specs = [] if specs is None else [specs]
    found = []
    for spec in specs:
        options: dict[str, Any] = {}
        of_labels = spec in _OF_LABELS or (isinstance(spec, str) and spec.endswith("_accuracy"))
        if of_labels and isinstance(loss, nn.BCEWithLogitsLoss):
            options["threshold"] = 0.0
        if spec == "roc_auc" and isinstance(loss, nn.CrossEntropyLoss):
            options["logits"] = True
        by_class = isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss))
        if by_class and (of_labels or spec in ("roc_auc", "perplexity")):
            options["ignore_index"] = loss.ignore_index
            if spec != "perplexity":
                options["probabilities"] = True
        found.append(m.metric(spec, **options))
    names = [f.name for f in found]
    for name in names:
        if name == "loss" or names.count(name) > 1:
            raise ArgumentError(
                f"two figures would be called {name!r}; give one of the metrics another .name"
            )
    return found
