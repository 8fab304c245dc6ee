"""The page in a real browser: it asks for nothing, complains of nothing, does what it offers."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from distml.report import compare_report, report_html
from distml.runs.record import RunStatus
from tests.report.test_search import events

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
    "--dump-dom",
]

THE_BROWSER_ITSELF = "not an origin"
"""Who asks for what the browser wants for its own purposes, in its log of the network."""


@dataclass(frozen=True)
class Visit:
    """What came of opening a page."""

    dom: str
    """The page after its scripts have run."""
    console: list[str]
    """What was written to the console."""
    requests: list[str]
    """The addresses the page asked for."""


@pytest.fixture
def visit(tmp_path: Path) -> Callable[..., Visit]:
    """`visit(page, script="", width=1400)` opens a page, with a script of the test's at its end."""

    def open_page(page: str, script: str = "", width: int = 1400) -> Visit:
        file, log = tmp_path / "page.html", tmp_path / "net.json"
        file.write_text(page.replace("</body>", f"<script>{{{script}}}</script></body>"))
        own = [
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--log-net-log={log}",
            f"--window-size={width},900",
        ]
        command = [str(CHROMIUM), *FLAGS, *own, file.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        console = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
        return Visit(dom=done.stdout, console=console, requests=_requests(log))

    return open_page


def _requests(log: Path) -> list[str]:
    events = json.loads(log.read_text())["events"]
    told = [event.get("params", {}) for event in events]
    asked = [one for one in told if one.get("initiator") not in (None, THE_BROWSER_ITSELF)]
    return [one["url"] for one in asked if not one["url"].startswith(("file:", "data:"))]


def test_the_browser_would_tell_of_requests_and_errors(visit):
    seen = visit("<body><img src='http://192.0.2.1/a.png'></body>", "nowhere()")

    assert seen.requests == ["http://192.0.2.1/a.png"]
    assert "nowhere is not defined" in seen.console[0]


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_asks_for_nothing_and_fits_its_window(
    store, make_run, evaluation, fits, visit, width
):
    page = report_html(store, make_run(evaluation, fits))
    wide = "const root = document.documentElement;"
    seen = visit(page, f"{wide} root.dataset.over = root.scrollWidth - root.clientWidth", width)

    assert seen.requests == []
    assert seen.console == []
    assert 'data-over="0"' in seen.dom


def test_a_failed_run_and_two_runs_ask_for_nothing(store, make_run, binary, fits, visit):
    a = make_run(binary, fits, run_id="a")
    b = make_run(None, fits[:9], run_id="b", status=RunStatus.FAILED, reason="because")

    for page in (report_html(store, b), compare_report(store, a, b)):
        seen = visit(page)
        assert (seen.requests, seen.console) == ([], [])


def test_a_table_is_sorted_by_the_column_one_clicks(store, make_run, binary, visit):
    script = """
        const table = document.querySelector("table.sortable");
        const button = table.querySelectorAll("thead button")[2];
        const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
        const seen = [];
        for (let click = 0; click < 2; click++) { button.click(); seen.push(names().join(" ")); }
        document.documentElement.dataset.seen = seen.join("; ");
    """
    seen = visit(report_html(store, make_run(binary)), script)

    down = "stack boosting forest logistic constant"
    up = " ".join(reversed(down.split()))
    assert f'data-seen="{down}; {up}"' in seen.dom
    assert 'aria-sort="ascending"' in seen.dom


def test_one_test_set_is_shown_when_it_is_chosen(store, make_run, binary, visit):
    script = """
        document.querySelector('.chooser input[value="new"]').click();
        const shown = [...document.querySelectorAll(".testset")].filter((one) => !one.hidden);
        document.documentElement.dataset.shown = shown.map((one) => one.dataset.set).join(" ");
    """
    assert 'data-shown="new"' in visit(report_html(store, make_run(binary)), script).dom


def test_a_mark_says_what_it_is_when_pointed_at(store, make_run, binary, visit):
    script = """
        const mark = document.querySelector("svg.chart [data-tip]");
        mark.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
        const tip = document.querySelector(".tip");
        document.documentElement.dataset.tip = tip.hidden ? "" : tip.textContent;
    """
    dom = visit(report_html(store, make_run(binary)), script).dom
    assert 'data-tip="0.0 % of negatives flagged, 0.0 % of positives found"' in dom[:2000]


def test_names_from_the_data_do_not_run(store, make_run, binary, visit):
    binary["label"] = "<img src=x onerror=\"console.error('ran')\">"
    seen = visit(report_html(store, make_run(binary, reason="<script>console.error(1)</script>")))
    assert seen.console == []


@pytest.mark.parametrize("width", [390, 1400])
def test_a_search_fits_its_window_and_its_trials_are_sorted_by_numbers(
    store, make_run, visit, width
):
    script = """
        const root = document.documentElement;
        root.dataset.over = root.scrollWidth - root.clientWidth;
        const table = document.querySelector("#search table.sortable");
        table.querySelectorAll("thead button")[0].click();
        root.dataset.seen = [...table.tBodies[0].rows].map((row) => row.cells[0].innerText).join();
    """
    seen = visit(report_html(store, make_run(None, events())), script, width)

    assert (seen.requests, seen.console) == ([], [])
    assert 'data-over="0"' in seen.dom
    order = ",".join(map(str, range(1, 13)))
    down = ",".join(map(str, range(12, 0, -1)))
    assert f'data-seen="{order}"' in seen.dom or f'data-seen="{down}"' in seen.dom
