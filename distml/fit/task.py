"""Fit: dataset → split → encode → fit → evaluate → save.

The estimator does the fitting, wherever its ensembles spread it; this task brings the data to it
and holds it against its baselines on test sets that it never saw. What is learnt from data (the
encoder, a feature selection, a rule's two sides) is learnt from the training rows alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, is_classifier, is_regressor

from distml.data import Encoder, ShardedDataset, Split, evaluate_rule, rule_columns
from distml.errors import UserError
from distml.fit.baselines import RuleClassifier, RuleRegressor, constant
from distml.fit.evaluate import check_metrics, default_metrics
from distml.fit.evaluation import Question, evaluate_set
from distml.fit.leaderboard import Entry, fitted, leaderboard, models, named_apart
from distml.fit.predictions import Predictions, predict_blocks
from distml.fit.recipe import Recipe
from distml.fit.summary import describe_data
from distml.fit.tables import Parts, column_names, draw_rows, read_labels, split_table
from distml.job import Result, RunContext
from distml.runs.bundle import Model, save_model
from distml.runs.paths import RunPaths
from distml.runs.script import script_files
from distml.runs.storage import open_storage
from distml.runs.strict_json import dumps

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
    cost: tuple[float, float] | None = None
    """What a false positive and a false negative cost, for the table of thresholds. `None`: 1."""
    units: str | None = None
    """Unit of the label, such as `"USD"`."""

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
        recipe = Recipe.of(self.encoder, self.selector, self.estimator, context.seed)
        y = parts.y("train")
        with clock.phase("encode"):
            X = recipe.learn(parts.features("train", columns), y)
        with clock.phase("fit"):
            recipe.estimator.fit(X, y)
        del X
        with clock.phase("evaluate"):
            entries = named_apart(
                [*models(recipe.estimator, clock.seconds["fit"]), *self._baselines(parts)]
            )
            predicted = {
                name: self._predicted(entries, parts, name, columns, recipe) for name in parts.tests
            }
            evaluation, scores = self._evaluation(parts, columns, predicted, context.seed)
            table = leaderboard(entries, predicted, scores)
        with clock.phase("save"):
            run = RunPaths(context.run_uri)
            open_storage(context.run_uri).write(RunPaths("").evaluation, dumps(evaluation).encode())
            about = {
                "data": {"uri": dataset.uri, "fingerprint": dataset.fingerprint},
                "scores": {name: table[0][name] for name in parts.tests},
            }
            model = replace(
                self._model(dataset, columns, parts, recipe),
                metadata={"run": context.run_id, **about},
            )
            unseen = parts.features(parts.tests[0], columns)
            save_model(
                run.bundle,
                model,
                golden=unseen,
                card=self._card(about["data"], parts, table, evaluation),
                profile_rows=parts.features("train", columns),
                unseen_rows=unseen,
                files=script_files(context.run_uri),
            )
        return Result(
            metrics={name: table[0][name] for name in parts.tests},
            table=table,
            artifacts={"bundle": "bundle", "evaluation": RunPaths("").evaluation},
            details={
                "data": {"uri": dataset.uri, "fingerprint": dataset.fingerprint},
                "rows": {name: len(rows) for name, rows in parts.rows.items()},
                "split": self.split.describe(),
                "rule": self.rule,
                "features": list(columns),
                "matrix": list(map(str, recipe.encoder.get_feature_names_out())),
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

    def _predicted(
        self,
        entries: Sequence[Entry],
        parts: Parts,
        name: str,
        columns: Sequence[str],
        recipe: Recipe,
    ) -> dict[str, Predictions]:
        """What every model of the leaderboard says of one test set."""
        rows = parts.features(name, columns)
        holds = None if self.rule is None else self._holds(parts, name)
        inputs: dict[str, Callable[[slice], Any]] = {
            "matrix": lambda block: recipe.encode(rows[block]),
            "nothing": lambda block: np.empty((block.stop - block.start, 0)),
            "rule": lambda block: holds if holds is None else holds[block],
        }
        pairs = [(entry.model, entry.needs) for entry in entries]
        said = predict_blocks(pairs, inputs, rows.num_rows)
        return {entry.name: each for entry, each in zip(entries, said, strict=True)}

    def _evaluation(
        self,
        parts: Parts,
        columns: Sequence[str],
        predicted: Mapping[str, Mapping[str, Predictions]],
        seed: int,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What goes into `evaluation.json`, and scores by test set, model and scorer."""
        classes = parts.labels.classes
        question = Question(
            label=self.label,
            classes=None if classes is None else classes.tolist(),
            metrics=tuple(self.metrics) or default_metrics(parts.labels.num_classes),
            cost=self.cost or (1.0, 1.0),
            units=self.units,
            seed=seed,
        )
        sets, scores = {}, {}
        for name, said in predicted.items():
            sets[name], bootstrap = evaluate_set(question, said, parts.y(name))
            scores[name] = bootstrap.values
        return {
            **question.head(next(iter(said))),
            "sets": sets,
            "data": describe_data(parts, columns),
        }, scores

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
        self, dataset: ShardedDataset, columns: Sequence[str], parts: Parts, recipe: Recipe
    ) -> Model:
        read = set(getattr(recipe.encoder, "feature_names_in_", columns))
        classes = parts.labels.classes
        return Model(
            estimator=recipe.estimator,
            encoder=recipe.encoder,
            schema=dataset.select([name for name in columns if name in read]).schema,
            label=self.label,
            task="regression" if classes is None else "classification",
            classes=None if classes is None else classes.tolist(),
            takes=recipe.takes,
        )

    def _card(
        self,
        data: Mapping[str, str],
        parts: Parts,
        table: Sequence[Mapping[str, Any]],
        evaluation: Mapping[str, Any],
    ) -> dict[str, Any]:
        """What the model card says beyond the model; see `distml.runs.card`."""
        return {
            "data": {**data, "rows": {name: len(rows) for name, rows in parts.rows.items()}},
            "split": self.split.describe(),
            "table": table,
            "evaluation": evaluation,
            "units": self.units,
        }

    def _holds(self, parts: Parts, name: str) -> np.ndarray:
        """Where the rule holds: bool array of shape (num_rows_of_part,)."""
        assert self.rule is not None
        columns = parts.table.select(list(rule_columns(self.rule)))
        return evaluate_rule(self.rule, columns.take(pa.array(parts.rows[name])))


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
