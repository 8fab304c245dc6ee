import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.errors import StorageError, UserError
from distml.runs.units import UnitStore, active_units, unit_key, use_units

KEY = unit_key(member="a", fold=1)


def file_of(store: UnitStore, key: str) -> Path:
    return Path(store.uri) / key[:2] / key


def test_a_unit_comes_back_with_what_was_said_about_it(any_uri: str) -> None:
    store = UnitStore(any_uri)
    assert not store.has(KEY)
    assert list(store.keys()) == []
    value = {"model": np.arange(5), "text": "Größe"}
    assert store.put(KEY, value, {"seconds": 1.5, "score": float("nan")})
    assert store.has(KEY)
    back = store.get(KEY)
    assert back["text"] == "Größe"
    np.testing.assert_array_equal(back["model"], value["model"])
    back["model"][0] = 9  # a model that was read may be fitted further
    assert store.meta(KEY) == {"seconds": 1.5, "score": None}
    assert list(store.keys()) == [KEY]


def test_a_unit_is_written_once(any_uri: str) -> None:
    store = UnitStore(any_uri)
    assert store.put(KEY, "first")
    assert not store.put(KEY, "second")
    assert store.get(KEY) == "first"


@pytest.mark.parametrize("read", ["get", "meta"])
def test_a_unit_that_is_not_there_is_a_key_error(any_uri: str, read: str) -> None:
    with pytest.raises(KeyError, match=KEY):
        getattr(UnitStore(any_uri), read)(KEY)


@given(st.data())
def test_a_damaged_unit_is_absent_and_is_written_anew(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = UnitStore(tmp_path_factory.mktemp("units"))
    store.put(KEY, list(range(50)), {"seconds": 1})
    file = file_of(store, KEY)
    whole = file.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1), label="position")
    damage = data.draw(st.sampled_from(["change", "cut", "extend"]), label="damage")
    if damage == "change":
        flipped = whole[position] ^ data.draw(st.integers(1, 255), label="bits")
        file.write_bytes(whole[:position] + bytes([flipped]) + whole[position + 1 :])
    else:
        file.write_bytes(whole[:position] if damage == "cut" else whole + whole[position:])
    assert not store.has(KEY)
    with pytest.raises(KeyError):
        store.get(KEY)
    with pytest.raises(KeyError):
        store.meta(KEY)
    assert store.put(KEY, "new")
    assert store.get(KEY) == "new"


def test_a_damaged_unit_on_an_object_store_is_absent(s3_uri: str) -> None:
    store = UnitStore(s3_uri)
    store.put(KEY, "whole")
    store._storage.write(f"{KEY[:2]}/{KEY}", b"torn")
    assert not store.has(KEY)
    assert store.put(KEY, "new")
    assert store.get(KEY) == "new"


def test_a_full_disk_keeps_the_units_that_are_there(small_disk: Path) -> None:
    store = UnitStore(small_disk)
    store.put(KEY, "kept")
    large = unit_key(member="large")
    with pytest.raises(StorageError, match=r"^storage .*small is full: .* resume the run$"):
        store.put(large, np.zeros(10_000_000))
    assert not store.has(large)
    assert list(store.keys()) == [KEY]
    assert store.get(KEY) == "kept"
    assert store.put(large, "small enough")


def test_a_value_that_cannot_be_pickled_leaves_nothing(any_uri: str) -> None:
    store = UnitStore(any_uri)
    with pytest.raises(TypeError, match="pickle"):
        store.put(KEY, [np.zeros(100_000), (i for i in "x")])
    assert not store.has(KEY)
    assert list(store.keys()) == []


def test_a_unit_whose_class_is_gone_is_absent_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "passing.py").write_text("class Passing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    store = UnitStore(tmp_path / "units")
    store.put(KEY, importlib.import_module("passing").Passing())
    (tmp_path / "passing.py").write_text("")
    monkeypatch.delitem(sys.modules, "passing")
    importlib.invalidate_caches()
    with pytest.raises(KeyError):
        store.get(KEY)
    assert "will be fitted again" in caplog.text


def test_several_processes_may_put_the_same_units_at_once(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from distml.runs.units import UnitStore, unit_key\n"
        f"store = UnitStore({str(tmp_path)!r})\n"
        "for i in range(20):\n"
        "    store.put(unit_key(i=i), {'i': i, 'model': np.full(2000, i)})\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    store = UnitStore(tmp_path)
    assert len(list(store.keys())) == 20
    assert [store.get(unit_key(i=i))["i"] for i in range(20)] == list(range(20))


def test_a_writer_that_is_killed_leaves_whole_units_only(tmp_path: Path) -> None:
    code = (
        "import sys, itertools, numpy as np\n"
        "from distml.runs.units import UnitStore, unit_key\n"
        f"store = UnitStore({str(tmp_path)!r})\n"
        "for i in itertools.count():\n"
        "    store.put(unit_key(i=i), np.full(200_000, i))\n"
        "    print(i, flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(5):
        writer.stdout.readline()
    writer.kill()
    writer.wait()
    writer.stdout.close()
    store = UnitStore(tmp_path)
    keys = list(store.keys())
    assert len(keys) >= 5
    assert all(store.has(key) for key in keys)


def test_a_store_means_the_same_place_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = UnitStore("units")
    store.put(KEY, 1)
    sent = pickle.dumps(store)
    assert len(sent) < 300
    monkeypatch.chdir("/")
    assert pickle.loads(sent).get(KEY) == 1


def test_the_active_store_is_that_of_the_innermost_block(tmp_path: Path) -> None:
    outer, inner = UnitStore(tmp_path / "a"), UnitStore(tmp_path / "b")
    assert active_units() is None
    with use_units(outer):
        with use_units(inner) as given_store:
            assert active_units() is inner is given_store
        assert active_units() is outer
    assert active_units() is None


def test_a_key_depends_on_names_and_contents_but_not_on_order() -> None:
    assert unit_key(a=1, b=2) == unit_key(b=2, a=1)
    assert len({unit_key(a=1, b=2), unit_key(a=2, b=1), unit_key(a=1, c=2), unit_key(a=1)}) == 4
    with pytest.raises(UserError, match="at least one part"):
        unit_key()
