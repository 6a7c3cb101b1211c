"""Which settings a search tries next."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from kdcompress.errors import InputError
from kdcompress.searchdir import Trial
from kdcompress.seeding import derive
from kdcompress.space import Axis, Range
from kdcompress.suite import Value

_WORST = -1.0
"""What a refused trial is worth: the least that a rank correlation can be."""
_ATTEMPTS = 20
"""How often new values are drawn where the ones drawn were tried before."""


def check() -> None:
    """Say where Optuna is missing.

    Raises:
        InputError: with how to install it.
    """
    _optuna()


def drawn(axes: Mapping[str, Axis], before: Sequence[Trial], number: int) -> dict[str, Value] | None:
    """Return values that were not tried before; None where there seem to be none left.

    By a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), Optuna's: it knows the trials before, and its
    own draws follow from the trial's number.
    """
    optuna = _optuna()
    kinds = {key: _distribution(axis) for key, axis in axes.items()}
    worth = [one.student for one in before if one.student is not None]
    tried = [one.values for one in before]
    for attempt in range(_ATTEMPTS):
        sampler = optuna.samplers.TPESampler(seed=derive(0, "search", number, attempt) % 2**32)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for one in before:
            # What runs beside it counts as poor, so that its neighbours are not tried too.
            value = (
                one.student if one.state == "done" else _WORST if one.state == "refused" else min(worth, default=0.0)
            )
            settings = {key: _coded(axis, one.values[key]) for key, axis in axes.items()}
            known = optuna.trial.create_trial(
                params=settings, distributions=kinds, value=value if value is not None else _WORST
            )
            study.add_trial(known)
        params = study.ask(kinds).params
        values = {key: _decoded(axis, params[key]) for key, axis in axes.items()}
        if values not in tried:
            return values
    return _left(axes, tried, number)


def _left(axes: Mapping[str, Axis], tried: Sequence[Mapping[str, Value]], number: int) -> dict[str, Value] | None:
    """Return any values that were not tried, where the estimator draws none; None where there are none."""
    dice = random.Random(derive(0, "search", number, "left"))
    if any(isinstance(axis, Range) for axis in axes.values()):
        for _ in range(_ATTEMPTS):
            values = {key: _any(axis, dice) for key, axis in axes.items()}
            if values not in tried:
                return values
        return None
    lists = [tuple(axis) for axis in axes.values() if not isinstance(axis, Range)]
    left = [values for one in itertools.product(*lists) if (values := dict(zip(axes, one, strict=True))) not in tried]
    return dice.choice(left) if left else None


def _any(axis: Axis, dice: random.Random) -> Value:
    if not isinstance(axis, Range):
        return dice.choice(axis)
    if axis.scale == "log":
        return axis.rounded(math.exp(dice.uniform(math.log(axis.first), math.log(axis.last))))
    return axis.rounded(dice.uniform(axis.first, axis.last))


def _distribution(axis: Axis) -> Any:  # noqa: ANN401
    distributions = _optuna().distributions
    if not isinstance(axis, Range):
        return distributions.CategoricalDistribution(tuple(range(len(axis))))
    kind = distributions.IntDistribution if axis.whole else distributions.FloatDistribution
    return kind(axis.first, axis.last, log=axis.scale == "log")


def _coded(axis: Axis, value: Value) -> Any:  # noqa: ANN401
    return value if isinstance(axis, Range) else list(axis).index(value)


def _decoded(axis: Axis, drawn: Any) -> Value:  # noqa: ANN401
    return axis.rounded(drawn) if isinstance(axis, Range) else axis[drawn]


def _optuna() -> Any:  # noqa: ANN401
    try:
        import optuna
    except ImportError:
        raise InputError("a search needs Optuna, which is not installed: pip install 'kdcompress[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
