import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from distml.errors import StorageError, UserError
from distml.runs.storage import absolute_uri, carries_keys, join_uri, open_storage, shown


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        pytest.param("runs", "runs/a/b", id="relative"),
        pytest.param("/data/runs/", "/data/runs/a/b", id="absolute"),
        pytest.param("", "a/b", id="empty"),
        pytest.param("s3://bucket", "s3://bucket/a/b", id="bucket"),
        pytest.param("s3://k:s@b/p?region=x&y=1", "s3://k:s@b/p/a/b?region=x&y=1", id="query"),
    ],
)
def test_parts_are_joined_before_the_query(base: str, expected: str) -> None:
    assert join_uri(base, "a", "b") == expected


def test_a_relative_path_means_the_same_after_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage("runs")
    storage.write("a", b"1")
    monkeypatch.chdir("/")
    assert storage.read("a") == b"1"
    assert storage.uri == str(tmp_path / "runs")
    assert absolute_uri("s3://b/p") == "s3://b/p"


def test_what_is_written_is_read_listed_and_deleted(any_uri: str) -> None:
    storage = open_storage(any_uri)
    assert storage.list() == []
    assert storage.stat("deep/er/x") is None
    storage.write("deep/er/x", b"one")
    storage.write("deep/er/x", b"three")
    assert storage.read("deep/er/x") == b"three"
    assert [(entry.name, entry.is_dir) for entry in storage.list("deep")] == [("er", True)]
    found = storage.stat("deep/er/x")
    assert found is not None
    assert (found.name, found.num_bytes, found.is_dir) == ("x", 5, False)
    assert found.modified_at > 1.6e9
    with storage.open("deep/er/x") as file:
        assert file.seek(-2, os.SEEK_END) == 3
        assert file.read() == b"ee"
    storage.delete("deep/er/x")
    storage.delete("deep/er/x")
    assert storage.stat("deep/er/x") is None
    with pytest.raises(FileNotFoundError):
        storage.read("deep/er/x")


def test_a_file_appears_only_when_it_is_whole(any_uri: str) -> None:
    storage = open_storage(any_uri)
    storage.write("kept", b"old")
    for name in ("kept", "new"):
        with contextlib.suppress(ZeroDivisionError), storage.create(name) as file:
            file.write(b"half")
            raise ZeroDivisionError
    assert storage.stat("new") is None
    if "://" not in any_uri:
        # An object store publishes what was sent; there the former content is gone, never half.
        assert storage.read("kept") == b"old"
        assert [path.name for path in Path(any_uri).iterdir()] == ["kept"]


def test_an_s3_endpoint_may_come_from_the_environment(
    s3_uri: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_storage(s3_uri).write("a", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3_endpoint}")
    plain = s3_uri.partition("?")[0]
    assert open_storage(f"{plain}?region=us-east-1").read("a") == b"1"


def test_a_missing_bucket_is_refused_in_one_line(s3_uri: str) -> None:
    storage = open_storage(s3_uri.replace("s3://b", "s3://missing-b"))
    with pytest.raises(StorageError, match=r"^storage s3://missing-b.* could not write 'a'"):
        storage.write("a", b"1")


def test_a_secret_in_the_address_is_not_repeated(s3_uri: str) -> None:
    storage = open_storage(s3_uri.replace("s3://b", "s3://key:geheim@missing-b"))
    with pytest.raises(StorageError) as caught:
        storage.write("a", b"1")
    assert "geheim" not in str(caught.value)


def test_an_unknown_kind_of_address_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"storage ftp://x/y: .*; give a local path, s3://"):
        open_storage("ftp://x/y")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StorageError, match="could not write 'a'"):
        open_storage(tmp_path / "runs").write("a", b"1")


def test_below_a_file_is_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    storage = open_storage(tmp_path / "runs")
    assert (storage.stat("a"), storage.list()) == (None, [])
    with pytest.raises(FileNotFoundError):
        storage.read("a")
    with pytest.raises(FileNotFoundError), storage.open("a"):
        pass


@pytest.mark.parametrize("how", ["write", "append"])
def test_a_full_disk_is_named_and_what_is_there_stays(small_disk: Path, how: str) -> None:
    storage = open_storage(small_disk)
    storage.write("kept", b"x" * 1000)
    with pytest.raises(StorageError, match=r"storage .*small is full: could not write 'big'"):
        getattr(storage, how)("big", b"x" * 4_000_000)
    assert storage.read("kept") == b"x" * 1000
    if how == "write":
        assert [path.name for path in small_disk.iterdir()] == ["kept"]


def test_local_storage_does_not_load_arrow(tmp_path: Path) -> None:
    code = (
        "import sys; from distml.runs.storage import open_storage\n"
        f"open_storage({str(tmp_path)!r}).write('a', b'1')\n"
        "print([name for name in ('pyarrow', 'numpy', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("s3://key:pass@bucket/runs", "s3://bucket/runs"),
        ("s3://bucket/runs?region=eu&secret_key=pass", "s3://bucket/runs?region=eu&secret_key=…"),
        ("abfs://box@account.net/runs?sas_token=pass", "abfs://box@account.net/runs?sas_token=…"),
    ],
)
def test_keys_in_a_uri_are_noticed_and_not_shown(uri, public):
    assert carries_keys(uri)
    assert carries_keys(f"--data={uri}")
    assert shown(uri) == public


@pytest.mark.parametrize(
    "uri",
    [
        "runs",
        "a:b@c",
        "s3://bucket/a:b@c",
        "s3://bucket/runs?region=us-east-1&endpoint_override=127.0.0.1:9000&scheme=http",
        "abfs://box@account.dfs.core.windows.net/runs",
        "http://head:8265",
    ],
)
def test_other_uris_are_no_secret(uri):
    assert not carries_keys(uri)
