import io
import os
import subprocess
import sys
import zipfile

import pytest

from distml.errors import UserError
from distml.launch import tree as module
from distml.launch.tree import IGNORE_FILE, find_tree, package_tree


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path):
    """A folder with a job, data, and what nobody wants to send."""
    for name, size in {
        "jobs/x.py": 10, "data/rows.csv": 2000, "big.bin": 3000, ".venv/lib/a.py": 5,
        "jobs/__pycache__/x.pyc": 5, "runs/one/record.json": 5, "secret.env": 5, "new.txt": 7,
    }.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    (tmp_path / ".gitignore").write_text("*.env\n.venv/\n__pycache__/\n")
    return tmp_path


@pytest.fixture
def repository(folder):
    git(folder, "init", "-q")
    git(folder, "add", "jobs/x.py", "big.bin", ".gitignore")
    return folder


def test_a_repository_sends_tracked_and_new_files_but_no_ignored_ones(repository):
    tree = find_tree(repository / "jobs", leave=repository / "runs")

    assert tree.root == repository
    assert list(tree.files) == [".gitignore", "big.bin", "data/rows.csv", "jobs/x.py", "new.txt"]
    assert tree.files["big.bin"] == 3000
    assert tree.num_bytes == 3000 + 2000 + 10 + 7 + 26


def test_without_a_repository_the_folder_is_sent_without_the_usual_rubbish(folder):
    assert list(find_tree(folder).files) == [
        ".gitignore", "big.bin", "data/rows.csv", "jobs/x.py", "new.txt",
    ]  # fmt: skip


@pytest.mark.parametrize("in_git", [True, False], ids=["repository", "folder"])
def test_the_ignore_file_keeps_tracked_files_here_too(folder, in_git):
    if in_git:
        git(folder, "init", "-q")
        git(folder, "add", "big.bin")
    (folder / IGNORE_FILE).write_text("*.bin\ndata/\n!data/keep.csv\n")

    files = find_tree(folder, leave=folder / "runs").files

    assert "big.bin" not in files
    assert "data/rows.csv" not in files
    assert "jobs/x.py" in files


def test_a_deleted_tracked_file_is_not_sent(repository):
    (repository / "big.bin").unlink()

    assert "big.bin" not in find_tree(repository).files


def test_a_tree_shows_its_size_and_its_largest_files(repository):
    words = str(find_tree(repository, leave=repository / "runs"))

    assert "5 files, 5 KiB" in words
    assert "(largest: big.bin 3 KiB, data/rows.csv 2 KiB, .gitignore 26 B)" in words


def test_a_tree_that_is_too_large_is_refused_with_its_largest_files(repository, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 4000)

    with pytest.raises(UserError, match=r"is more than 4 KiB; name what is not needed in \.distml"):
        find_tree(repository)


def test_a_folder_that_is_much_too_large_is_not_walked_to_its_end(folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)

    with pytest.raises(UserError, match="is more than"):
        find_tree(folder)


@pytest.mark.parametrize(
    ("job_file", "message"),
    [
        ("jobs/y.py", "no such job file: jobs/y.py"),
        ("../elsewhere.py", "elsewhere.py is outside the tree"),
        ("secret.env", "secret.env is ignored by git or .distmlignore"),
    ],
    ids=["missing", "outside", "ignored"],
)
def test_a_job_file_that_does_not_travel_is_refused(repository, monkeypatch, job_file, message):
    monkeypatch.chdir(repository)
    elsewhere = repository.parent / "elsewhere.py"
    elsewhere.write_text("")

    with pytest.raises(UserError, match=message):
        find_tree().path_of(job_file)

    elsewhere.unlink()


def test_the_package_is_the_same_for_the_same_contents_whatever_their_times(repository):
    name, package = package_tree(find_tree(repository))
    os.utime(repository / "big.bin", (1, 1))

    assert package_tree(find_tree(repository)) == (name, package)

    (repository / "new.txt").write_text("other")
    assert package_tree(find_tree(repository))[0] != name


def test_distml_runs_from_the_package_alone_and_knows_its_version(repository, tmp_path_factory):
    _, package = package_tree(find_tree(repository))
    there = tmp_path_factory.mktemp("there")
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        archive.extractall(there)

    code = (
        "import distml, importlib.metadata as m; "
        "print(distml.__file__, m.version('distml'), len(list(m.distribution('distml').metadata)))"
    )
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=there, capture_output=True, text=True, check=True)

    file, version, _ = done.stdout.split()
    assert file == str(there / "distml" / "__init__.py")
    assert version
    assert (there / "jobs" / "x.py").is_file()
    assert (there / "distml" / "report" / "templates").is_dir()


def test_a_file_that_cannot_be_read_is_named(repository):
    tree = find_tree(repository)
    (repository / "new.txt").unlink()

    with pytest.raises(UserError, match=r"new\.txt cannot be sent: No such file"):
        package_tree(tree)
