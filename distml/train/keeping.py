"""Where the checkpoints of a network's fit are kept: under a name that says what is fitted.

The one decision: like a unit, a fit is named by the content that determines it, and not by where it
runs, so a fit that was interrupted goes on wherever the same storage is at hand. How many workers
there are, and how often a checkpoint is made, changes nothing that is trained.
"""

from typing import TYPE_CHECKING, Any

from distml.runs.storage import join_uri
from distml.runs.units import active_units, unit_key
from distml.train.checkpoint import Checkpoints

if TYPE_CHECKING:
    from distml.train.training_data import TrainingData

__all__ = ["place_of"]

_FORMAT = 1
_INDIFFERENT = {
    "num_workers",
    "cpus_per_worker",
    "gpus_per_worker",
    "checkpoint_every_s",
    "strategy",
    "on_nan",
}


def place_of(
    estimator: Any, data: "TrainingData", *, epochs: int, began: Any
) -> Checkpoints | None:
    """The checkpoints of a fit; `None` outside of a run, where nothing is kept.

    Args:
        estimator: the network, with its parameters.
        data: the rows it is fitted to.
        epochs: how many times.
        began: what it goes on with: weights, and the steps they have had.

    Raises:
        UserError: a parameter cannot be told by its content.
    """
    units = active_units()
    if units is None:
        return None
    parameters = estimator.get_params(deep=False)
    key = unit_key(
        format=_FORMAT,
        kind=type(estimator).__name__,
        parameters={name: v for name, v in parameters.items() if name not in _INDIFFERENT},
        content=data.content,
        epochs=epochs,
        began=began,
    )
    return Checkpoints(join_uri(units.uri, "checkpoints", key))
