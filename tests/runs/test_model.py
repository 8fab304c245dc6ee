import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from distml.errors import DataError, UserError
from distml.runs.model import Model, table_from

SCHEMA = pa.schema(
    [("size", pa.float64()), ("rooms", pa.int32()), ("town", pa.string()), ("built", pa.date32())]
)
ROWS = [
    {"size": 1.5, "rooms": 2, "town": "Köln", "built": datetime.date(1999, 1, 1)},
    {"size": None, "rooms": 3, "town": None, "built": datetime.date(2001, 1, 1)},
]
TABLE = pa.Table.from_pylist(ROWS, schema=SCHEMA)


class Sizes:
    """An encoder that reads two columns."""

    def transform(self, table: Any) -> np.ndarray[Any, Any]:
        columns = [np.asarray(table[name], dtype=float) for name in ("size", "rooms")]
        return np.nan_to_num(np.column_stack(columns))


X = np.array([[1.5, 2], [0, 3], [9, 9], [8, 7]])


def model(labels: list[Any], classes: list[Any] | None, **fields: Any) -> Model:
    estimator = LogisticRegression() if classes else LinearRegression()
    return Model(
        estimator=estimator.fit(X, labels),
        encoder=Sizes(),
        schema=SCHEMA,
        label="price",
        task="classification" if classes else "regression",
        classes=classes,
        **fields,
    )


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(TABLE, id="table"),
        pytest.param(TABLE.to_batches()[0], id="batch"),
        pytest.param(TABLE.to_pandas(), id="pandas"),
        pytest.param(TABLE.to_pandas().set_index(pd.Index([7, 8])), id="pandas-with-index"),
        pytest.param(TABLE.to_pydict(), id="dict-of-columns"),
        pytest.param({name: TABLE[name].to_numpy() for name in TABLE.column_names}, id="arrays"),
        pytest.param(ROWS, id="list-of-dicts"),
        pytest.param([dict(reversed(row.items())) for row in ROWS], id="another-order"),
        pytest.param([{**row, "more": 1} for row in ROWS], id="more-columns"),
        pytest.param([ROWS[0], {"rooms": 3, "built": ROWS[1]["built"]}], id="null-left-out"),
        pytest.param(TABLE.set_column(1, "rooms", pa.array([2.0, 3.0])), id="whole-floats"),
        pytest.param(
            TABLE.set_column(2, "town", pa.array(["Köln", None]).dictionary_encode()),
            id="dictionary",
        ),
        pytest.param({**TABLE.to_pydict(), "built": ["1999-01-01", "2001-01-01"]}, id="date-text"),
        pytest.param({**TABLE.to_pydict(), "rooms": ["2", "3"]}, id="number-text"),
    ],
)  # fmt: skip
def test_rows_of_any_kind_become_the_same_table(rows: Any) -> None:
    assert table_from(rows, SCHEMA).equals(TABLE)
    predictor = model(["lo", "lo", "hi", "hi"], ["hi", "lo"])
    np.testing.assert_array_equal(
        predictor.predict_proba(rows), predictor.estimator.predict_proba(X[:2])
    )


@pytest.mark.parametrize(
    ("kind", "given", "taken"),
    [
        pytest.param(pa.int64(), [True, False], [1, 0], id="flags-for-numbers"),
        pytest.param(pa.string(), [7, 8], ["7", "8"], id="numbers-for-text"),
        pytest.param(pa.float64(), ["1.5", "2"], [1.5, 2.0], id="text-for-numbers"),
    ],
)
def test_a_column_of_another_type_is_cast_where_no_value_changes(
    kind: pa.DataType, given: list[Any], taken: list[Any]
) -> None:
    table = table_from({"x": given}, pa.schema([("x", kind)]))
    assert table["x"].to_pylist() == taken


IMAGES = np.arange(8).reshape(2, 2, 2)
TWO_BY_TWO = pa.list_(pa.list_(pa.uint8(), 2), 2)
STEPS = pa.list_(pa.list_(pa.float32(), 2))


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (TWO_BY_TWO, IMAGES, IMAGES.tolist()),
        (TWO_BY_TWO, list(IMAGES), IMAGES.tolist()),
        (TWO_BY_TWO, IMAGES.tolist(), IMAGES.tolist()),
        (STEPS, [np.ones((1, 2)), np.zeros((2, 2))], [[[1, 1]], [[0, 0], [0, 0]]]),
        (STEPS, pd.Series([[np.ones(2)], [np.zeros(2)]]), [[[1, 1]], [[0, 0]]]),
        (STEPS, [None, [[1, 2]]], [None, [[1, 2]]]),
    ],
    ids=["array", "list of arrays", "lists", "ragged arrays", "pandas", "missing"],
)
def test_lists_come_as_lists_or_as_arrays_of_any_dimensions(
    kind: pa.DataType, values: Any, expected: Any
) -> None:
    table = table_from({"x": values}, pa.schema([("x", kind)]))
    assert table["x"].to_pylist() == expected


def test_one_row_of_lists_without_brackets_around_it_is_refused_with_the_cure() -> None:
    with pytest.raises(DataError, match=r"'x'.*give one row as \[row\]"):
        table_from({"x": IMAGES[0]}, pa.schema([("x", TWO_BY_TWO)]))


def test_one_dict_is_one_row() -> None:
    assert table_from(ROWS[0], SCHEMA).equals(TABLE.slice(0, 1))


def test_no_rows_give_no_predictions_but_their_columns_must_be_there() -> None:
    assert table_from(TABLE.slice(0, 0), SCHEMA).num_rows == 0
    with pytest.raises(DataError, match="'size' is missing"):
        table_from([], SCHEMA)


@pytest.mark.parametrize(
    "rows",
    [TABLE.slice(0, 0), TABLE.slice(0, 0).to_pandas(), {name: [] for name in TABLE.column_names}],
    ids=["table", "pandas", "dict-of-columns"],
)
@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["lo", "lo", "hi", "hi"], ["hi", "lo"]),
        ([1, 1, 0, 0], ["hi", "lo"]),
        ([7, 7, 5, 5], [5, 7]),
        ([True, True, False, False], [False, True]),
        ([1.0, 2.0, 3.0, 4.0], None),
    ],
    ids=["text", "numbers-of-text", "numbers", "flags", "regression"],
)
def test_no_rows_are_predicted_as_nothing_of_the_type_that_rows_are(
    rows: Any, labels: list[Any], classes: list[Any] | None
) -> None:
    predictor = model(labels, classes)
    assert predictor.predict(rows).shape == (0,)
    assert predictor.predict(rows).dtype == predictor.predict(TABLE).dtype
    assert predictor.outputs(rows).equals(predictor.outputs(TABLE).slice(0, 0))
    if classes is not None:
        assert predictor.predict_proba(rows).shape == (0, 2)
        assert predictor.predict_proba(rows).dtype == predictor.predict_proba(TABLE).dtype


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(TABLE.drop_columns("rooms"), r"^column 'rooms' is missing .* add", id="gone"),
        pytest.param(
            TABLE.rename_columns(["size", "room", "town", "built"]),
            r"^column 'rooms' is missing .*; did you mean it by 'room'\?$",
            id="renamed",
        ),
        pytest.param(
            TABLE.set_column(1, "rooms", pa.array([2.5, 3.0])),
            r"^column 'rooms': the model was fitted on int32.*truncated",
            id="would-be-rounded",
        ),
        pytest.param(
            {**TABLE.to_pydict(), "size": ["big", "small"]},
            r"^column 'size': the model was fitted on double.*(big|small)",
            id="text-for-numbers",
        ),
        pytest.param(
            {**TABLE.to_pydict(), "size": [1.0, "x"]},
            r"^column 'size': the model was fitted on double",
            id="mixed",
        ),
        pytest.param(
            {**TABLE.to_pydict(), "size": [1.0]},
            r"^columns of different length: 'size' has 1",
            id="lengths",
        ),
        pytest.param(np.zeros((2, 4)), r"^cannot predict from ndarray; give", id="matrix"),
        pytest.param("x.parquet", r"^cannot predict from str; give", id="path"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused_by_column(rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        table_from(rows, SCHEMA)
    assert "\n" not in str(caught.value)


def test_labels_come_back_as_they_were_whether_fitted_on_them_or_on_their_numbers() -> None:
    on_labels = model(["lo", "lo", "hi", "hi"], ["hi", "lo"])
    on_numbers = model([1, 1, 0, 0], ["hi", "lo"])
    assert on_labels.predict(TABLE).tolist() == on_numbers.predict(TABLE).tolist() == ["lo", "lo"]
    assert model([7, 7, 5, 5], [5, 7]).predict(ROWS).tolist() == [7, 7]
    assert model([1, 1, 0, 0], [False, True]).predict(ROWS).tolist() == [True, True]


def test_a_regression_gives_numbers_and_no_probabilities() -> None:
    predictor = model([1.0, 2.0, 3.0, 4.0], None)
    assert predictor.predict(TABLE).shape == (2,)
    with pytest.raises(UserError, match=r"LinearRegression \(regression\) gives no probabilities"):
        predictor.predict_proba(TABLE)


def test_a_classifier_without_probabilities_says_so() -> None:
    predictor = model([1, 1, 0, 0], [0, 1])
    without = Model(**{**vars(predictor), "estimator": LinearSVC().fit(X, [1, 1, 0, 0])})
    assert without.predict(TABLE).tolist() == [1, 1]
    with pytest.raises(UserError, match=r"LinearSVC .* gives no probabilities"):
        without.predict_proba(TABLE)


def test_a_pandas_pipeline_gets_a_frame() -> None:
    class Frames(Sizes):
        def transform(self, table: Any) -> np.ndarray[Any, Any]:
            assert isinstance(table, pd.DataFrame)
            return super().transform(table)

    base = model([1, 1, 0, 0], [0, 1])
    pipeline = Model(**{**vars(base), "encoder": Frames(), "takes": "pandas"})
    assert pipeline.predict(ROWS).tolist() == base.predict(ROWS).tolist()


@pytest.mark.parametrize(
    ("task", "classes"), [("classification", None), ("regression", [1]), ("clustering", None)]
)
def test_a_model_that_makes_no_sense_is_refused(task: Any, classes: Any) -> None:
    with pytest.raises(UserError, match=r"^Model: "):
        Model(estimator=None, schema=SCHEMA, label="y", task=task, classes=classes)
