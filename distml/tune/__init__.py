"""Search for hyper-parameters: every fold of every trial a unit of the flat graph."""

from distml.tune.ensemble import TunedEnsemble
from distml.tune.estimator import TuneSearchCV
from distml.tune.task import Tune

__all__ = ["Tune", "TuneSearchCV", "TunedEnsemble"]
