import enum
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.errors import UserError
from distml.parameters import Parameter, parameters_of, to_json


class Size(enum.Enum):
    SMALL = "s"
    LARGE = 7


def parameter(kind: Any) -> Parameter:
    return Parameter(name="num_rows", kind=kind, default=None)


@pytest.mark.parametrize(
    ("kind", "texts", "value"),
    [
        (int, ["5"], 5),
        (int, ["-5"], -5),
        (int, ["50_000"], 50_000),
        (float, ["1e-3"], 0.001),
        (float, ["-inf"], float("-inf")),
        (bool, ["yes"], True),
        (bool, ["False"], False),
        (str, ["5"], "5"),
        (str, [""], ""),
        (Any, ["5"], "5"),
        (Path, ["data/x"], Path("data/x")),
        (Literal["a", 2], ["a"], "a"),
        (Literal["a", 2], ["2"], 2),
        (Size, ["SMALL"], Size.SMALL),
        (Size, ["7"], Size.LARGE),
        (int | None, ["none"], None),
        (int | None, ["3"], 3),
        (Optional[str], ["3"], "3"),  # noqa: UP045 - the old spelling works too
        (str | int, ["3"], 3),
        (str | int, ["x"], "x"),
        (int | list[int] | None, ["1,2"], [1, 2]),
        (list[int], ["1", "2,3"], [1, 2, 3]),
        (list[int], [""], []),
        (list, ["a, b"], ["a", "b"]),
        (Sequence[float], ["1,2"], [1.0, 2.0]),
        (tuple[int, ...], ["1,2,3"], (1, 2, 3)),
        (tuple[int, str], ["1,x"], (1, "x")),
    ],
)
def test_text_becomes_the_annotated_type(kind, texts, value):
    converted = parameter(kind).from_texts(texts)

    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (int, "5.0", "an integer"),
        (float, "much", "a number"),
        (bool, "perhaps", "true or false"),
        (Literal["soft", "hard"], "sfot", "one of soft, hard"),
        (Size, "MEDIUM", "one of SMALL, LARGE"),
        (int | None, "x", "an integer or none"),
        (list[int], "1,x", "a list, each an integer"),
        (tuple[int, str], "1", "2 values: an integer, text"),
    ],
)
def test_ill_typed_text_is_refused_with_parameter_value_and_expected_type(kind, text, expected):
    with pytest.raises(UserError) as caught:
        parameter(kind).from_texts([text])

    assert str(caught.value) == f"parameter --num-rows: {text} is not {expected}"


@given(
    st.one_of(
        st.tuples(st.just(int), st.integers()),
        st.tuples(st.just(float), st.floats(allow_nan=False)),
        st.tuples(st.just(bool), st.booleans()),
        st.tuples(st.just(str), st.text()),
        st.tuples(st.just(Size), st.sampled_from(Size)),
        st.tuples(st.just(float | None), st.floats(allow_nan=False) | st.none()),
        st.tuples(st.just(list[str]), st.lists(st.text())),
        st.tuples(st.just(tuple[int, ...]), st.lists(st.integers()).map(tuple)),
        st.tuples(st.just(tuple[bool, Size]), st.tuples(st.booleans(), st.sampled_from(Size))),
    )
)
def test_a_value_survives_the_record(kind_and_value):
    kind, value = kind_and_value

    stored = json.loads(json.dumps(to_json(value), allow_nan=False))

    assert parameter(kind).from_json(stored) == value


def test_a_record_of_another_type_is_refused():
    with pytest.raises(UserError, match="parameter --num-rows: 'x' is not an integer"):
        parameter(int).from_json("x")


@pytest.mark.parametrize("default", [None, 1.5, (1, 2)])
def test_a_default_of_another_type_survives_the_record(default):
    odd = Parameter(name="rows", kind=int, default=default)

    assert odd.from_json(to_json(default)) is default


def test_signature_gives_name_type_default_and_help():
    def job(rows: int = 5, ratio=0.5, *, name: str):
        """Do it.

        Args:
            rows: How many
                rows.
            name (str): Whose. Not: yours.
        """

    rows, ratio, name = parameters_of(job)

    assert (rows.flag, rows.kind, rows.default, rows.help) == ("--rows", int, 5, "How many rows.")
    assert (ratio.kind, ratio.help) == (float, "")
    assert (name.required, name.help) == (True, "Whose. Not: yours.")


def test_a_default_without_text_form_is_kept_and_cannot_be_set():
    def job(options: dict[str, int] = {}):  # noqa: B006
        pass

    (options,) = parameters_of(job)

    assert not options.settable
    with pytest.raises(UserError, match=r"--options: a .* cannot be given on the command line"):
        options.from_texts(["x"])


def _with_args(*args: int) -> None: ...
def _with_kwargs(**kwargs: int) -> None: ...
def _required_dict(options: dict[str, int]) -> None: ...
def _unknown_name(rows: "Missing") -> None: ...  # noqa: F821


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_with_args, "has no name on the command line"),
        (_with_kwargs, "has no name on the command line"),
        (_required_dict, "give it a default"),
        (_unknown_name, "annotations cannot be read: name 'Missing' is not defined"),
    ],
)
def test_signatures_that_are_no_command_line_are_refused(function, message):
    with pytest.raises(UserError, match=message):
        parameters_of(function)
