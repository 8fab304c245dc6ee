import pytest

from distml.errors import UserError
from distml.launch.launcher import LAUNCHERS, Launcher, LaunchLimits, LaunchRequest, launcher

TARGETS = {"cluster": ":http://127.0.0.1:8265", "cloud": ":cluster/onprem.yaml"}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_every_launcher_in_the_table_can_be_made(name):
    made: Launcher = launcher(name + TARGETS.get(name, ""))

    assert all(callable(getattr(made, verb)) for verb in ("plan", "submit", "attach"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("locl", "unknown launcher 'locl': did you mean local? there are debug, local"),
        ("spark", "unknown launcher 'spark': there are debug, local"),
        ("clster:http://x:1", "unknown launcher 'clster': did you mean cluster? there are debug"),
    ],
)
def test_an_unknown_launcher_is_answered_with_those_there_are(name, message):
    with pytest.raises(UserError) as caught:
        launcher(name)

    assert str(caught.value).startswith(message)


def test_debug_cannot_be_detached():
    with pytest.raises(UserError, match="debug runs in this process and cannot be detached"):
        launcher("debug").plan(LaunchRequest(storage="runs", run_id="a", detach=True))


def test_a_plan_says_who_owns_the_terminal():
    request = LaunchRequest(storage="runs", run_id="a", job_file="x.py")

    assert launcher("debug").plan(request).owns_terminal
    assert not launcher("local").plan(request).owns_terminal


@pytest.mark.parametrize("name", ["debug", "local"])
def test_this_machine_takes_no_address_and_no_limits(name):
    limits = LaunchLimits(max_hours=2)

    with pytest.raises(UserError, match=f"{name} is this machine and takes no address"):
        launcher(f"{name}:there")
    with pytest.raises(UserError, match="--max-hours, --max-cost and --down are for runs elsewher"):
        launcher(name).plan(LaunchRequest(storage="runs", run_id="a", limits=limits))
