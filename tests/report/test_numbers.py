import pytest

from distml.report import numbers

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, numbers.NONE),
        (0, "0"),
        (1234567, "1,234,567"),
        (-3, f"{MINUS}3"),
        (True, "True"),
        ("a-b", "a-b"),
        (0.0, "0.0000"),
        (0.00099999, "0.0010"),
        (0.0002, "0.0002"),
        (1e-7, "1e-07"),
        (-0.25, f"{MINUS}0.2500"),
        (12.345, "12.35"),
        (123456.7, "123,457"),
        (["a", 0.5, None], f"a, 0.5000, {numbers.NONE}"),
        ([], numbers.NONE),
    ],
)
def test_a_figure_has_as_many_digits_as_it_deserves(value, text):
    assert numbers.figure(value).replace("e" + MINUS, "e-") == text


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (None, ""),
        ({"value": 0.5}, ""),
        ({"value": 0.5, "low": None, "high": None}, ""),
        ({"value": 0.5, "low": 0.4, "high": 0.6}, "0.4000 to 0.6000"),
        ({"value": 0.01, "low": -0.0006, "high": 0.0151}, f"{MINUS}0.0006 to 0.0151"),
        ({"value": -560, "low": -586, "high": -536}, f"{MINUS}586.00 to {MINUS}536.00"),
    ],
)
def test_both_ends_of_an_interval_are_equally_exact(told, text):
    assert numbers.interval(told) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "+0.5000"), (-0.5, f"{MINUS}0.5000"), (0.0, "0.0000"), (None, numbers.NONE)],
)
def test_a_difference_has_its_sign(value, text):
    assert numbers.signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.3, "0.3"), (62.0, "62"), (1234567.0, "1.23457e+06"), (4, "4"), ("x", "x")],
)
def test_a_value_of_the_data_has_no_idle_zeros(value, text):
    assert numbers.plain(value) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (None, numbers.NONE),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 * 2**40, "5.0 TiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_bytes_are_in_the_unit_people_say(num_bytes, text):
    assert numbers.size(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, numbers.NONE),
        (0.0000682, "0.0682 ms"),
        (0.19, "190 ms"),
        (2.0, "2.0 s"),
        (90, "1:30 min"),
    ],
)
def test_short_times_are_in_milliseconds(seconds, text):
    assert numbers.took(seconds) == text
