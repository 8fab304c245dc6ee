"""A head of Kubernetes that goes lets its driver save what it has: tried on our own processes."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CLUSTER = Path(__file__).parents[2] / "cluster"
SCRIPT = CLUSTER / "node" / "stop_driver.py"

KEEPER = """
import signal, sys, time
def save(signum, frame):
    time.sleep(0.3)
    print("saved", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
print("begun", flush=True)
time.sleep(60)
"""


def test_the_driver_of_a_pod_is_asked_and_waited_for(tmp_path: Path) -> None:
    keeper = tmp_path / "keeper.py"
    keeper.write_text(KEEPER, encoding="utf-8")
    python = shlex.quote(sys.executable)
    # In a room where no other process is seen: the script asks all keepers that there are.
    steps = f"""
        {python} {keeper} distml.launch.keeper --folder . > {tmp_path}/said &
        sh -c "sleep 61 # distml.launch.keeper" &
        until grep -q begun {tmp_path}/said; do sleep 0.05; done
        {python} {SCRIPT} && cat {tmp_path}/said && kill -0 $! && echo others live
        {python} {SCRIPT} && kill $!
    """
    room = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c"]
    try:
        if subprocess.run([*room, "true"], capture_output=True).returncode:
            pytest.skip("a room for processes of our own needs root")
    except FileNotFoundError:
        pytest.skip("there is no unshare")

    done = subprocess.run([*room, steps], capture_output=True, text=True, timeout=60)

    assert done.stdout.split("\n") == ["begun", "saved", "others live", ""]


def test_kubernetes_waits_longer_than_the_script() -> None:
    text = (CLUSTER / "kuberay.yaml").read_text(encoding="utf-8")
    pod = yaml.safe_load(text)["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    copied = (CLUSTER / "node" / "Dockerfile").read_text(encoding="utf-8")

    assert command[-1] == "python /opt/distml-node/stop_driver.py"
    assert "stop_driver.py /opt/distml-node/" in copied
    assert pod["terminationGracePeriodSeconds"] == 60
    assert "\nPATIENCE_S = 50.0\n" in SCRIPT.read_text(encoding="utf-8")
