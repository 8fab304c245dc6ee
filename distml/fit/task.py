"""Fit: dataset → split → encode → fit → evaluate → save.

The estimator does the fitting, wherever its ensembles spread it; this task brings the data to it
and holds it against its baselines on test sets that it never saw. What is learnt from data (the
encoder, a feature selection, a rule's two sides) is learnt from the training rows alone.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from sklearn.base import BaseEstimator, is_classifier, is_regressor

from distml.data import Encoder, Selection, ShardedDataset, Split, rule_columns
from distml.errors import UserError
from distml.fit.delivery import Delivery
from distml.fit.evaluate import check_metrics, default_metrics
from distml.fit.evaluation import Question
from distml.fit.former import load_former
from distml.fit.recipe import Recipe
from distml.fit.searches import describe_search, what_predicts
from distml.fit.tables import (
    Parts,
    Table,
    column_names,
    draw_rows,
    is_nested,
    read_labels,
    split_table,
)
from distml.fit.trial import Trial
from distml.fit.validation import (
    check_sizes,
    cross_validate,
    learning_curve,
    refits_of_curve,
    refits_of_folds,
)
from distml.fit.warm import warm_recipe
from distml.job import Result, RunContext
from distml.runs.units import active_units
from distml.spread import connecting_s

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
    DataFrame. `None`: the estimator is given the rows as an Arrow table, which networks read
    themselves: categories, text, images and sequences too. One with `memory_bytes` streams rows
    that take more than that, in training and evaluation; only labels are held whole."""
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
    slices: Sequence[str] = ()
    """Columns by whose values test sets are also scored in parts; they need not be features."""
    cross_validation: int | None = None
    """Also score the recipe on so many folds of the training rows."""
    learning_curve: Sequence[float] | bool = False
    """Also fit on fewer training rows: numbers of rows, or shares up to 1.0; `True`: five."""

    def __post_init__(self) -> None:
        if not (is_classifier(self.estimator) or is_regressor(self.estimator)):
            name = type(self.estimator).__name__
            raise UserError(f"estimator={name}: give a scikit-learn classifier or regressor")
        if self.rows is not None and self.rows < 1:
            raise UserError(f"rows={self.rows} must be at least 1; None means all")
        if self.encoder is None and self.selector is not None:
            raise UserError(
                "selector: there is no matrix to select from with encoder=None; leave it out"
            )
        check_metrics(self.metrics)
        if self.rule is not None:
            rule_columns(self.rule)
        self._check_evaluation()

    def _check_evaluation(self) -> None:
        if isinstance(self.slices, str):
            raise UserError(f"slices={self.slices!r}: give a list, [{self.slices!r}]")
        if self.cost is not None and not (len(self.cost) == 2 and min(self.cost) >= 0):
            raise UserError(
                f"cost={self.cost!r}: give what a false positive and a false negative cost, "
                "two numbers that are not negative"
            )
        if self.cross_validation is not None and self.cross_validation < 2:
            raise UserError(f"cross_validation={self.cross_validation} must be at least 2 folds")
        check_sizes(self.learning_curve)

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
        former = load_former(context.former)
        if former is not None and context.former is not None and context.former.warm:
            recipe = warm_recipe(recipe, former, columns)
        y = parts.y("train")
        with clock.phase("encode"):
            X = recipe.learn(parts.features("train", columns), y)
        with clock.phase("fit"):
            recipe.train(X, y)
        del X
        trial = Trial(
            question=self._question(parts, context.seed),
            # Of a search its best model; what it came to is kept beside.
            recipe=replace(recipe, estimator=what_predicts(recipe.estimator)),
            parts=parts,
            columns=columns,
            rule=self.rule,
            slices=self.slices,
            former=former,
        )
        with clock.phase("evaluate"):
            entries = trial.entries(clock.seconds["fit"])
            predicted = trial.predict(entries)
            evaluation = trial.evaluate(predicted)
        with clock.phase("explain"):
            evaluation |= trial.explain()
        evaluation |= {"search": describe_search(recipe.estimator)}
        evaluation |= self._refitted(trial, recipe, clock)
        with clock.phase("save"):
            table = trial.leaderboard(entries, predicted, evaluation)
            delivery = Delivery(trial=trial, dataset=dataset, split=self.split.describe())
            manifest = delivery.write(context, table, evaluation)
        return delivery.result(table, evaluation, clock.seconds, manifest)

    def plan(self, context: RunContext) -> dict[str, Any]:
        """Say what a run would take; see `plan_fit`."""
        # Only here: no run needs what a plan does.
        from distml.fit.planning import plan_fit

        units = active_units()
        if units is None or next(units.keys(), None) is None:
            return plan_fit(self, context)
        return plan_fit(self, context, stored=partial(self._stored, context.seed))

    def _open(self) -> ShardedDataset:
        return (
            self.data if isinstance(self.data, ShardedDataset) else ShardedDataset.open(self.data)
        )

    def _parts(self, dataset: ShardedDataset, columns: Sequence[str], seed: int) -> Parts:
        needed = {*columns, self.label, *self.slices}
        needed |= set(rule_columns(self.rule) if self.rule else ())
        split_columns = self.split.columns
        needed |= set(dataset.schema.names if split_columns is None else split_columns)
        order = [name for name in dataset.schema.names if name in needed]
        unknown = sorted(needed.difference(order))
        self._check_slices(dataset.select([*order, *unknown]).schema)
        table = draw_rows(self._rows(dataset.select([*order, *unknown])), self.rows, seed)
        label = table.to_table([self.label]) if isinstance(table, Selection) else table
        labels = read_labels(
            label[self.label], self.label, classification=is_classifier(self.estimator)
        )
        folds = self.estimator.get_params().get("cv")
        return split_table(table, labels, self.split, folds if isinstance(folds, int) else None)

    def _rows(self, dataset: ShardedDataset) -> Table:
        """In memory, unless it is for a network that streams them."""
        if not self.streams(dataset):
            return dataset.to_table()
        if self.cross_validation is not None or self.learning_curve:
            name = "cross_validation" if self.cross_validation is not None else "learning_curve"
            raise UserError(
                f"{name}: the rows take more than memory_bytes={self.estimator.memory_bytes:,} and "
                "are streamed once; leave it out, or give more memory"
            )
        return Selection(dataset)

    def streams(self, dataset: ShardedDataset) -> bool:
        """Whether the estimator reads the rows itself, and they take more than it may hold.

        Raises:
            DataError: the first shard cannot be read.
        """
        if self.encoder is not None:
            return False
        most = getattr(self.estimator, "memory_bytes", None)
        share = 1.0 if self.rows is None else self.rows / max(dataset.num_rows, 1)
        return most is not None and Selection(dataset).is_larger_than(int(most / share))

    def _check_slices(self, schema: pa.Schema) -> None:
        for name in self.slices:
            if is_nested(schema.field(name).type):
                kind = schema.field(name).type
                raise UserError(f"slices: {name!r} is {kind}, which has no plain values; drop it")

    def _question(self, parts: Parts, seed: int) -> Question:
        classes = parts.labels.classes
        return Question(
            label=self.label,
            classes=None if classes is None else classes.tolist(),
            metrics=tuple(self.metrics) or default_metrics(parts.labels.num_classes),
            cost=self.cost or (1.0, 1.0),
            units=self.units,
            seed=seed,
        )

    def _refitted(self, trial: Trial, recipe: Recipe, clock: "_Clock") -> dict[str, Any]:
        """What takes further fits, where it is asked for; a search searches again in each."""
        found: dict[str, Any] = {"cross_validation": None, "learning_curve": None}
        given = (trial.question, recipe, trial.parts, trial.columns)
        seconds = clock.seconds["encode"] + clock.seconds["fit"]
        if self.cross_validation is not None:
            with clock.phase("cross-validate"):
                found["cross_validation"] = cross_validate(
                    *given, folds=self.cross_validation, emit=clock.emit, seconds=seconds
                )
        if self.learning_curve:
            with clock.phase("learning curve"):
                found["learning_curve"] = learning_curve(
                    *given, sizes=self.learning_curve, emit=clock.emit, seconds=seconds
                )
        return found

    def _stored(self, seed: int, *, has_members: bool) -> Mapping[str, int]:
        """Fits of a run that the active store has."""
        from distml.fit.stored import survey

        dataset = self._open()
        columns = column_names(dataset, self.label, self.features)
        parts = self._parts(dataset, columns, seed)
        recipe = Recipe.of(self.encoder, self.selector, self.estimator, seed)
        given = (self._question(parts, seed), recipe, parts, columns)
        refits = []
        if self.cross_validation is not None:
            refits.append(refits_of_folds(*given, folds=self.cross_validation))
        if self.learning_curve:
            refits.append(refits_of_curve(*given, sizes=self.learning_curve))
        rows, y = parts.features("train", columns), parts.y("train")
        return survey(recipe, rows, y, refits, has_members=has_members)


class _Clock:
    """Seconds of each phase, said as events when it begins."""

    def __init__(self, context: RunContext) -> None:
        self.emit = context.emit
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.emit("phase", name=name)
        started, waited = time.perf_counter(), connecting_s()
        yield
        # Ray starts when it is first needed; that is no part of what it was needed for.
        waited = connecting_s() - waited
        self.seconds[name] = time.perf_counter() - started - waited
        if waited:
            self.seconds["start"] = self.seconds.get("start", 0.0) + waited
