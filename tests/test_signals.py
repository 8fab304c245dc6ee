"""Signals that are raised in this process; tests/launch/test_local.py sends them from outside."""

import contextlib
import signal
import subprocess
import sys
import threading

import pytest

from distml.signals import Signals, Stopped, held

BOTH = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)


@pytest.fixture(autouse=True)
def _handlers_are_put_back(own_signals):
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    yield
    after = {signum: signal.getsignal(signum) for signum in before}
    for signum, handler in before.items():
        signal.signal(signum, handler)
    assert after == before


@BOTH
def test_first_signal_is_held_back_until_the_block_has_ended(signum):
    done = []

    def work():
        with held() as holding:
            assert not holding.has_come
            signal.raise_signal(signum)
            assert holding.has_come
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest"]


@BOTH
def test_second_signal_comes_through(signum):
    done = []

    def work():
        with held():
            signal.raise_signal(signum)
            signal.raise_signal(signum)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == []


def test_sigterm_ends_with_its_exit_code():
    with pytest.raises(Stopped, match="SIGTERM") as caught, held():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.exit_code == 143


def test_block_without_a_signal_ends_as_it_ends():
    with held() as holding:
        pass
    assert not holding.has_come
    with pytest.raises(ValueError, match="mine"), held():
        raise ValueError("mine")


def test_error_of_the_block_is_the_context_of_the_interrupt():
    def work():
        with held():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("mine")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value.__context__, ValueError)


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held() as holding:
            signal.raise_signal(signal.SIGINT)
            assert not holding.has_come
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_handler_of_the_caller_hears_of_it_at_the_end():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    try:
        with held() as holding:
            signal.raise_signal(signal.SIGTERM)
            assert (heard, holding.has_come) == ([], True)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_inside_signals_it_ends_as_stopped_and_then_ignores_more():
    with Signals() as signals:
        with pytest.raises(Stopped), held():
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert signals.stopped().exit_code == 143


def test_held_in_held_holds_to_the_end_of_the_outer_one():
    done = []

    def work():
        with held() as outer:
            with contextlib.suppress(KeyboardInterrupt), held():
                signal.raise_signal(signal.SIGINT)
            assert outer.has_come
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["outer"]


def test_outside_the_main_thread_nothing_is_done():
    found = []

    def work():
        before = signal.getsignal(signal.SIGINT)
        with held() as holding:
            found.append((holding.has_come, signal.getsignal(signal.SIGINT) is before))
        with Signals() as signals:
            found.append((signals.stopped(), signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, True), (None, True)]


CODE = """
import sys, time
from distml.signals import held
with held() as holding:
    print("ready", flush=True)
    while not holding.has_come:
        time.sleep(0.01)
    print("rest", flush=True)
    if len(sys.argv) > 1:
        time.sleep(60)
print("never", flush=True)
"""


@pytest.mark.parametrize(
    ("signum", "twice", "code"),
    [
        (signal.SIGINT, False, -signal.SIGINT),
        (signal.SIGTERM, False, 1),
        (signal.SIGINT, True, -signal.SIGINT),
        (signal.SIGTERM, True, 1),
    ],
    ids=["SIGINT", "SIGTERM", "SIGINT twice", "SIGTERM twice"],
)
def test_a_process_that_is_sent_one_finishes_the_block_and_ends(signum, twice, code):
    command = [sys.executable, "-c", CODE, *(["wait"] if twice else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signum)
    assert process.stdout.readline() == "rest\n"
    if twice:
        process.send_signal(signum)
    out, error = process.communicate(timeout=30)
    assert out == ""
    assert "KeyboardInterrupt" in error or "Stopped" in error
    assert process.returncode == code
