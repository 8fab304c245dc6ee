"""Keys and tokens stay where they are: nothing that is sent, kept or printed holds one."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from distml.cli import main
from distml.launch.jobs_api import JobsApi
from distml.launch.launcher import LaunchRequest, launcher
from tests.launch.head import TOKEN

TINY = Path(__file__).parent / "tiny.py"
CANARY = "c4n4ry-5ecret-0f-m1ne"

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def keys(tmp_path, monkeypatch):
    """A working directory with a tiny job, and an environment full of keys."""
    shutil.copy(TINY, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    return tmp_path


def found_in(texts):
    """Which of the texts hold a key or the token."""
    return [
        name
        for name, text in texts.items()
        if CANARY.encode() in bytes(text) or TOKEN.encode() in bytes(text)
    ]


def files_in(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["succeed", "break_down"])
def test_no_key_leaves_this_machine_by_way_of_a_cluster(ray_head, keys, capfd, end):
    place, run_id = f"cluster:{ray_head}", f"secret-{end.replace('_', '-')}-{keys.name[-8:]}"

    code = main(["run", "tiny.py", "--on", place, "--run-id", run_id, "--end", end])

    output, errors = capfd.readouterr()
    assert code == (0 if end == "succeed" else 1), errors
    kept = files_in(keys / "runs")
    assert {Path(name).name for name in kept} >= {"record.json", "log.txt", "events.jsonl"}
    api = JobsApi(ray_head)
    listed = json.dumps([*api.jobs(), api.info(run_id), api.output(run_id)])
    said = {"listed": listed.encode(), "stdout": output.encode(), "stderr": errors.encode()}
    assert run_id in listed
    assert found_in({**kept, **said}) == []


def test_what_is_sent_holds_no_key(keys):
    request = LaunchRequest(storage=str(keys / "runs"), run_id="one", job_file="tiny.py")

    plan = launcher("cluster:http://127.0.0.1:9").plan(request)

    with zipfile.ZipFile(io.BytesIO(plan.shipment.package)) as archive:
        sent = {name: archive.read(name) for name in archive.namelist()}
    assert "tiny.py" in sent
    assert found_in({**sent, "plan": str(plan).encode()}) == []


@pytest.mark.parametrize(
    "options",
    [
        ["--storage", f"s3://user:{CANARY}@bucket/runs"],
        ["--storage", f"s3://bucket/runs?secret_key={CANARY}&region=us-east-1"],
        ["--signs", f"s3://user:{CANARY}@bucket/data"],
        [f"--signs=abfs://account:{CANARY}@store/data"],
    ],
    ids=["password", "query", "argument", "argument after ="],
)
def test_a_uri_with_a_key_in_it_is_not_sent(keys, capfd, options):
    code = main(["run", "tiny.py", "--on", "cluster:http://127.0.0.1:9", *options])

    errors = capfd.readouterr().err
    assert code == 2
    assert "its nodes use credentials of their own" in errors
    assert errors.count("\n") == 1
    assert CANARY not in errors


def test_a_place_with_a_password_is_not_noted(keys, capfd):
    code = main(["run", "tiny.py", "--on", f"cluster:http://me:{CANARY}@head:8265"])

    errors = capfd.readouterr().err
    assert code == 2
    assert "http://head:8265 names a password" in errors
    assert CANARY not in errors


def test_a_parameter_with_a_key_in_it_is_not_recorded(keys, capfd):
    (keys / "data.py").write_text("import distml\ndef job(data: str) -> distml.Job: ...\n")

    code = main(["run", "data.py", "--on", "debug", f"--data=s3://me:{CANARY}@bucket/data"])

    errors = capfd.readouterr().err
    assert code == 2
    assert "parameter --data: s3://bucket/data names a password or key" in errors
    assert CANARY not in errors
    assert not (keys / "runs").exists()
