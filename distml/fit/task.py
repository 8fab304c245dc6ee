"""Fit: dataset → split → encode → fit → evaluate → save.

The estimator does the fitting, wherever its ensembles spread it; this task brings the data to it
and holds it against its baselines on test sets that it never saw. What is learnt from data (the
encoder, a feature selection, a rule's two sides) is learnt from the training rows alone.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.pipeline import make_pipeline

from distml.data import Encoder, ShardedDataset, Split, evaluate_rule, rule_columns
from distml.errors import UserError
from distml.fit.baselines import RuleClassifier, RuleRegressor, constant
from distml.fit.evaluate import check_metrics, default_metrics
from distml.fit.leaderboard import Entry, fitted, leaderboard, models
from distml.fit.tables import Parts, column_names, draw_rows, read_labels, split_table
from distml.job import Result, RunContext
from distml.runs.bundle import Model, save_model

__all__ = ["Fit"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Fit an estimator on a dataset and leave a model that can be used without Ray.

    Raises:
        UserError: an argument makes no sense.
    """

    data: ShardedDataset | str | Path
    """The rows: a dataset, or what `ShardedDataset.open` takes."""
    label: str
    """The column to predict."""
    estimator: BaseEstimator
    """scikit-learn classifier or regressor; a `random_state` left at `None` is set from the
    seed."""
    split: Split
    """Test sets by name; the rest of the rows is for training."""
    features: Sequence[str] | None = None
    """Columns to learn from. `None`: all but the label."""
    encoder: Any = field(default_factory=Encoder)
    """Makes a matrix of the features: an `Encoder`, or any scikit-learn transformer of a
    DataFrame."""
    selector: Any = None
    """scikit-learn feature selection, applied to the matrix."""
    metrics: Sequence[str] = ()
    """scikit-learn's scorer names; a usual set for the kind of label if empty."""
    rule: str | None = None
    """A condition over columns to beat, such as `"dep_hour >= 17 and wind_gust > 25"`."""
    rows: int | None = None
    """Use only this many rows, drawn by the seed."""

    def __post_init__(self) -> None:
        if not (is_classifier(self.estimator) or is_regressor(self.estimator)):
            name = type(self.estimator).__name__
            raise UserError(f"estimator={name}: give a scikit-learn classifier or regressor")
        if self.rows is not None and self.rows < 1:
            raise UserError(f"rows={self.rows} must be at least 1; None means all")
        check_metrics(self.metrics)
        if self.rule is not None:
            rule_columns(self.rule)

    def run(self, context: RunContext) -> Result:
        """Do the work in a run.

        Raises:
            UserError: the data or an argument is wrong.
            MemberError: members of an ensemble failed.
            StorageError: the run's storage is full or refuses.
        """
        clock = _Clock(context)
        with clock.phase("read"):
            dataset = self._open()
            columns = column_names(dataset, self.label, self.features)
            parts = self._parts(dataset, columns, context.seed)
        metrics = tuple(self.metrics) or default_metrics(parts.labels.num_classes)
        y = parts.y("train")
        with clock.phase("encode"):
            encoder = self._encoder(context.seed)
            X = encoder.fit_transform(self._features(parts, "train", columns), y)
        with clock.phase("fit"):
            estimator = seeded(self.estimator, context.seed).fit(X, y)
        del X
        with clock.phase("evaluate"):
            entries = [*models(estimator, clock.seconds["fit"]), *self._baselines(parts)]
            inputs = {name: self._inputs(parts, name, columns, encoder) for name in parts.tests}
            table = leaderboard(entries, inputs, {n: parts.y(n) for n in parts.tests}, metrics)
        with clock.phase("save"):
            model = self._model(dataset, columns, parts, encoder, estimator)
            save_model(
                f"{context.run_uri}/bundle", replace(model, metadata={"run": context.run_id})
            )
        return Result(
            metrics={name: table[0][name] for name in parts.tests},
            table=table,
            artifacts={"bundle": "bundle"},
            details={
                "data": {"uri": dataset.uri, "fingerprint": dataset.fingerprint},
                "rows": {name: len(rows) for name, rows in parts.rows.items()},
                "split": self.split.describe(),
                "rule": self.rule,
                "features": list(columns),
                "matrix": list(map(str, encoder.get_feature_names_out())),
                "seconds": clock.seconds,
            },
        )

    def _open(self) -> ShardedDataset:
        return (
            self.data if isinstance(self.data, ShardedDataset) else ShardedDataset.open(self.data)
        )

    def _parts(self, dataset: ShardedDataset, columns: Sequence[str], seed: int) -> Parts:
        needed = {*columns, self.label, *(rule_columns(self.rule) if self.rule else ())}
        split_columns = self.split.columns
        needed |= set(dataset.schema.names if split_columns is None else split_columns)
        order = [name for name in dataset.schema.names if name in needed]
        unknown = sorted(needed.difference(order))
        table = draw_rows(dataset.to_table([*order, *unknown]), self.rows, seed)
        labels = read_labels(
            table[self.label], self.label, classification=is_classifier(self.estimator)
        )
        folds = self.estimator.get_params().get("cv")
        return split_table(table, labels, self.split, folds if isinstance(folds, int) else None)

    def _encoder(self, seed: int) -> Any:
        if self.selector is None:
            return seeded(self.encoder, seed)
        return make_pipeline(seeded(self.encoder, seed), seeded(self.selector, seed))

    def _features(self, parts: Parts, name: str, columns: Sequence[str]) -> Any:
        """What the encoder is given: our own reads Arrow, scikit-learn's read DataFrames."""
        features = parts.features(name, columns)
        return features if isinstance(self.encoder, Encoder) else features.to_pandas()

    def _inputs(
        self, parts: Parts, name: str, columns: Sequence[str], encoder: Any
    ) -> dict[str, Any]:
        """What the models of the leaderboard predict one test set from."""
        inputs = {
            "matrix": encoder.transform(self._features(parts, name, columns)),
            "nothing": np.empty((len(parts.rows[name]), 0)),
        }
        return inputs if self.rule is None else {**inputs, "rule": self._holds(parts, name)}

    def _baselines(self, parts: Parts) -> Iterator[Entry]:
        y, num_classes = parts.y("train"), parts.labels.num_classes
        nothing = np.empty((len(y), 0))
        yield fitted("constant", constant(classification=num_classes is not None), nothing, y)
        if self.rule is None:
            return
        if num_classes not in (None, 2):
            raise UserError(
                f"rule={self.rule!r} decides between 2 classes, but label {self.label!r} has "
                f"{num_classes}; leave the rule out"
            )
        rule = RuleRegressor() if num_classes is None else RuleClassifier()
        yield fitted("rule", rule, self._holds(parts, "train"), y, needs="rule")

    def _model(
        self,
        dataset: ShardedDataset,
        columns: Sequence[str],
        parts: Parts,
        encoder: Any,
        estimator: BaseEstimator,
    ) -> Model:
        read = set(getattr(encoder, "feature_names_in_", columns))
        classes = parts.labels.classes
        return Model(
            estimator=estimator,
            encoder=encoder,
            schema=dataset.select([name for name in columns if name in read]).schema,
            label=self.label,
            task="regression" if classes is None else "classification",
            classes=None if classes is None else classes.tolist(),
            takes="arrow" if isinstance(self.encoder, Encoder) else "pandas",
        )

    def _holds(self, parts: Parts, name: str) -> np.ndarray:
        """Where the rule holds: bool array of shape (num_rows_of_part,)."""
        assert self.rule is not None
        columns = parts.table.select(list(rule_columns(self.rule)))
        return evaluate_rule(self.rule, columns.take(pa.array(parts.rows[name])))


def seeded(estimator: BaseEstimator, seed: int) -> BaseEstimator:
    """A clone in which every `random_state` left at `None` has a number of its own from the seed.

    What a job does not fix is fixed by its seed, so a run can be resumed and reproduced.
    """
    estimator = clone(estimator)
    open_states = [
        name
        for name, value in sorted(estimator.get_params(deep=True).items())
        if name.split("__")[-1] == "random_state" and value is None
    ]
    numbers = np.random.SeedSequence(seed).generate_state(len(open_states)) % (2**31)
    return estimator.set_params(**dict(zip(open_states, map(int, numbers), strict=True)))


class _Clock:
    """Seconds of each phase, said as events when it begins."""

    def __init__(self, context: RunContext) -> None:
        self._emit = context.emit
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._emit("phase", name=name)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started
