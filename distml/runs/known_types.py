"""Which types and functions a model may hold and still be loaded without trust.

The one decision: skops' own list, what is named here, and by rule what libraries we depend on
define for models: estimators, splitters, kernels, scorers and the functions they call. A name is
looked up in the module that defines it, so nothing else can be called under such a name.
"""

import importlib
import sys

import numpy as np

__all__ = ["strangers_among"]

_TRUSTED = frozenset({
    "functools.partial",
    "numpy.dtype",
    "numpy.mean",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.sparse._csr.csr_matrix",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.impute._iterative._ImputerTriplet",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
    "sklearn.utils.validation.check_array",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBModel",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
    "xgboost.sklearn.XGBRegressor",
})  # fmt: skip
"""Types and functions that skops does not trust by itself, and that do no harm wherever they are
called; trees, because `model_file` looks at their nodes before anything follows them."""

_OUR_ROOMS = ("distml.data.", "distml.ensemble.", "distml.train.")
"""Where our own estimators and their parts live; classes defined there are trusted."""

_BASES = {
    "sklearn.gaussian_process.kernels": ("Kernel",),
    "sklearn.metrics._scorer": ("_BaseScorer", "_MultimetricScorer", "_PassthroughScorer"),
}
"""Module of scikit-learn → its classes all of whose subclasses there are parts of models."""

_METRICS = tuple(f"sklearn.metrics._{kind}" for kind in ("classification", "ranking", "regression"))
"""Modules whose public functions compare labels with predictions, arrays all."""


def strangers_among(names: list[str]) -> list[str]:
    """Of dotted names of types and functions, those that may do harm when they are loaded.

    Args:
        names: As skops gives them.

    Returns:
        Those of which nothing is known, in order.
    """
    return [name for name in names if name not in _TRUSTED and not _is_known(name)]


def _is_known(name: str) -> bool:
    """Whether a name is that of a class of ours, a ufunc, or what scikit-learn makes models of."""
    module_name, _, own_name = name.rpartition(".")
    if not name.startswith((*_OUR_ROOMS, "sklearn.", "numpy.", "scipy.")) or ".tests." in name:
        return False
    try:
        thing = getattr(importlib.import_module(module_name), own_name, None)
    except ImportError:
        return False
    if not name.startswith((*_OUR_ROOMS, "sklearn.")):
        return isinstance(thing, np.ufunc)
    if getattr(thing, "__module__", None) != module_name:
        return False
    if not isinstance(thing, type):
        return module_name in _METRICS and _is_public_metric(own_name)
    return name.startswith(_OUR_ROOMS) or _is_of_a_model(thing)


def _is_of_a_model(kind: type) -> bool:
    from sklearn.base import BaseEstimator

    bases = [
        getattr(sys.modules[kind.__module__], name) for name in _BASES.get(kind.__module__, ())
    ]
    return issubclass(kind, (BaseEstimator, *bases)) or _is_splitter(kind)


def _is_splitter(kind: type) -> bool:
    """Whether a class of scikit-learn makes folds, which no base class says of all that do."""
    return kind.__module__.startswith("sklearn.model_selection.") and hasattr(kind, "get_n_splits")


def _is_public_metric(name: str) -> bool:
    from sklearn import metrics

    return name in metrics.__all__
