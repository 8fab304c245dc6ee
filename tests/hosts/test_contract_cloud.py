"""The contract of all launchers over `--on cloud:FILE`: its tests, run where the user sits.

The suite calls launchers in its own process, which has to be in the network of the cluster: so a
pytest on the client runs all of it, and each of its tests is told of here by its name.
"""

import shutil
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.hosts.cloud_user import CloudUser
from tests.hosts.host import CHECKOUT
from tests.hosts.onprem import filled_in
from tests.launch import test_contract

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

ADDRESS = "10.79.0.11"
NAMES = [name for name in vars(test_contract) if name.startswith("test_")]


@pytest.fixture(scope="module")
def outcomes(world):
    """Failures of each of the suite's tests, by the test's name."""
    head = world.start_host("contract", ADDRESS)
    user = CloudUser(world, filled_in(ADDRESS, []), jobs=())
    # A folder that all hosts see, as sites have one; their own /tmp they do not share.
    shared = Path(tempfile.mkdtemp(prefix="dmlc", dir="/var/tmp"))
    try:
        up = user.distml("cluster up cluster/it.yaml")
        assert up.code == 0, up
        report = shared / "report.xml"
        suite = CHECKOUT / "tests/hosts/contract_cloud.py"
        told = world.client.run(
            f"python -m pytest -p no:cacheprovider -p no:xdist -q --basetemp {shared}/runs "
            f"--junitxml {report} {suite}",
            check=False,
            cwd=CHECKOUT,
            env={"CONTRACT_PLACE": f"cloud:{user.file}"},
            timeout_s=700,
        )
        assert report.exists(), told.stdout + told.stderr
        yield _by_name(report)
    finally:
        shutil.rmtree(shared, ignore_errors=True)
        head.kill()


def _by_name(report):
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        wrong = [f"{case.get('name')}: {part.text}" for part in case if part.tag != "system-out"]
        found.setdefault(case.get("name").partition("[")[0], []).extend(wrong)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_cloud_does_what_every_launcher_does(outcomes, name):
    assert outcomes[name] == [], "\n".join(outcomes[name])
