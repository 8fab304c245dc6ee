"""A fitted recipe held against its members and baselines on test sets that it never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.fit.baselines import baselines, holds
from distml.fit.evaluation import Question, evaluate_set, plain_scores
from distml.fit.explain import explain
from distml.fit.former import former_entry
from distml.fit.leaderboard import Entry, leaderboard, models, named_apart, predict_part
from distml.fit.left_out import left_out_scores
from distml.fit.networks import describe_networks
from distml.fit.predictions import Predictions, fewer_threads
from distml.fit.recipe import Recipe
from distml.fit.summary import describe_data
from distml.fit.tables import Parts
from distml.runs.model import Model

__all__ = ["Trial"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What is tried, on what, by which scores."""

    question: Question
    """What is predicted."""
    recipe: Recipe
    """Fitted."""
    parts: Parts
    """Training rows and test sets."""
    columns: Sequence[str]
    """The features."""
    rule: str | None = None
    """A condition over columns to beat."""
    former: Model | None = None
    """The model that an earlier run left, to be held against."""
    slices: Sequence[str] = ()
    """Columns by whose values the sets are sliced."""

    def entries(self, seconds: float) -> list[Entry]:
        """The models that take part, the recipe's first.

        Args:
            seconds: What the recipe took to fit.
        """
        rivals = baselines(self.parts, self.rule, self.question.label)
        former = former_entry(self.former, self.question)
        return named_apart([*models(self.recipe.estimator, seconds), *rivals, *former])

    def predict(self, entries: Sequence[Entry]) -> dict[str, dict[str, Predictions]]:
        """Test set → model → its predictions."""
        with fewer_threads(max(len(self.parts.rows[name]) for name in self.parts.tests)):
            return {name: self._predict(entries, name) for name in self.parts.tests}

    def evaluate(self, predicted: Mapping[str, Mapping[str, Predictions]]) -> dict[str, Any]:
        """The content of `evaluation.json`, without what takes further predictions or fits."""
        sets = {
            name: evaluate_set(
                self.question, said, self.parts.y(name), self._columns(name, self.slices)
            )
            for name, said in predicted.items()
        }
        first = next(iter(predicted[self.parts.tests[0]]))
        data = describe_data(self.parts, self.columns)
        networks = describe_networks(self.recipe.estimator)
        return {**self.question.head(first), "sets": sets, "data": data, "networks": networks}

    def explain(self) -> dict[str, Any]:
        """`importance` and `dependence` of the columns, on the first test set."""
        name = self.parts.tests[0]
        rows = self.parts.features(name, self.columns)
        with fewer_threads(0):
            return explain(self.question, self.recipe, rows, self.parts.y(name), set_name=name)

    def leaderboard(
        self,
        entries: Sequence[Entry],
        predicted: Mapping[str, Mapping[str, Predictions]],
        evaluation: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        """The result table; see `leaderboard`."""
        scores = {name: plain_scores(entry) for name, entry in evaluation["sets"].items()}
        validation = left_out_scores(
            self.recipe.estimator, self.parts.y("train"), self.question.metrics
        )
        folds = evaluation["cross_validation"]
        if folds is not None:
            means = {name: score["mean"] for name, score in folds["scores"].items()}
            validation[entries[0].name] = means
        return leaderboard(entries, predicted, scores, validation)

    def _predict(self, entries: Sequence[Entry], name: str) -> dict[str, Predictions]:
        rows = self.parts.features(name, self.columns)
        where = None if self.rule is None else holds(self.parts, self.rule, name)
        return predict_part(entries, self.recipe, rows, where)

    def _columns(self, name: str, columns: Sequence[str]) -> dict[str, Any]:
        rows = self.parts.whole(name, columns)
        return dict(zip(rows.column_names, rows.columns, strict=True))
