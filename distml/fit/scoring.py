"""Evaluate: a saved model on labelled sets it has never seen, beside its training run's figures.

What a run says of its test sets is said here of any rows, by the same functions, and with it how
far those rows have moved from the ones the model was fitted on. Nothing is fitted.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from distml.data import ShardedDataset
from distml.errors import UserError
from distml.fit.drift import drift
from distml.fit.evaluate import check_metrics, default_metrics
from distml.fit.evaluation import Question, evaluate_set, plain_scores
from distml.fit.leaderboard import models, size_bytes
from distml.fit.predictions import Predictions
from distml.fit.scoring_set import Answers, LabelledSet
from distml.job import Result, RunContext
from distml.runs.bundle import Model, load_once
from distml.runs.manifest import MANIFEST
from distml.runs.paths import RunPaths
from distml.runs.profile import profile
from distml.runs.storage import open_storage
from distml.runs.strict_json import dumps

__all__ = ["Evaluate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluate:
    """Score a saved model on labelled sets.

    Raises:
        UserError: an argument makes no sense.
    """

    bundle: str | Path
    """Folder of the saved model."""
    sets: Mapping[str, str | Path]
    """Name → rows, as `ShardedDataset.open` takes them."""
    metrics: Sequence[str] = ()
    """scikit-learn's scorer names; those of the training run if empty."""
    slices: Sequence[str] = ()
    """Columns by whose values to score too."""
    cost: tuple[float, float] | None = None
    """What a false positive and a false negative cost, for the table of thresholds. `None`: 1."""
    check: Literal["strict", "warn"] = "strict"
    """Whether a bundle that does not prove itself is refused; see `distml.load`."""
    trust: bool = False
    """Load parts that can run code."""

    def __post_init__(self) -> None:
        if not self.sets:
            raise UserError("evaluate: no data; name at least one labelled set")
        check_metrics(self.metrics)

    def run(self, context: RunContext) -> Result:
        """Do the work in a run.

        Raises:
            UserError: the bundle or a set cannot be used.
            StorageError: the run's storage is full or refuses.
        """
        context.emit("phase", name="read")
        identity = hashlib.sha256(self._manifest()).hexdigest()
        model = load_once(str(self.bundle), identity, self.check, trust=self.trust)
        sets = list(self._open(identity))
        context.emit("phase", name="evaluate")
        answers = {each.name: each.answers() for each in sets}
        question, entries = self._question(model, context.seed), {}
        for name, found in answers.items():
            entries[name] = self._entry(question, model, found)
        context.emit("phase", name="save")
        evaluation = {
            **question.head(type(model.estimator).__name__),
            "sets": entries,
            "training": {name: model.metadata.get(name) for name in ("run", "scores")},
        }
        path = RunPaths("").evaluation
        open_storage(context.run_uri).write(path, dumps(evaluation).encode())
        table = list(_table(model, entries, answers))
        return Result(
            metrics={name: table[0][name] for name in entries},
            table=table,
            artifacts={"evaluation": path},
            details={
                "bundle": str(self.bundle),
                "model": dict(model.metadata),
                "data": _data(sets),
                "rows": {name: len(found.y) for name, found in answers.items()},
                "intervals": {
                    name: entry["scores"][evaluation["model"]] for name, entry in entries.items()
                },
                "moved": {name: _moved(entry["drift"]) for name, entry in entries.items()},
                "seconds": {name: found.seconds for name, found in answers.items()},
            },
        )

    def _manifest(self) -> bytes:
        """What names the model's files, or nothing, which loading has better words for."""
        try:
            return open_storage(self.bundle).read(MANIFEST)
        except FileNotFoundError:
            return b""

    def _open(self, identity: str) -> Iterator[LabelledSet]:
        """All sets, so that a mistake in the last is found before the first is predicted."""
        for name, uri in self.sets.items():
            yield LabelledSet(
                name=name,
                data=ShardedDataset.open(uri),
                bundle=str(self.bundle),
                identity=identity,
                check=self.check,
                trust=self.trust,
                slices=tuple(self.slices),
            )

    def _question(self, model: Model, seed: int) -> Question:
        known = [name for scores in _training(model).values() for name in scores]
        num_classes = None if model.classes is None else len(model.classes)
        return Question(
            label=model.label,
            classes=model.classes,
            metrics=tuple(self.metrics or dict.fromkeys(known) or default_metrics(num_classes)),
            cost=self.cost or (1.0, 1.0),
            units=self._units(),
            seed=seed,
        )

    def _units(self) -> str | None:
        """Unit of the label, if the bundle's signature has one."""
        return self._described("signature.json").get("units")

    def _described(self, file: str) -> dict[str, Any]:
        """A JSON file of the bundle, whose content `load` has checked; empty if there is none."""
        try:
            found = json.loads(open_storage(self.bundle).read(file))
        except FileNotFoundError:
            return {}
        return found if isinstance(found, dict) else {}

    def _entry(self, question: Question, model: Model, found: Answers) -> dict[str, Any]:
        """What `evaluation.json` says of one set."""
        predicted = {type(model.estimator).__name__: _predictions(model, found)}
        columns = {name: found.slices[name] for name in self.slices}
        entry = evaluate_set(question, predicted, found.y, columns)
        return {**entry, "drift": self._drift(found)}

    def _drift(self, found: Answers) -> dict[str, Any] | None:
        """How far inputs and predictions have moved; `None` for a bundle without a profile."""
        before = self._described("profile.json")
        if not before:
            return None
        return {
            "inputs": drift(before, profile(found.inputs)),
            "outputs": drift(before["predictions"], profile(found.outputs)),
        }


class _Numbered(ClassifierMixin, BaseEstimator):
    """Stands for a classifier whose classes go by their numbers."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.classes_ = np.arange(num_classes)


class _OfNumbers(RegressorMixin, BaseEstimator):
    """Stands for a regressor."""


def _predictions(model: Model, found: Answers) -> Predictions:
    said = {"predict": found.labels}
    if found.probabilities is not None:
        said["predict_proba"] = found.probabilities
    stands = _OfNumbers() if model.classes is None else _Numbered(len(model.classes))
    return Predictions(stands, said, found.seconds)


def _table(
    model: Model, entries: Mapping[str, Any], answers: Mapping[str, Answers]
) -> Iterator[dict[str, Any]]:
    """The model's scores on each set, and below them those of its training run."""
    itself = next(models(model.estimator, math.nan))
    yield {
        "model": itself.name,
        "kind": itself.kind,
        "predict_s": sum(found.seconds for found in answers.values()),
        "size_bytes": size_bytes(model.estimator),
        **{name: plain_scores(entry)[itself.name] for name, entry in entries.items()},
    }
    for test, scores in _training(model).items():
        yield {
            "model": f"its run on {test}",
            "kind": "training run",
            **{
                name: {metric: scores.get(metric) for metric in entry["scores"][itself.name]}
                for name, entry in entries.items()
            },
        }


def _training(model: Model) -> dict[str, dict[str, float]]:
    """Test set → scores, as the run that made the model had them."""
    return dict(model.metadata.get("scores") or {})


def _moved(found: Mapping[str, Any] | None) -> dict[str, list[str]] | None:
    """The columns that have moved, the farthest first."""
    if found is None:
        return None
    return {
        side: [
            row["column"]
            for row in sorted(rows, key=lambda row: -row["psi"])
            if row["moved"] != "no"
        ]
        for side, rows in found.items()
    }


def _data(sets: Sequence[LabelledSet]) -> dict[str, Any]:
    prints = {each.name: each.data.fingerprint for each in sets}
    text = json.dumps(prints, sort_keys=True)
    return {
        "uri": ", ".join(each.data.uri for each in sets),
        "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:32],
        "sets": {
            each.name: {"uri": each.data.uri, "fingerprint": prints[each.name]} for each in sets
        },
    }
