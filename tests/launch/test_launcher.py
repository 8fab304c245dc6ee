import pytest

from distml.errors import UserError
from distml.launch.launcher import LAUNCHERS, Launcher, LaunchRequest, launcher


@pytest.mark.parametrize("name", LAUNCHERS)
def test_every_launcher_in_the_table_can_be_made(name):
    made: Launcher = launcher(name)

    assert all(callable(getattr(made, verb)) for verb in ("plan", "submit", "attach"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("locl", "unknown launcher 'locl': did you mean local? there are debug, local"),
        ("kubernetes", "unknown launcher 'kubernetes': there are debug, local"),
    ],
)
def test_an_unknown_launcher_is_answered_with_those_there_are(name, message):
    with pytest.raises(UserError) as caught:
        launcher(name)

    assert str(caught.value) == message


def test_debug_cannot_be_detached():
    with pytest.raises(UserError, match="debug runs in this process and cannot be detached"):
        launcher("debug").plan(LaunchRequest(storage="runs", run_id="a", detach=True))


def test_a_plan_says_who_owns_the_terminal():
    request = LaunchRequest(storage="runs", run_id="a", job_file="x.py")

    owners = [name for name in LAUNCHERS if launcher(name).plan(request).owns_terminal]

    assert owners == ["debug"]
