"""Which values the parameters of a network may have, looked at before any row is read.

The one decision: a literal table of name, condition and what to give instead; names and patterns
that depend on data or modules are refused where these are known.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any

from distml.errors import UserError

__all__ = ["check_parameters"]

Condition = Callable[[Any], bool]


def check_parameters(estimator: Any) -> None:
    """Refuse values that make no sense whatever the data is.

    Args:
        estimator: has the parameters of a network.

    Raises:
        UserError: one of them; the message says what to give.
    """
    for name, (is_allowed, wanted) in _ALLOWED.items():
        value = getattr(estimator, name)
        if not is_allowed(value):
            raise UserError(f"{name}={value!r}: give {wanted}")
    if estimator.average_cycles and estimator.cycles == 1:
        raise UserError("average_cycles=True: one cycle has no mean; give cycles from 2 on")


def _whole(least: int) -> Condition:
    return lambda value: _is_number(value, numbers.Integral) and value >= least


def _number(
    above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> Condition:
    return lambda value: (
        _is_number(value, numbers.Real)
        and math.isfinite(value)
        and value > above
        and least <= value <= most
    )


def _or_none(condition: Condition) -> Condition:
    return lambda value: value is None or condition(value)


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


_ALLOWED: dict[str, tuple[Condition, str]] = {
    "epochs": (_whole(0), "a number from 0 on"),
    "lr": (_number(above=0.0), "a number above 0"),
    "weight_decay": (_number(least=0.0), "a number from 0 on"),
    "warmup": (_number(least=0.0, most=1.0), "a share from 0 to 1"),
    "cycles": (_whole(1), "a number of cycles from 1 on"),
    "early_stopping": (_or_none(_whole(1)), "a number of epochs from 1 on, or None"),
    "accumulate": (_whole(1), "a number of micro-batches from 1 on"),
    "clip_norm": (_or_none(_number(above=0.0)), "a number above 0, or None"),
    "memory_bytes": (_or_none(_whole(1)), "a number of bytes, or None"),
    "checkpoint_every_s": (_number(least=0.0), "a number of seconds"),
    "on_nan": (lambda value: value in ("stop", "rollback"), "'stop' or 'rollback'"),
}
