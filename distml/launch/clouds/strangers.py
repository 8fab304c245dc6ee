"""Machines of Ray clusters that were not started from here, where one has an account.

One decision: what the provider bills is asked of the provider, a whole account and region (or
project) at once. Azure and others tell of one cluster only, so there nothing is looked for.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from distml.errors import DistmlError, UserError
from distml.launch.clouds.cloud_cluster import CloudCluster
from distml.launch.clouds.machines import all_machines

__all__ = ["strangers"]

Found = Mapping[str, Collection[str]]
"""Cluster → what the provider calls its machines."""


def strangers(clusters: Sequence[CloudCluster], known: Collection[str]) -> list[str]:
    """A line for each cluster beside these that nobody here knows of.

    Args:
        clusters: where to look.
        known: names of the clusters that were started from here.
    """
    places = {}
    for cluster in clusters:
        config = cluster.file.config
        if cluster.provider == "aws":
            places[cluster.file.shape.region] = (config, _on_aws)
        elif cluster.provider == "gcp":
            places[config["provider"]["project_id"]] = (config, _on_google)
    own = {cluster.name for cluster in clusters} | set(known)
    return [line for place, how in places.items() for line in _lines(str(place), *how, own)]


def _lines(
    place: str, config: Mapping[str, Any], ask: Callable[[Any], Found], own: Collection[str]
) -> Iterator[str]:
    try:
        found = ask(config)
    except DistmlError as error:
        yield f"warning: {place} cannot be asked for others: {error}"
        return
    for name in sorted(set(found) - set(own)):
        yield (
            f"warning: {place} has machines of a cluster {name!r} that was not started "
            f"from here: {', '.join(found[name])}"
        )


def _on_aws(config: Mapping[str, Any]) -> Found:
    found: dict[str, list[str]] = {}
    for machine in all_machines(config):
        found.setdefault(machine.cluster, []).append(machine.machine_id)
    return found


def _on_google(config: Mapping[str, Any]) -> Found:
    """Of all zones of the project; stopped ones too, whose disks are paid for."""
    found: dict[str, list[str]] = {}
    try:
        instances = _compute(config).instances()
        request = instances.aggregatedList(
            project=config["provider"]["project_id"],
            filter="labels.ray-cluster-name:*",
        )
        while request is not None:
            page = request.execute(num_retries=1)
            for zone in page.get("items", {}).values():
                for instance in zone.get("instances", ()):
                    name = instance["labels"]["ray-cluster-name"]
                    found.setdefault(name, []).append(instance["name"])
            request = instances.aggregatedList_next(request, page)
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the provider refuses: {said}") from error
    return found


def _compute(config: Mapping[str, Any]) -> Any:
    """Google's client with the credentials that Ray takes."""
    from ray.autoscaler._private.gcp import config as google

    clients: Any = google.construct_clients_from_provider_config  # has no types
    return clients(config["provider"])[2]
