import pyarrow as pa
import pytest

from distml.errors import DataError, UserError
from distml.train import facts
from distml.train.inputs import Inputs


def test_categories_are_numbered_by_how_often_they_occur():
    table = pa.table({"x": ["b", "a", "c", "c", None, "a", "c"]})
    (reader,) = Inputs().fit(table).readers_
    assert reader.values == (["c", "a", "b"],)
    (reader,) = Inputs(max_values=2).fit(table).readers_
    assert reader.values == (["c", "a"],)
    assert reader.field.num_values == (3,)


def test_too_many_categories_and_tokens_are_refused(monkeypatch):
    monkeypatch.setattr(facts, "MOST_COUNTED", 3)
    with pytest.raises(DataError, match=r"column 'x' has more than .* drop=\['x'\]"):
        Inputs().fit(pa.table({"x": ["a", "b", "c", "d"]}))
    with pytest.raises(UserError, match="column 'x' has tokens up to 4194304"):
        Inputs(tokens=["x"]).fit(pa.table({"x": [[1 << 22]]}))


def test_constant_columns_have_a_scale_of_one():
    scale = (
        Inputs().fit(pa.table({"x": [7.0, 7.0], "y": pa.nulls(2, pa.int8())})).scales_["numbers"]
    )
    assert scale.mean.tolist() == [0.0, 0.0]
    assert scale.std.tolist() == [1.0, 1.0]
