"""Drivers that are killed, and those that decide their own end: small programs in their place."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distml.launch.keeper import MAX_RESTARTS

KEEP = "import sys; from distml.launch.keeper import keep; sys.exit(keep(sys.argv[2:], ['JOB'], "
KEEP += "limit_s=float(sys.argv[1]) or None))"


def driver(body):
    return f"""
import os, signal, sys, time
sys.stdout.write(' '.join(sys.argv[1:]) + '\\n')
sys.stdout.flush()
{body}
"""


def begin(body, limit_s=0.0):
    program = [sys.executable, "-u", "-c", driver(body)]
    command = [sys.executable, "-c", KEEP, str(limit_s), *program]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(body, limit_s=0.0):
    child = begin(body, limit_s)
    output, errors = child.communicate(timeout=60)
    return child.returncode, output.split("\n")[:-1], errors


@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_what_the_driver_decides_is_final(code):
    assert run(f"sys.exit({code})") == (code, ["JOB"], "")


def test_a_killed_driver_resumes(tmp_path):
    body = """
if '--begun' in sys.argv:
    sys.exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    code, starts, errors = run(body)

    assert (code, starts) == (0, ["JOB", "--begun JOB"])
    assert errors == "the driver was killed by SIGKILL; starting it again (1/3)\n"


def test_a_driver_that_is_killed_again_and_again_is_given_up():
    code, starts, _ = run("os.kill(os.getpid(), signal.SIGSEGV)")

    assert code == 128 + signal.SIGSEGV
    assert len(starts) == MAX_RESTARTS + 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_the_driver_as_an_interrupt(signum):
    child = begin("""
try:
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
""")
    assert child.stdout.readline() == "JOB\n"
    time.sleep(0.3)

    child.send_signal(signum)
    _, errors = child.communicate(timeout=60)

    assert (child.returncode, errors) == (130, "")


def test_a_driver_that_dies_of_its_stop_is_not_started_again():
    child = begin("signal.signal(signal.SIGINT, signal.SIG_DFL); time.sleep(60)")
    child.stdout.readline()
    time.sleep(0.3)

    child.send_signal(signal.SIGTERM)

    assert child.communicate(timeout=60) == ("", "")
    assert child.returncode == 128 + signal.SIGINT


def test_a_run_over_its_hours_is_stopped():
    code, _, errors = run("time.sleep(60)", limit_s=0.5)

    assert code == 124
    assert "the limit of --max-hours is reached" in errors


def test_the_driver_works_in_the_folder_and_imports_from_the_root(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "distml").mkdir()
    (tmp_path / "distml" / "__init__.py").write_text("")
    (tmp_path / "distml" / "driver.py").write_text(
        "import os, sys, beside; sys.stdout.write(f'{os.getcwd()} {sys.argv[1:]} {beside.word}')"
    )
    (tmp_path / "beside.py").write_text("word = 'here'")
    code = "import sys; sys.argv[1:] = ['--folder', 'sub', '--', 'jobs/x.py']\n"
    code += "from distml.launch.keeper import main; import os; sys.exit(main())"
    # The keeper is this distml's, the driver the tree's.
    done = subprocess.run(
        [sys.executable, "-c", f"import distml.launch.keeper; {code}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )

    assert done.stderr == ""
    assert done.stdout == f"{tmp_path / 'sub'} ['jobs/x.py'] here"
