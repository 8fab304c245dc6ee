"""Clusters on Google Cloud that were not started from here, by Google's own client."""

import json
from types import SimpleNamespace

import pytest
from googleapiclient.discovery import build
from googleapiclient.http import HttpMockSequence

from distml.launch.clouds import strangers as strangers_file
from distml.launch.clouds.strangers import strangers


def cluster(name, project="paid-by-us"):
    return SimpleNamespace(
        name=name,
        provider="gcp",
        file=SimpleNamespace(config={"provider": {"project_id": project}}),
    )


def instance(name, cluster):
    return {"name": name, "labels": {"ray-cluster-name": cluster}}


@pytest.fixture
def answers(monkeypatch):
    """A function that answers the requests to Google one after the other; they are returned."""

    def answer(*pages, status="200"):
        http = HttpMockSequence([({"status": status}, json.dumps(page)) for page in pages])
        # Refuses what the description of the service does not have.
        client = build("compute", "v1", http=http, static_discovery=True)
        monkeypatch.setattr(strangers_file, "_compute", lambda config: client)
        return http.request_sequence

    return answer


PAGES = (
    {
        "items": {
            "zones/a": {"instances": [instance("ray-1", "own"), instance("ray-2", "forgotten")]},
            "zones/b": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
        },
        "nextPageToken": "more",
    },
    {"items": {"zones/c": {"instances": [instance("ray-3", "forgotten"), instance("x", "noted")]}}},
)


def test_machines_of_all_zones_and_pages_are_seen_and_only_unknown_clusters_told(answers):
    requests = answers(*PAGES)

    lines = strangers([cluster("own")], ["noted"])

    assert lines == [
        "warning: paid-by-us has machines of a cluster 'forgotten' that was not started from "
        "here: ray-2, ray-3"
    ]
    urls = [request[0] for request in requests]
    assert all("/projects/paid-by-us/aggregated/instances?" in url for url in urls)
    assert "pageToken=more" in urls[1]


def test_a_project_is_asked_once(answers):
    answers(*PAGES)  # A third request would have no answer.

    assert len(strangers([cluster("own"), cluster("noted")], [])) == 1


def test_who_cannot_be_asked_is_named(answers):
    answers({"error": {"message": "not allowed"}}, status="403")

    (line,) = strangers([cluster("own")], [])

    assert line.startswith("warning: paid-by-us cannot be asked for others: the provider refuses")
    assert "not allowed" in line
    assert "\n" not in line


def test_providers_that_tell_of_one_cluster_only_are_not_asked():
    own = SimpleNamespace(name="own", provider="local", file=SimpleNamespace(config={}))
    assert strangers([own], []) == []
