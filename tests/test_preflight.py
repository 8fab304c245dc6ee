import json
from importlib import metadata

import pytest

from distml import preflight
from distml.errors import StorageError, UserError
from distml.preflight import check_nodes, differences, node_facts
from distml.runs.provenance import library_versions
from distml.runs.storage import open_storage
from distml.runs.submissions import Submission, load_submission, save_submission


def submitted(uri, versions=None):
    note = Submission(
        run_id="one",
        submission_id="one",
        launcher="cluster:http://h:8265",
        submitted_at=1.0,
        versions=library_versions() if versions is None else versions,
    )
    save_submission(open_storage(uri), note)
    return note


def test_a_node_that_reaches_the_storage_says_what_it_has(any_uri):
    submitted(any_uri)

    facts = node_facts(any_uri, "one")

    assert facts["problem"] is None
    assert facts["versions"]["ray"] == metadata.version("ray")
    assert len(facts["versions"]["packages installed"]) == 12
    names = [entry.name for entry in open_storage(any_uri).list("submitted")]
    assert names == ["one.json"]


def test_a_node_with_another_disk_says_so(tmp_path):
    problem = node_facts(str(tmp_path), "one")["problem"]

    assert f"storage {tmp_path} of node " in problem
    assert "is not the one the job was submitted with; give --storage a URI that both" in problem


def test_a_node_that_may_not_write_says_so(tmp_path):
    submitted(str(tmp_path))
    (tmp_path / "submitted").rename(tmp_path / "kept")
    (tmp_path / "submitted").symlink_to("/proc/self/nowhere")

    problem = node_facts(str(tmp_path), "one")["problem"]

    assert "storage" in problem
    assert "\n" not in problem


def test_only_what_both_have_is_compared():
    one = {"node": "a", "versions": {"ray": "2.60.0", "torch": "2.13.0", "numpy": "2.0"}}
    other = {"node": "b", "versions": {"ray": "2.60.0", "torch": "2.12.0", "extra": "1"}}

    assert list(differences(one, [other])) == ["torch 2.12.0 on b, 2.13.0 on a"]


@pytest.mark.parametrize(
    ("nodes", "versions", "message"),
    [
        ([{"torch": "2.12.0"}], None, "the nodes differ: torch 2.12.0 on n0, .*same environment"),
        ([{}], {"python": "3.9.1"}, "on the cluster and 3.9 where the job was submitted"),
        ([{"problem": "node n0 does not reach it"}], None, "node n0 does not reach it"),
    ],
    ids=["versions", "python", "storage"],
)
def test_nodes_that_would_spoil_the_run_are_refused(
    nodes, versions, message, tmp_path, monkeypatch
):
    submitted(str(tmp_path), versions)
    facts = [node_facts(str(tmp_path), "one") for _ in nodes]
    for number, (fact, change) in enumerate(zip(facts, nodes, strict=True)):
        fact["node"] = f"n{number}"
        fact["problem"] = change.pop("problem", None)
        fact["versions"].update(change)
    monkeypatch.setattr(preflight, "_asked", lambda storage, run_id: facts)

    with pytest.raises(UserError, match=message):
        check_nodes(str(tmp_path), "one")


def test_a_laptop_with_other_libraries_is_named_in_the_log(tmp_path, monkeypatch, caplog):
    submitted(str(tmp_path), {**library_versions(), "torch": "2.99.0"})
    facts = [node_facts(str(tmp_path), "one")]
    monkeypatch.setattr(preflight, "_asked", lambda storage, run_id: facts)

    assert check_nodes(str(tmp_path), "one").run_id == "one"

    assert "versions differ: torch 2.99.0 on where it was submitted" in caplog.text


def test_a_driver_that_does_not_find_its_note_has_another_storage(tmp_path):
    with pytest.raises(UserError, match="is not the one the job was submitted with"):
        check_nodes(str(tmp_path), "one")


@pytest.mark.ray
def test_every_node_of_a_real_ray_is_asked(tmp_path):
    submitted(str(tmp_path))

    assert check_nodes(str(tmp_path), "one").submission_id == "one"


def test_a_note_of_a_later_version_is_read_and_a_damaged_one_named(tmp_path):
    submitted(str(tmp_path))
    path = tmp_path / "submitted" / "one.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "news": 1}))
    assert load_submission(open_storage(str(tmp_path)), "one").launcher == "cluster:http://h:8265"
    assert load_submission(open_storage(str(tmp_path)), "two") is None

    path.write_text("{")
    with pytest.raises(StorageError, match=r"submitted/one\.json was changed or cut short"):
        load_submission(open_storage(str(tmp_path)), "one")
