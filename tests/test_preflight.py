import json
import time
from importlib import metadata

import pytest
from ray.exceptions import NodeDiedError, WorkerCrashedError

from distml import preflight
from distml.errors import StorageError, UserError
from distml.preflight import Latecomers, check_nodes, differences, node_facts
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


@pytest.fixture
def late(tmp_path, monkeypatch):
    """Latecomers of whom none was asked before."""
    submitted(str(tmp_path))
    monkeypatch.setattr(preflight, "_asked_ids", set())
    return Latecomers(str(tmp_path), "one")


NODE = {"NodeID": "ab", "Alive": True, "NodeManagerHostname": "n1"}


class Answers:
    """What a node's task comes to, in the place of Ray."""

    def __init__(self, monkeypatch, answer):
        self.answer, self.num_asked = answer, 0
        monkeypatch.setattr(preflight, "_ask", self.ask)
        monkeypatch.setattr("ray.wait", lambda references, timeout: self.waited(references))
        monkeypatch.setattr("ray.get", lambda reference: self.got())

    def ask(self, node, storage, run_id):
        preflight._asked_ids.add(node["NodeID"])
        self.num_asked += 1
        return "reference"

    def waited(self, references):
        return ([], references) if self.answer is None else (references, [])

    def got(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"problem": None, "versions": {"torch": "0.1"}}, "torch 0.1 on n1, "),
        ({"problem": "node n1 does not reach it", "versions": {}}, "node n1 does not reach it"),
        (WorkerCrashedError(), "node n1 could not be asked: The worker died"),
        (NodeDiedError("gone"), None),
        ({"problem": None, "versions": {"extra": "1"}}, None),
    ],
    ids=["versions", "storage", "crash", "gone", "alike"],
)
def test_what_is_wrong_with_a_node_that_joins_late_is_said_once(late, monkeypatch, answer, said):
    if isinstance(answer, dict):
        answer = {"node": "n1", **answer}
    answers = Answers(monkeypatch, answer)

    words = [*late.look([NODE]), *late.look([NODE]), *late.look([])]

    assert len(words) == (said is not None)
    assert said is None or words[0].startswith(said)
    assert answers.num_asked == 1


def test_a_node_that_does_not_answer_is_named_when_it_had_its_time(late, monkeypatch):
    Answers(monkeypatch, None)
    assert late.look([NODE]) == []

    monkeypatch.setattr(preflight, "_TIMEOUT_S", 0.0)

    assert [words.partition(":")[0] for words in late.look([NODE])] == [
        "no answer within 0 s from n1"
    ]
    assert late.look([NODE]) == []


def test_a_node_that_has_gone_again_is_not_spoken_of(late, monkeypatch):
    answers = Answers(monkeypatch, None)
    assert late.look([NODE]) == []
    answers.answer = {"node": "n1", "problem": "node n1 does not reach it", "versions": {}}

    assert late.look([{**NODE, "Alive": False}]) == []


@pytest.mark.ray
def test_a_late_node_of_a_real_ray_is_asked_and_not_waited_for(late, monkeypatch):
    import ray

    monkeypatch.setattr(preflight, "_versions", lambda: {"ray": "2.59.0"})
    nodes, words = ray.nodes(), []
    began = time.monotonic()
    assert late.look(nodes) == []
    assert time.monotonic() - began < 2

    while not words:
        assert time.monotonic() - began < 60
        words = late.look(nodes)
        time.sleep(0.05)

    [told] = words
    host = nodes[0]["NodeManagerHostname"]
    assert told == f"ray {metadata.version('ray')} on {host}, 2.59.0 on the driver's"


@pytest.mark.ray
def test_nodes_that_were_asked_before_the_start_are_no_latecomers(late, tmp_path):
    import ray

    check_nodes(str(tmp_path), "one")

    late.look(ray.nodes())
    assert not late._waiting


class Reference(tuple):
    """What a fake task returns; two of the same are different."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


class Asked:
    """Two nodes: `n1` answers at once, `n2` in turn what it is given; the last for ever."""

    def __init__(self, monkeypatch, *answers, gone_after=None):
        self.answers, self.num_asked, self.gone_after = list(answers), 0, gone_after
        monkeypatch.setattr(preflight, "_TIMEOUT_S", 0.2)
        monkeypatch.setattr(preflight, "_AGAIN_S", 0.01)
        monkeypatch.setattr(preflight.session, "connect", lambda: None)
        monkeypatch.setattr(preflight, "_alive", self.alive)
        monkeypatch.setattr(preflight, "_ask", self.ask)
        monkeypatch.setattr("ray.wait", self.wait)
        monkeypatch.setattr("ray.get", self.get)

    def alive(self):
        names = ["n1"] if self.gone_after == self.num_asked else ["n1", "n2"]
        return {name: {"NodeID": name, "NodeManagerHostname": name} for name in names}

    def ask(self, node, storage, run_id):
        if node["NodeID"] == "n1":
            return Reference(("n1", {"node": "n1", "problem": None, "versions": {}}))
        self.num_asked += 1
        return Reference(("n2", self.answers[min(self.num_asked, len(self.answers)) - 1]))

    def wait(self, references, timeout):
        done = [each for each in references if each[1] is not None]
        return done[:1], [each for each in references if each not in done[:1]]

    def get(self, reference):
        if isinstance(reference[1], Exception):
            raise reference[1]
        return reference[1]


SECOND = {"node": "n2", "problem": None, "versions": {}}


@pytest.mark.parametrize(
    ("answers", "gone_after", "names"),
    [
        ([SECOND], None, ["n1", "n2"]),
        ([WorkerCrashedError(), WorkerCrashedError(), SECOND], None, ["n1", "n2"]),
        ([WorkerCrashedError()], 3, ["n1"]),
        ([None], 1, ["n1"]),
    ],
    ids=["answers", "at last", "fails and goes", "is silent and goes"],
)
def test_nodes_that_go_away_while_they_are_asked_are_none(
    tmp_path, monkeypatch, answers, gone_after, names
):
    Asked(monkeypatch, *answers, gone_after=gone_after)

    assert [facts["node"] for facts in preflight._asked(str(tmp_path), "one")] == names


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (WorkerCrashedError(), StorageError, "node n2 could not be asked: The worker died"),
        (None, UserError, r"no answer within 0 s from n2: its disk may be full"),
    ],
    ids=["fails", "is silent"],
)
def test_a_node_that_never_answers_is_named(tmp_path, monkeypatch, answer, kind, said):
    Asked(monkeypatch, answer)

    with pytest.raises(kind, match=said):
        preflight._asked(str(tmp_path), "one")


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
