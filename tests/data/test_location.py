import pytest
from pyarrow import fs

from distml.data.location import list_files, locate
from distml.errors import DataError

FILES = ["a.csv", "b/c.csv", "b/d/e.csv", "b/f.txt", "_x/g.csv", ".h.csv", "b/_i.csv", "[odd].csv"]


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", ["[odd].csv", "a.csv", "b/c.csv", "b/d/e.csv", "b/f.txt"]),
        ("*.csv", ["[odd].csv", "a.csv"]),
        ("**/*.csv", ["[odd].csv", "a.csv", "b/c.csv", "b/d/e.csv"]),
        ("b/**", ["c.csv", "d/e.csv", "f.txt"]),
        ("b/*.csv", ["c.csv"]),
        ("b/?.[!t]*", ["c.csv"]),
        ("*/*.txt", ["b/f.txt"]),
        ("a.csv", ["a.csv"]),
        ("[odd].csv", ["[odd].csv"]),
        ("*.nothing", []),
    ],
)
def test_files_are_found_sorted_without_hidden_ones(folder, pattern, found):
    listing = list_files(f"{folder}/{pattern}")
    assert list(listing.files) == found
    assert all(fs.LocalFileSystem().get_file_info(listing.path(f)).is_file for f in found)


def test_uris_take_wildcards_too(folder):
    assert list_files(f"file://{folder}/b/*.csv").files == ("c.csv",)
    assert list_files(f"file://{folder}/**/[ce].csv").files == ("b/c.csv", "b/d/e.csv")


def test_relative_paths_do_not_depend_on_a_later_chdir(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for uri in ("b", "./b/*"):
        listing = list_files(uri)
        assert listing.root == str(folder / "b")
        assert "c.csv" in listing.files


def test_list_of_files_has_their_common_folder_as_root(folder):
    listing = list_files([folder / "b/d/e.csv", str(folder / "b/c.csv")])
    assert listing.root == str(folder / "b")
    assert listing.files == ("c.csv", "d/e.csv")


def test_given_filesystem_is_used(object_store):
    with object_store.open_output_stream("bucket/x/a.csv") as stream:
        stream.write(b"x\n1\n")
    for uri in ("bucket/x", "bucket/x/", "bucket/x/*.csv", ["bucket/x/a.csv"]):
        assert list_files(uri, object_store).files == ("a.csv",)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        pytest.param("nothing/here", "no such file or folder", id="missing"),
        pytest.param("nothing/*.csv", "no such file or folder", id="glob in a missing folder"),
        pytest.param(["nothing/a.csv"], "no such file", id="missing in a list"),
        pytest.param([], "is empty", id="empty list"),
        pytest.param("floppy://a/b", "floppy://a/b: cannot be opened", id="unknown scheme"),
    ],
)
def test_nothing_there_is_refused(tmp_path, monkeypatch, uri, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        list_files(uri)


def test_locate_needs_nothing_there(tmp_path):
    filesystem, path = locate(tmp_path / "new")
    assert isinstance(filesystem, fs.LocalFileSystem)
    assert path == str(tmp_path / "new")
    assert locate("file:///x/y/")[1] == "/x/y"
