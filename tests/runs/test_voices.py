import logging
import threading

import pytest

from distml.runs.voices import mark, marked, speaking, units_in, words_of

LOG = """\
2026-11-27 12:00:00,001 INFO distml.driver: begins
[unit forest, fold 1 of 2] printed
[unit forest, fold 2 of 2] printed too
2026-11-27 12:00:00,002 WARNING py.warnings: [unit net] a.py:3: UserWarning: beware
  warnings.warn("beware")

printed by the driver
[unit net] loss 0.3
[unit net and 31 others] shared
[worker node-2 17] ready
"""


@pytest.mark.parametrize(
    ("unit", "numbers"),
    [
        ("net", [3, 4, 7, 8]),
        ("forest, fold 1 of 2", [1]),
        ("forest, fold *", [1, 2]),
        ("*", [1, 2, 3, 4, 7, 8]),
        ("fold", []),
    ],
)
def test_the_words_of_a_unit_are_found(unit, numbers):
    lines = LOG.splitlines(keepends=True)

    assert list(words_of(unit, lines)) == [lines[number] for number in numbers]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ""),
        ("one", "[unit net] one\n"),
        ("one\ntwo\n", "[unit net] one\n[unit net] two\n"),
        ("[unit inner] one\n", "[unit inner] one\n"),
    ],
    ids=["nothing", "without end", "two lines", "marked"],
)
def test_each_line_is_marked_once(text, lines):
    assert marked(text, "unit net") == lines


def test_what_is_logged_for_a_unit_is_marked_in_this_thread_only():
    marks = []
    with speaking("net"):
        thread = threading.Thread(target=lambda: marks.append(mark()))
        thread.start()
        thread.join()
        marks.append(mark())
    marks.append(mark())

    assert marks == ["", "[unit net] ", ""]
    assert logging.getLogger().filters == []


def test_units_are_named_once_in_their_order():
    events = [{"kind": "unit_started", "unit": name} for name in "bab"] + [{"kind": "phase"}]

    assert units_in(events) == ["b", "a"]
