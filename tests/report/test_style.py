"""Colours that everybody can tell apart and read, by the measures of the WCAG."""

import re
from importlib.resources import files

import pytest

STYLE = files("distml.report").joinpath("templates", "style.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r"\.dml \{\s*(--.*?)\}", STYLE, re.DOTALL)
)
OKABE_ITO = {"#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dim, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dim + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "surface"])
@pytest.mark.parametrize("text", ["ink", "ink-2", "accent", "good", "bad", "warn"])
def test_text_is_legible(theme, ground, text):
    assert contrast(theme[text], theme[ground]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("series", ["c1", "c2", "c3"])
def test_the_first_lines_of_a_chart_stand_out(theme, series):
    assert contrast(theme[series], theme["paper"]) >= 3


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_series_have_the_colours_of_okabe_and_ito(theme):
    colours = [theme[f"c{number}"] for number in range(1, 8)]
    assert len(set(colours)) == 7
    # On dark ground their black is the ink of the page.
    assert set(colours) - {theme["ink"]} <= OKABE_ITO


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_counts_are_legible_on_the_darkest_cell_of_a_confusion_matrix(theme):
    heat = {"#ffffff": (0, 114, 178), "#11151a": (86, 180, 233)}[theme["paper"]]
    paper = [int(theme["paper"][place : place + 2], 16) for place in (1, 3, 5)]
    mixed = [round((one + other) / 2) for one, other in zip(heat, paper, strict=True)]
    assert contrast(theme["ink"], "#{:02x}{:02x}{:02x}".format(*mixed)) >= 4.5
