import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from distml.errors import DataError
from distml.runs.golden import dump_golden, read_golden, what_differs
from distml.runs.model import Model

X = np.random.default_rng(0).normal(size=(60, 2))
# An input may have the name of an output.
TABLE = pa.table({"prediction": X[:, 0], "b": X[:, 1]})


def classifier():
    return Model(
        estimator=LogisticRegression().fit(TABLE.to_pandas(), np.where(X[:, 0] > 0, "yes", "no")),
        schema=TABLE.schema,
        label="y",
        task="classification",
        classes=["no", "yes"],
        takes="pandas",
    )


def regressor():
    return Model(
        estimator=LinearRegression().fit(TABLE.to_pandas(), 3 * X[:, 0]),
        schema=TABLE.schema,
        label="y",
        task="regression",
        takes="pandas",
    )


@pytest.mark.parametrize("make", [classifier, regressor])
def test_golden_rows_are_the_first_twenty_with_their_predictions(make):
    model = make()
    extra = TABLE.append_column("id", pa.array(range(60)))
    inputs, outputs = read_golden(dump_golden(model, extra))
    assert inputs.equals(TABLE.slice(0, 20))
    assert outputs.schema == model.output_schema
    assert outputs["prediction"].to_pylist() == model.predict(TABLE).tolist()[:20]
    assert what_differs(model, dump_golden(model, extra)) is None


def test_golden_rows_may_hold_nulls_and_may_be_few():
    table = pa.table({"word": pa.array(["a", None, "b"])})

    class Length:
        def predict(self, frame):
            return frame["word"].str.len().fillna(-1.0).to_numpy(dtype=float)

    model = Model(
        estimator=Length(), schema=table.schema, label="y", task="regression", takes="pandas"
    )
    content = dump_golden(model, table)
    assert read_golden(content)[0].equals(table)
    assert what_differs(model, content) is None


@pytest.mark.parametrize(("change", "differs"), [(1e-9, False), (1e-3, True)])
def test_numbers_are_close_or_differ(change, differs):
    model = regressor()
    content = dump_golden(model, TABLE)
    model.estimator.coef_ *= 1 + change
    assert (what_differs(model, content) is not None) is differs


def test_the_first_difference_is_named():
    model = classifier()
    content = dump_golden(model, TABLE)
    said = model.predict(TABLE.slice(0, 1))[0]
    model.estimator.coef_ *= -1
    other = {"no": "yes", "yes": "no"}[said]
    assert what_differs(model, content) == f"prediction of row 0 is '{other}', it was '{said}'"


def test_a_model_that_cannot_predict_any_more_differs():
    model = regressor()
    content = dump_golden(model, TABLE)
    model.estimator.coef_ = np.zeros(7)
    assert what_differs(model, content).startswith("predicting them raises ValueError: ")


def test_probabilities_that_appear_or_vanish_differ():
    model = classifier()
    content = dump_golden(model, TABLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(LogisticRegression, "predict_proba")
        assert what_differs(model, content).startswith("their columns are ['prediction'], not [")


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0nonsense", pa.BufferOutputStream])
def test_what_holds_no_golden_rows_is_refused(content):
    if not isinstance(content, bytes):
        sink = content()
        with pa.ipc.new_file(sink, TABLE.schema) as file:
            file.write_table(TABLE)
        content = bytes(sink.getvalue())
    with pytest.raises(DataError, match="holds no golden rows"):
        read_golden(content)
