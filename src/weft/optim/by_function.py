"""Schedules that multiply the rate by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..base.errors import ArgumentError
from .optimizer import Optimizer
from .schedule import Schedule

Factor = Callable[[int], float]


class _ByFunction(Schedule):
    """Each group's rate by a function of the user: one for all groups, or one for each."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1
    ) -> None:
        self.lr_lambda = lr_lambda
        count = len(optimizer.param_groups) if isinstance(optimizer, Optimizer) else 0
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count and count:
            raise ArgumentError(
                f"{type(self).__name__} got {len(self.lr_lambdas)} functions for an optimiser with {count} parameter "
                "groups; give one function, or one for each group"
            )
        super().__init__(optimizer, last_epoch)

    def factor(self, group: int, t: int) -> float:
        """What the base rate of a group is multiplied by at time t."""
        raise NotImplementedError

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        starts = self.base_lrs if bases is None else bases
        return [base * self.factor(i, t) for i, base in enumerate(starts)]


class LambdaLR(_ByFunction):
    """Base rate times a function of the time.

        lr = base * lr_lambda(t)

    Args:
        lr_lambda: the function; or a list of one for each parameter group. A saved state does not contain it: give it
            again when the schedule is made again.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    >>> s = LambdaLR(SGD([weft.zeros(3)], lr=1.0), lambda t: 1 / (1 + t))
    >>> [round(s.rates(t)[0], 3) for t in range(4)]
    [1.0, 0.5, 0.333, 0.25]
    """

    def factor(self, group: int, t: int) -> float:
        return float(self.lr_lambdas[group](t))


class MultiplicativeLR(_ByFunction):
    """The rate is multiplied by a function of the time at every step.

        lr = base * lr_lambda(1) * lr_lambda(2) * ... * lr_lambda(t)

    Args:
        lr_lambda: the function; or a list of one for each parameter group. A saved state does not contain it: give it
            again when the schedule is made again.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    >>> s = MultiplicativeLR(SGD([weft.zeros(3)], lr=1.0), lambda t: 0.5 if t == 2 else 0.9)
    >>> [round(s.rates(t)[0], 3) for t in range(4)]
    [1.0, 0.9, 0.45, 0.405]
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1
    ) -> None:
        self._products: dict[
            int, list[float]
        ] = {}  # of the factors up to each time, as far as they were asked for
        super().__init__(optimizer, lr_lambda, last_epoch)

    def factor(self, group: int, t: int) -> float:
        found = self._products.setdefault(group, [1.0])
        while len(found) <= t:
            found.append(found[-1] * float(self.lr_lambdas[group](len(found))))
        return found[t]
