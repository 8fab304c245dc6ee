"""Columns that give the label away, and the best single threshold as a rule to beat.

One decision: a column gives the label away if it alone, through a tree, predicts it almost without
error on rows that the tree has not seen. That catches copies, renamings, other units and what was
written down after the fact alike; the plain cases are only named more plainly. A column that is
that good honestly is rare, and that it was dropped is said, so it can be taken back.
"""

import keyword
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from distml.data.inspect_label import Task
from distml.data.values import decoded, to_float64

__all__ = ["Target", "best_rule", "leak", "numbers"]

_MOST_ROWS = 10_000
_LEAST_ROWS = 60
_GIVEN_AWAY = {"classification": 0.98, "regression": 0.99}
_WORTH_A_RULE = 0.05

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Target:
    """The label of a sample of rows, and which of them to learn from and to test on."""

    column: pa.ChunkedArray
    """The labels as they are, none of them null."""
    task: Task
    """Classes or numbers."""
    y: Numbers
    """The labels as numbers, shape (n_rows,); positions of sorted classes in a classification."""
    train: Rows
    """Rows to learn from."""
    test: Rows
    """As many others to test on."""

    @classmethod
    def of(cls, column: pa.ChunkedArray, task: Task) -> "Target":
        """Draw the two halves from the rows of a label without nulls."""
        column = decoded(column)
        y = numbers(column)
        if task == "classification":
            y = np.unique(y, return_inverse=True)[1].astype(np.float64)
        rows = np.random.default_rng(0).permutation(len(column))[:_MOST_ROWS]
        return cls(column=column, task=task, y=y, train=rows[::2], test=rows[1::2])

    def score(self, column: Numbers, *, leaves: int | None = None) -> float:
        """How well one column predicts the label of the test rows.

        Args:
            column: Shape (n_rows,); NaN is a value too.
            leaves: The most leaves of the tree; as many as it likes by default.

        Returns:
            R², or the balanced accuracy on a scale from 0 (guessing) to 1 (no error).
        """
        with np.errstate(over="ignore"):
            X = column.reshape(-1, 1).astype(np.float32)
        tree = self._tree(leaves).fit(X[self.train], self.y[self.train])
        predicted, true = tree.predict(X[self.test]), self.y[self.test]
        if self.task == "regression":
            return float(r2_score(true, predicted))
        if len(np.unique(true)) < 2:
            return 0.0
        predicted = np.where(np.isin(predicted, true), predicted, true[0])
        return float(balanced_accuracy_score(true, predicted, adjusted=True))

    def _tree(self, leaves: int | None) -> DecisionTreeClassifier | DecisionTreeRegressor:
        options = {"max_leaf_nodes": leaves, "random_state": 0}
        if self.task == "regression":
            return DecisionTreeRegressor(min_samples_leaf=2, **options)
        return DecisionTreeClassifier(min_samples_leaf=2, class_weight="balanced", **options)


def numbers(column: pa.ChunkedArray) -> Numbers:
    """Any column as float64, shape (n_rows,): text by its place in sorted order, null as NaN."""
    column = decoded(column)
    if pt.is_date(column.type) or pt.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    if not pt.is_string(column.type) and not pt.is_large_string(column.type):
        return to_float64(column)
    values = pc.unique(pc.drop_null(column)).sort()
    return to_float64(pc.index_in(column, value_set=values))


def leak(column: pa.ChunkedArray, target: Target) -> str | None:
    """How a column gives the label away, in words; `None` if it does not.

    Args:
        column: The column, of the rows of `target`.
        target: The label.
    """
    values = numbers(column)
    if _is_copy(column, target):
        return "the same as the label"
    if len(values) < _LEAST_ROWS or np.isnan(values).all():
        return None
    score = target.score(np.where(np.isinf(values), np.nan, values))
    if score < _GIVEN_AWAY[target.task]:
        return None
    if _is_renaming(column, target):
        return "one to one with the label"
    measure = "R2" if target.task == "regression" else "balanced accuracy, 0 is guessing"
    return f"predicts the label alone ({measure}: {score:.3f})"


def _is_copy(column: pa.ChunkedArray, target: Target) -> bool:
    column = decoded(column)
    if column.type == target.column.type:
        return bool(column.equals(target.column))
    try:
        written = [side.cast(pa.float64()) for side in (column, target.column)]
    except pa.ArrowException:  # words, dates
        return False
    return bool(written[0].equals(written[1]))


def _is_renaming(column: pa.ChunkedArray, target: Target) -> bool:
    column = decoded(column)
    pairs = pa.table({"column": column, "label": target.column}).group_by(["column", "label"])
    num_pairs = pairs.aggregate([]).num_rows
    kinds = [pc.count_distinct(values, mode="all").as_py() for values in (column, target.column)]
    # Values that never repeat are in pairs by themselves.
    return kinds == [num_pairs, num_pairs] and 2 * num_pairs <= len(column)


def best_rule(columns: Mapping[str, pa.ChunkedArray], target: Target) -> str | None:
    """The single threshold that predicts the label best, such as `"carat > 1.05"`.

    Args:
        columns: Name → numbers, of the rows of `target`; names that a rule cannot spell are
            passed over.
        target: The label, of two classes or of numbers.

    Returns:
        A rule that holds where the second class is likelier, or the number higher; `None` if no
        threshold is better than guessing.
    """
    scores = {
        name: target.score(np.where(np.isinf(values), np.nan, values), leaves=2)
        for name, column in columns.items()
        if name.isidentifier() and not keyword.iskeyword(name)
        for values in [numbers(column)]
    }
    if not scores or max(scores.values()) < _WORTH_A_RULE:
        return None
    name = max(scores, key=lambda known: scores[known])
    return _threshold(name, numbers(columns[name]), target)


def _threshold(name: str, values: Numbers, target: Target) -> str | None:
    known = np.isfinite(values)
    X = values[known].reshape(-1, 1).astype(np.float32)
    tree = target._tree(leaves=2).fit(X, target.y[known]).tree_
    if tree.node_count < 3:
        return None
    threshold = float(f"{tree.threshold[0]:.4g}")
    above = values[known] > threshold
    if above.all() or not above.any():
        return None
    higher = target.y[known][above].mean() > target.y[known][~above].mean()
    return f"{name} {'>' if higher else '<='} {threshold:g}"
