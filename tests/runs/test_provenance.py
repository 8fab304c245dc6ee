import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from distml.runs import provenance
from distml.runs.provenance import git_state, host_facts, library_versions, new_record
from distml.runs.record import RunStatus


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def test_the_repository_is_told_by_commit_and_changes(tmp_path: Path) -> None:
    git(tmp_path, "init")
    assert git_state(tmp_path) == {"commit": None, "dirty": False}
    (tmp_path / "a").write_text("1")
    assert git_state(tmp_path) == {"commit": None, "dirty": True}
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "x")
    state = git_state(tmp_path)
    assert state is not None
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == {**state, "dirty": True}


def test_without_a_repository_or_git_there_is_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    assert git_state(tmp_path / "missing") is None
    monkeypatch.setenv("PATH", "")
    assert git_state(Path(__file__).parent) is None


def test_versions_are_read_without_importing() -> None:
    code = (
        "import sys; from distml.runs.provenance import library_versions as v\n"
        "print(sorted(v()), [n for n in ('ray', 'torch', 'sklearn', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = ["distml", "numpy", "pyarrow", "python", "ray", "sklearn", "torch", "xgboost"]
    assert done.stdout.strip() == f"{names} []"
    assert library_versions()["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_host_is_told_as_we_may_use_it() -> None:
    facts = host_facts()
    assert set(facts) == {"name", "cpus", "memory_bytes", "platform"}
    assert 1 <= facts["cpus"] <= (psutil.cpu_count() or 1)
    assert 0 < facts["memory_bytes"] <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("line", "files", "limit", "quota"),
    [
        pytest.param(
            "0::/a/b",
            {"a/b/memory.max": "max", "a/memory.max": "1000", "a/b/cpu.max": "150000 100000"},
            1000,
            2,
            id="v2-limit-above",
        ),
        pytest.param("0::/", {"memory.max": "77"}, 77, None, id="v2-container"),
        pytest.param(
            "0::/a",
            {"a/memory.max": "max", "a/cpu.max": "max 100000"},
            None,
            None,
            id="v2-none",
        ),
        pytest.param(
            "4:memory:/c", {"memory/c/memory.limit_in_bytes": "55"}, 55, None, id="v1"
        ),
        pytest.param(
            "4:memory:/c",
            {"memory/c/memory.limit_in_bytes": str(2**63 - 4096)},
            None,
            None,
            id="v1-none",
        ),
        pytest.param("", {}, None, None, id="no-control-groups"),
    ],
)  # fmt: skip
def test_limits_of_the_control_group_are_honoured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    files: dict[str, str],
    limit: int | None,
    quota: int | None,
) -> None:
    (tmp_path / "membership").write_text(line + "\n" if line else "")
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text + "\n")
    monkeypatch.setattr(provenance, "_GROUPS", tmp_path / "fs")
    monkeypatch.setattr(provenance, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
    assert provenance.memory_limit_bytes() == limit
    facts = host_facts()
    assert facts["cpus"] == (64 if quota is None else quota)
    assert facts["memory_bytes"] == (limit or psutil.virtual_memory().total)


def test_a_new_record_says_what_shall_run(tmp_path: Path) -> None:
    record = new_record(
        job_file=str(tmp_path / "stack.py"),
        parameters={"rows": 5, "rate": float("inf")},
        launcher="debug",
    )
    assert record.status is RunStatus.PENDING
    assert "-stack-" in record.run_id
    assert record.parameters == {"rows": 5, "rate": None}
    assert record.launcher == "debug"
    assert record.folder == str(Path.cwd())
    assert record.created_at > 1.6e9
    assert record == record.as_stored()
