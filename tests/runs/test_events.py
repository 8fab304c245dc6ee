import threading
from pathlib import Path

import pytest

from distml.errors import StorageError
from distml.runs.events import emit, open_event_log, read_events, use_events
from distml.runs.storage import open_storage

PATH = "r1/events.jsonl"


def kinds(uri: str) -> list[str]:
    return [event["kind"] for event in read_events(open_storage(uri), PATH)]


def test_events_go_to_the_innermost_sink_and_nowhere_without_one() -> None:
    outer: list[tuple[str, dict[str, object]]] = []
    inner: list[tuple[str, dict[str, object]]] = []
    emit("lost")
    with use_events(lambda kind, **fields: outer.append((kind, fields))):
        with use_events(lambda kind, **fields: inner.append((kind, fields))):
            emit("a", x=1, t=5.0)
        emit("b")
    assert inner == [("a", {"x": 1, "t": 5.0})]
    assert [kind for kind, _ in outer] == ["b"]
    assert isinstance(outer[0][1]["t"], float)


def test_a_log_gives_back_its_events_in_order_over_several_attempts(any_uri: str) -> None:
    for attempt in range(2):
        log = open_event_log(open_storage(any_uri), PATH, interval_s=0.01)
        for i in range(20):
            log.append("step", attempt=attempt, i=i, loss=float("nan"), name="Größe")
        log.close()
    events = list(read_events(open_storage(any_uri), PATH))
    assert [(event["attempt"], event["i"]) for event in events] == [
        (attempt, i) for attempt in range(2) for i in range(20)
    ]
    assert all(event["loss"] is None and event["name"] == "Größe" for event in events)
    assert all(isinstance(event["t"], float) for event in events)


def test_a_log_that_is_not_there_has_no_events(any_uri: str) -> None:
    assert kinds(any_uri) == []


def test_following_gives_events_as_they_come_until_the_run_has_ended(any_uri: str) -> None:
    storage = open_storage(any_uri)
    log = open_event_log(storage, PATH, interval_s=0.01)
    ended = threading.Event()
    seen: list[str] = []
    seen_first = threading.Event()

    def follow() -> None:
        reader = read_events(
            open_storage(any_uri), PATH, follow=True, finished=ended.is_set, interval_s=0.01
        )
        for event in reader:
            seen.append(event["kind"])
            seen_first.set()

    thread = threading.Thread(target=follow)
    thread.start()
    log.append("first")
    assert seen_first.wait(30)
    log.append("last")
    log.close()
    ended.set()
    thread.join(30)
    assert seen == ["first", "last"]


def test_a_line_cut_short_is_passed_over_and_not_continued(tmp_path: Path) -> None:
    path = tmp_path / PATH
    path.parent.mkdir()
    path.write_bytes(b'{"t": 1, "kind": "whole"}\n{"t": 2, "ki')
    assert kinds(str(tmp_path)) == ["whole"]
    log = open_event_log(open_storage(tmp_path), PATH)
    log.append("next")
    log.close()
    assert kinds(str(tmp_path)) == ["whole", "next"]


def test_many_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    log = open_event_log(open_storage(tmp_path), PATH)
    threads = [
        threading.Thread(target=lambda: [log.append("x", text="y" * 3000) for _ in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds(str(tmp_path)) == ["x"] * 200


def test_a_full_disk_stops_the_one_who_reports(small_disk: Path) -> None:
    log = open_event_log(open_storage(small_disk), PATH)
    log.append("fits")
    with pytest.raises(StorageError, match="is full"):
        log.append("too much", text="x" * 4_000_000)
    assert kinds(str(small_disk)) == ["fits"]


def test_an_object_store_that_refuses_is_reported_when_the_log_is_closed(s3_uri: str) -> None:
    storage = open_storage(s3_uri.replace("s3://b", "s3://missing-b"))
    storage.list = lambda folder="": []  # type: ignore[method-assign]  # as if it went away later
    log = open_event_log(storage, PATH, interval_s=60)
    log.append("lost")
    with pytest.raises(StorageError, match=r"could not write 'r1/events/00000001\.jsonl'"):
        log.close()
