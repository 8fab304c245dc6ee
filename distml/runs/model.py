"""A fitted model that predicts from tables: encoder, estimator, and what their columns must be.

The one decision: whatever rows come as is first made an Arrow table with the columns and types the
model was fitted on, so pandas, Arrow and plain dicts give the same prediction. Columns it does not
know are passed over; a missing one, or one of another kind, is refused by name.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from distml.errors import DataError, UserError

__all__ = ["Model", "table_from"]

_COLUMNS = (list, tuple, np.ndarray, pa.Array, pa.ChunkedArray)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A fitted estimator together with all that stands between it and raw rows.

    Raises:
        UserError: a field makes no sense.
    """

    estimator: Any
    """Fitted scikit-learn estimator."""
    encoder: Any = None
    """Fitted transformer from a table to what the estimator takes; `None` if that is the table."""
    schema: pa.Schema
    """Names and types of the columns it reads, without the label."""
    label: str
    """Name of the column it predicts."""
    task: Literal["classification", "regression"]
    """What it predicts."""
    classes: Sequence[Any] | None = None
    """Labels in the order of the columns of `predict_proba`, for a classification."""
    takes: Literal["arrow", "pandas"] = "arrow"
    """What the first of encoder and estimator is given."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else to say about it, as JSON: run, scores, data fingerprint."""

    def __post_init__(self) -> None:
        if self.task not in ("classification", "regression"):
            raise UserError(f"Model: task={self.task!r} must be classification or regression")
        if (self.classes is None) is (self.task == "classification"):
            raise UserError(
                f"Model: a {self.task} with classes={self.classes!r}; give them just then"
            )

    def predict(self, rows: Any) -> np.ndarray[Any, Any]:
        """Predict the label of each row.

        A column is found by its name. One of another type than the model was fitted on is cast,
        if no value changes by it: whole numbers, `"1"` and `True` are taken for an int64, numbers
        for a string; 1.5 or other text for an int64 is refused, and so is a missing column.

        Args:
            rows: Arrow table or record batch, DataFrame, dict of columns, list of dicts, or one
                dict.

        Returns:
            Array of shape (n_rows,): labels as in `classes`, or float numbers.

        Raises:
            DataError: a column is missing or of another kind.
        """
        table = table_from(rows, self.schema)
        if not table.num_rows:  # which scikit-learn would refuse
            return np.asarray([] if self.classes is None else self.classes)[:0]
        return self._labels(self._inputs(table))

    def predict_proba(self, rows: Any) -> np.ndarray[Any, Any]:
        """Predict the probability of each class for each row.

        Args:
            rows: see `predict`.

        Returns:
            Array of shape (n_rows, n_classes), columns in the order of `classes`.

        Raises:
            UserError: the model does not give probabilities.
            DataError: a column is missing or of another kind.
        """
        if not self.gives_probabilities:
            kind = type(self.estimator).__name__
            raise UserError(f"{kind} ({self.task}) gives no probabilities; use predict()")
        table = table_from(rows, self.schema)
        if not table.num_rows:
            return np.empty((0, len(self.classes or ())))
        return np.asarray(self.estimator.predict_proba(self._inputs(table)))

    def outputs(self, rows: Any) -> pa.Table:
        """Predict everything there is to predict, encoding the rows once.

        Args:
            rows: see `predict`.

        Returns:
            Table of n_rows rows with the columns of `output_schema`.

        Raises:
            DataError: a column is missing or of another kind.
        """
        schema, table = self.output_schema, table_from(rows, self.schema)
        if not table.num_rows:
            return schema.empty_table()
        inputs = self._inputs(table)
        columns = [pa.array(self._labels(inputs).tolist(), schema.field(0).type)]
        if self.gives_probabilities:
            shares = np.asarray(self.estimator.predict_proba(inputs), dtype=np.float64)
            columns += [pa.array(np.ascontiguousarray(share)) for share in shares.T]
        return pa.table(columns, schema=schema)

    @property
    def output_schema(self) -> pa.Schema:
        """Names and types of `outputs`: `prediction`, then `probability_CLASS` for each class."""
        kind = pa.float64() if self.classes is None else pa.array(list(self.classes)).type
        names = self.classes or () if self.gives_probabilities else ()
        return pa.schema(
            [("prediction", kind), *((f"probability_{name}", pa.float64()) for name in names)]
        )

    @property
    def gives_probabilities(self) -> bool:
        """Whether `predict_proba` works."""
        return self.classes is not None and hasattr(self.estimator, "predict_proba")

    def _labels(self, inputs: Any) -> np.ndarray[Any, Any]:
        predicted = np.asarray(self.estimator.predict(inputs))
        if self.classes is None or self._knows_labels():
            return predicted
        return np.asarray(self.classes)[predicted.astype(np.intp)]

    def _inputs(self, table: pa.Table) -> Any:
        given = table if self.takes == "arrow" else table.to_pandas()
        if self.encoder is None:
            return given
        try:
            return self.encoder.transform(given)
        except ValueError as error:
            # scikit-learn's way to say that a category is unknown, or a value missing.
            said = " ".join(str(error).split())
            raise DataError(
                f"the model's encoder does not take these rows ({said}); mend them, or fit it to"
                " take such values"
            ) from error

    def _knows_labels(self) -> bool:
        """Whether the estimator was fitted on the labels themselves, not on their numbers."""
        known = getattr(self.estimator, "classes_", None)
        if known is None:
            return True
        classes = list(self.classes or ())
        # Numbers 0 and 1 equal False and True without being them.
        are_flags = any(isinstance(name, bool) for name in classes)
        return list(known) == classes and are_flags == (np.asarray(known).dtype == bool)


def table_from(rows: Any, schema: pa.Schema) -> pa.Table:
    """Make rows a table with certain columns.

    Args:
        rows: Arrow table or record batch, DataFrame, dict of columns, list of dicts, or one dict.
        schema: the columns to have, with their types.

    Returns:
        Table with just these columns, in their order, of these types.

    Raises:
        DataError: `rows` is nothing of the kind, or a column is missing, of another kind or of
            another length.
    """
    columns = _columns(rows)
    for name in schema.names:
        if name not in columns:
            near = difflib.get_close_matches(name, [str(key) for key in columns], n=1)
            hint = (
                f"; did you mean it by {near[0]!r}?" if near else "; add it, with nulls if unknown"
            )
            raise DataError(f"column {name!r} is missing from the rows to predict{hint}")
    arrays = [_column(field, columns[field.name]) for field in schema]
    lengths = {field.name: len(array) for field, array in zip(schema, arrays, strict=True)}
    if len(set(lengths.values())) > 1:
        short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise DataError(
            f"columns of different length: {short!r} has {lengths[short]} rows, {long!r} has "
            f"{lengths[long]}; give all columns the same rows"
        )
    return pa.table(arrays, schema=schema)


def _columns(rows: Any) -> Mapping[str, Any]:
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return dict(zip(rows.schema.names, rows.columns, strict=True))
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):
        return {str(name): rows[name] for name in rows.columns}
    if isinstance(rows, Mapping):
        is_table = all(isinstance(v, _COLUMNS) or hasattr(v, "iloc") for v in rows.values())
        return rows if is_table else {name: [value] for name, value in rows.items()}
    if isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows):
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}
    raise DataError(
        f"cannot predict from {type(rows).__name__}; give an Arrow table, a DataFrame, "
        "a dict of columns, a list of dicts, or one dict"
    )


def _column(field: pa.Field, values: Any) -> Any:
    """Values as a column of the field's type; nothing is rounded or cut off on the way."""
    try:
        if not isinstance(values, pa.Array | pa.ChunkedArray):
            lists = pa.types.is_nested(field.type)
            values = pa.array(_lists(values) if lists else values, from_pandas=True)
        return values if values.type == field.type else values.cast(field.type)
    except (pa.ArrowException, TypeError, ValueError) as error:
        said = str(error).splitlines()[0]
        flat = pa.types.is_nested(field.type) and isinstance(error, pa.ArrowNotImplementedError)
        hint = "; give one row as [row]" if flat else ""
        raise DataError(
            f"column {field.name!r}: the model was fitted on {field.type}, and these values are "
            f"not that ({said}){hint}"
        ) from error


def _lists(values: Any) -> list[Any]:
    """Rows of lists as Python lists, also where arrays of any number of dimensions hold them."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return list(values.tolist())
    return [_lists(row) if isinstance(row, list | np.ndarray) else row for row in values]
