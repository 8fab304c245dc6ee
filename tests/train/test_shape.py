import pytest

from distml.errors import UserError
from distml.train.shape import Field, Shape


def test_fields_are_found_by_kind_in_the_order_modules_take_them():
    shape = Shape(
        fields=(Field(kind="array", size=(2, 3)), Field(kind="numbers", size=(4,))), num_outputs=1
    )
    assert shape.kinds == ("numbers", "array")
    assert shape["array"].width == 6
    assert "tokens" not in shape
    assert not shape.is_ragged


def test_sequence_and_tokens_together_are_refused_with_their_columns():
    fields = (
        Field(kind="sequence", size=(2,), columns=("heart", "breath")),
        Field(kind="tokens", num_values=(9,), columns=("tweet",)),
    )
    with pytest.raises(UserError, match=r"sequence \(heart, breath\) and tokens \(tweet\)"):
        Shape(fields=fields, num_outputs=1)


def test_kind_is_there_once():
    with pytest.raises(ValueError, match="twice"):
        Shape(fields=(Field(kind="array"), Field(kind="array")), num_outputs=1)
