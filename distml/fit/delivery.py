"""What a fit leaves behind: `evaluation.json`, the bundle with its card, and the run's result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.data import ShardedDataset
from distml.fit.networks import brief
from distml.fit.trial import Trial
from distml.job import Result, RunContext
from distml.runs.bundle import Model, save_model
from distml.runs.paths import RunPaths
from distml.runs.script import script_files
from distml.runs.storage import open_storage, shown
from distml.runs.strict_json import dumps

__all__ = ["Delivery"]

Table = Sequence[Mapping[str, Any]]
"""The result table; its first row is the final model's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A trial that is over, with where its rows came from."""

    trial: Trial
    """What was fitted and tried."""
    dataset: ShardedDataset
    """Where the rows came from."""
    split: Mapping[str, Any]
    """How they were divided, in words."""

    def write(
        self, context: RunContext, table: Table, evaluation: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Write the evaluation and the bundle into the run's directory.

        Returns:
            The bundle's manifest.

        Raises:
            UserError: a part of the model cannot be pickled.
            StorageError: the storage refuses or is full.
        """
        run = open_storage(context.run_uri)
        run.write(RunPaths("").evaluation, dumps(evaluation).encode())
        parts, columns = self.trial.parts, self.trial.columns
        unseen = parts.some(parts.tests[0], columns)
        return save_model(
            RunPaths(context.run_uri).bundle,
            self._model(context.run_id, table),
            golden=unseen,
            card=self._card(table, evaluation),
            profile_rows=parts.some("train", columns),
            unseen_rows=unseen,
            files=script_files(context.run_uri),
        )

    def result(
        self,
        table: Table,
        evaluation: Mapping[str, Any],
        seconds: Mapping[str, float],
        manifest: Mapping[str, Any],
    ) -> Result:
        """What the run's record says of it.

        Args:
            table: The result table.
            evaluation: The content of `evaluation.json`.
            seconds: Phase → what it took.
            manifest: The bundle's.
        """
        return Result(
            metrics=self._metrics(table),
            table=table,
            artifacts={"bundle": "bundle", "evaluation": RunPaths("").evaluation},
            details={
                "data": self._source,
                "rows": self._num_rows,
                "split": self.split,
                "rule": self.trial.rule,
                "features": list(self.trial.columns),
                "matrix": self.trial.recipe.inputs(self.trial.columns),
                "seconds": seconds,
                **({"networks": trained} if (trained := brief(evaluation["networks"])) else {}),
                **({"search": found} if (found := evaluation["search"]) else {}),
                **({"pickled": why} if (why := _pickled(manifest["parts"])) else {}),
                "intervals": {
                    name: entry["scores"][evaluation["model"]]
                    for name, entry in evaluation["sets"].items()
                },
            },
        )

    def _model(self, run_id: str, table: Table) -> Model:
        recipe, question = self.trial.recipe, self.trial.question
        names = recipe.columns_read(self.trial.columns)
        return Model(
            estimator=recipe.estimator,
            encoder=recipe.encoder,
            schema=self.dataset.select(names).schema,
            label=question.label,
            task="regression" if question.classes is None else "classification",
            classes=question.classes,
            takes=recipe.takes,
            metadata={"run": run_id, "data": self._source, "scores": self._metrics(table)},
        )

    def _card(self, table: Table, evaluation: Mapping[str, Any]) -> dict[str, Any]:
        """What the model card says beyond the model; see `distml.runs.card`."""
        return {
            "data": {**self._source, "rows": self._num_rows},
            "split": self.split,
            "table": table,
            "evaluation": evaluation,
            "units": self.trial.question.units,
        }

    def _metrics(self, table: Table) -> dict[str, Any]:
        return {name: table[0][name] for name in self.trial.parts.tests}

    @property
    def _source(self) -> dict[str, str]:
        return {"uri": shown(self.dataset.uri), "fingerprint": self.dataset.fingerprint}

    @property
    def _num_rows(self) -> dict[str, int]:
        return {name: len(rows) for name, rows in self.trial.parts.rows.items()}


def _pickled(parts: Mapping[str, Mapping[str, str]]) -> str:
    """Which parts of a model are pickles, why, and what to do about it; empty if none is."""
    found = [f"{name} ({part['reason']})" for name, part in parts.items() if "reason" in part]
    return f"{', '.join(found)}; load it with trust=True, in a command --trust" if found else ""
