"""Which machines a place has: files that are shipped, this machine, and places that are not."""

import pytest

from distml.errors import UserError
from distml.launch.fitting.shapes import here, offers, shape_of

FILES = ("aws", "gcp", "azure", "kuberay", "onprem")


@pytest.mark.parametrize("name", FILES)
def test_a_cluster_file_gives_its_machines_by_its_own_name(name, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)

    shape = shape_of(f"cloud:cluster/{name}.yaml")

    assert shape.name == f"cluster/{name}.yaml"
    assert [kind for kind in shape.node_types if kind.is_head]


def test_kubernetes_is_described_by_its_manifest(request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath / "tests")

    assert shape_of("kubernetes:any/namespace").name.endswith("cluster/kuberay.yaml")


def test_this_machine_is_a_head_alone():
    [machine] = here(num_gpus=2).node_types

    assert (machine.is_head, machine.num_gpus, machine.max_count) == (True, 2, 1)
    assert machine.num_cpus >= 1
    assert shape_of("debug").node_types[0].num_cpus == 1
    assert shape_of("local").provider == "here"


def test_what_could_be_used_instead_is_in_files_beside_and_in_the_price_table(request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)

    found = offers("cloud:cluster/aws.yaml")

    names = [shape.name for shape in found]
    assert names[0] == "aws"
    assert {"cluster/gcp.yaml", "cluster/azure.yaml"} <= set(names)
    assert "cluster/aws.yaml" not in names
    assert any(kind.num_gpus for kind in found[0].node_types)


def test_beside_nothing_there_is_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert offers("local") == offers("cloud:aws.yaml") == []


def test_a_file_beside_that_is_wrong_is_no_matter(tmp_path, monkeypatch):
    (tmp_path / "other.yaml").write_text("provider: {")
    monkeypatch.chdir(tmp_path)

    assert offers("cloud:aws.yaml") == []


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("clowd:x.yaml", "unknown launcher 'clowd': did you mean cloud?"),
        ("moon", "unknown launcher 'moon': there are debug, local, cluster, cloud, kubernetes"),
        ("cloud", "which cluster? say --on cloud:FILE"),
        ("cloud:nowhere.yaml", "nowhere.yaml"),
        ("cluster", "which cluster? say --on cluster:http"),
        ("cluster:http://127.0.0.1:9", "does not answer"),
    ],
    ids=["misspelt", "unknown", "no file named", "no such file", "no address", "nobody there"],
)
def test_a_place_that_is_not_is_refused(place, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)

    with pytest.raises(UserError) as caught:
        shape_of(place)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
