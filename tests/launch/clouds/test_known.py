"""Notes of the clusters that were started from here."""

import pytest

from distml.errors import UserError
from distml.launch.clouds.known import KnownCluster, find_known, forget, known_clusters, remember


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "distml" / "clusters"


def cluster(name):
    return KnownCluster(name=name, file=f"/x/{name}.yaml", provider="aws", prices={"head": 0.2})


def test_note_is_found_again_until_it_is_forgotten(folder):
    remember(cluster("one"))
    remember(cluster("two"))

    assert known_clusters() == [cluster("one"), cluster("two")]
    assert find_known("two") == cluster("two")
    forget("one")
    assert known_clusters() == [cluster("two")]
    forget("one")
    assert sorted(path.name for path in folder.iterdir()) == ["two.json"]


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="none was started from here"):
        find_known("distml-aws")
    remember(cluster("distml-aws"))
    with pytest.raises(UserError, match=r"'distml-asw': did you mean distml-aws\?"):
        find_known("distml-asw")
    with pytest.raises(UserError, match="'z': there are distml-aws;"):
        find_known("z")


def test_damaged_note_is_named(folder):
    remember(cluster("one"))
    (folder / "one.json").write_text("{")

    with pytest.raises(UserError, match=r"one\.json was changed or cut short"):
        known_clusters()
