"""How Ray is started; what it does then is seen wherever tests use it."""

import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

from distml import session
from distml.errors import DistmlError

TOO_SLOW = Exception("The current node timed out during startup. This could happen because")


class Start:
    """Fails as it is told and then succeeds."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize("errors", [[], [TOO_SLOW]], ids=["at once", "too slow once"])
def test_ray_that_was_too_slow_is_started_again(errors):
    start = Start(*errors)
    calls = len(errors) + 1

    session._begin(start)

    assert start.calls == calls


def test_ray_that_is_too_slow_twice_is_one_line():
    with pytest.raises(DistmlError, match="Ray did not start, twice: this machine is too busy"):
        session._begin(Start(TOO_SLOW, TOO_SLOW))


def test_other_errors_of_a_start_are_not_tried_again():
    start = Start(ConnectionError("nobody there"))

    with pytest.raises(ConnectionError, match="nobody there"):
        session._begin(start)

    assert start.calls == 1


def test_the_words_that_are_waited_for_are_rays():
    source = Path(find_spec("ray._private.node").origin).read_text()

    assert session._TOO_SLOW in source
    assert session._TOO_SLOW in str(TOO_SLOW)


def test_whoever_handled_sigterm_before_ray_does_so_afterwards(own_signals):
    def ours(signum, frame):
        raise AssertionError("not sent")

    signal.signal(signal.SIGTERM, ours)
    with session._own_sigterm():
        signal.signal(signal.SIGTERM, lambda signum, frame: None)

    assert signal.getsignal(signal.SIGTERM) is ours
