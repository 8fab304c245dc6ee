import io
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from distml.runs.display import open_display, shown
from distml.runs.events import emit, use_events

EVENTS: list[dict[str, Any]] = [
    {"kind": "phase", "t": 0.0, "name": "fit <b>"},
    {"kind": "plan", "t": 0.0, "units": 2, "cached": 0},
    {"kind": "unit_started", "t": 0.0, "unit": "a", "member": "forest"},
    {"kind": "unit_done", "t": 1.0, "unit": "a", "member": "forest", "seconds": 1.0},
    {"kind": "log", "t": 1.0, "message": "half way"},
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FakeHandle:
    def __init__(self, shown: list[dict[str, str]]) -> None:
        self.shown = shown

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(bundle)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """A front end that keeps what it is shown."""
    shown: list[dict[str, str]] = []

    def display(bundle: dict[str, str], *, raw: bool, display_id: bool) -> FakeHandle:
        assert raw
        assert display_id
        shown.append(bundle)
        return FakeHandle(shown)

    class Shell:
        kernel = object()

    ipython, room = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = Shell  # type: ignore[attr-defined]
    room.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", room)
    return shown


def test_a_stream_that_is_no_terminal_stays_empty() -> None:
    stream = io.StringIO()
    with open_display(stream) as display:
        for event in EVENTS:
            display.show(event)
    assert stream.getvalue() == ""
    assert display.progress.done == 1


def test_a_terminal_ends_with_the_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with open_display(stream) as display:
        display.show(EVENTS[0])
        assert stream.getvalue() == ""
        for event in EVENTS[1:]:
            display.show(event)
    last = stream.getvalue().rpartition("fit <b>: ")[2]
    assert last.startswith("1 of 2 done")
    assert "half way" in last


def test_a_notebook_shows_one_output_that_is_replaced(notebook: list[dict[str, str]]) -> None:
    with open_display(io.StringIO()) as display:
        for event in EVENTS:
            display.show(event)
    assert notebook[0]["text/plain"].startswith("fit <b>: 0 of 2 done")
    assert notebook[-1]["text/plain"].startswith("fit <b>: 1 of 2 done")
    assert '<progress max="2" value="1">' in notebook[-1]["text/html"]
    assert "fit &lt;b&gt;" in notebook[-1]["text/html"]
    assert "half way" in notebook[-1]["text/html"]


def test_silence_costs_no_import_of_rich() -> None:
    code = (
        "import io, sys; from distml.runs.display import open_display\n"
        "open_display(io.StringIO()).close(); print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_network_is_drawn_without_a_plan(notebook: list[dict[str, str]]) -> None:
    with open_display(io.StringIO()) as display:
        display.show(
            {"kind": "training_started", "t": 0.0, "epochs": 2, "steps": 20, "step": 0, "epoch": 0}
        )
        display.show({"kind": "step", "t": 1.0, "step": 5, "loss": 0.5, "rows_per_s": 1000.0})
    assert '<progress max="20" value="5">' in notebook[-1]["text/html"]
    assert "loss 0.5, 1,000 rows/s" in notebook[-1]["text/html"]


def test_what_a_script_reports_is_shown_where_no_run_listens(
    notebook: list[dict[str, str]],
) -> None:
    with shown():
        emit("plan", units=2)
    assert notebook[-1]["text/plain"] == "units: 0 of 2 done"


def test_a_run_that_listens_hears_it_alone(notebook: list[dict[str, str]]) -> None:
    heard = []
    with use_events(lambda kind, **fields: heard.append(kind)), shown():
        emit("plan", units=2)
    assert (heard, notebook) == (["plan"], [])
