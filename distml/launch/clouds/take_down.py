"""Bring a cluster up whole or not at all, and take it down so that nothing of it is left.

One decision: its autoscaler is stopped first, which would start workers in the place of those that
end; then machines are ended from here, by one's own rights, and asked for until there are none.
Ray's own `ray down` waits for a head that is dead, and leaves one's own workers running.
"""

import shlex
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from distml.errors import DistmlError, LaunchError, UserError
from distml.launch.clouds.bring_up import ask_warden, head_reach
from distml.launch.clouds.cloud_cluster import CloudCluster, Standing
from distml.launch.clouds.known import forget, known_clusters, locked
from distml.launch.clouds.machines import local_state_files, terminate
from distml.launch.clouds.ssh import Reach
from distml.launch.clouds.stopping import stop_command

__all__ = ["bring_up", "take_down"]

_GONE_S = 300.0
# Jobs get 45 s to save their work.
_HEAD_S = 180.0


def bring_up(
    cluster: CloudCluster, plan: Mapping[str, Any], say: Callable[[str], None]
) -> Standing:
    """Bring a cluster up if it is not; what comes up half is taken down again.

    Args:
        cluster: Which.
        plan: What its warden shall keep if it is started now: fields of `limits.Plan`.
        say: Takes what a person wants to know, a line each.

    Raises:
        UserError: something has to be put right first.
        LaunchError: it does not come up, or somebody interrupted it.
    """
    with locked(cluster.name):
        try:
            return cluster.bring_up(plan, say)
        except BaseException as error:
            if not _came_half(cluster):
                raise
            say(f"taking {cluster.name} down again")
            try:
                _take_down(cluster, "it did not come up", say)
            except DistmlError as second:
                say(f"warning: {second}")
            if isinstance(error, KeyboardInterrupt):
                raise LaunchError(f"{cluster.name} was interrupted while it came up") from None
            raise


def take_down(cluster: CloudCluster, reason: str, say: Callable[[str], None]) -> None:
    """Take a cluster down; returns when nothing of it is left. Does nothing if nothing is.

    Args:
        cluster: Which.
        reason: Noted on its head.
        say: Takes what a person wants to know, a line each.

    Raises:
        UserError: the provider cannot be asked.
        LaunchError: something is left.
    """
    with locked(cluster.name):
        _take_down(cluster, reason, say)


def _came_half(cluster: CloudCluster) -> bool:
    """Whether a start of it was noted, and not its end."""
    return any(one.name == cluster.name and not one.reach for one in known_clusters())


def _take_down(cluster: CloudCluster, reason: str, say: Callable[[str], None]) -> None:
    if cluster.provider == "local":
        _stop_own_machines(cluster, reason, say)
    else:
        _end_machines(cluster, reason, say)
    forget(cluster.name)


def _end_machines(cluster: CloudCluster, reason: str, say: Callable[[str], None]) -> None:
    if any(one.is_head and one.runs for one in cluster.machines()):
        try:
            reach = cluster.reach()
            if reach is not None:
                _on_head(cluster, reach, "halt", reason)
        except DistmlError as error:
            say(f"Ray is not stopped first: {error}")
    end = time.monotonic() + _GONE_S
    while left := cluster.machines():
        if time.monotonic() > end:
            names = ", ".join(one.machine_id for one in left)
            raise LaunchError(f"{cluster.name} still has {names}: end them at the provider")
        terminate(cluster.file.config, [one.machine_id for one in left])
        time.sleep(1)


def _stop_own_machines(cluster: CloudCluster, reason: str, say: Callable[[str], None]) -> None:
    config = cluster.file.config
    head = head_reach(config)
    try:
        _on_head(cluster, head, "end", reason)
    except DistmlError as error:
        say(f"the head does not stop its workers: {error}")
        _stop_each(cluster, head)
    # Ray's launcher took this for a cluster that is up.
    for path in local_state_files(config):
        path.unlink(missing_ok=True)


def _stop_each(cluster: CloudCluster, head: Reach) -> None:
    """From here, where the head cannot."""
    workers = cluster.file.config["provider"]["worker_ips"]
    not_reached: list[str] = []

    def stop(address: str) -> None:
        try:
            replace(head, address=address).run(stop_command(cluster.name), timeout_s=_HEAD_S)
        except UserError:
            not_reached.append(address)

    with ThreadPoolExecutor(max_workers=16) as pool:
        list(pool.map(stop, [head.address, *workers]))
    if not_reached:
        raise LaunchError(
            f"not reached, so nothing is stopped there: {', '.join(sorted(not_reached))}"
        )


def _on_head(cluster: CloudCluster, reach: Reach, action: str, reason: str) -> None:
    run = "python -m distml.launch.clouds.warden"
    told = shlex.quote(f'{{"cluster": "{cluster.name}"}}')
    ending = f"{run} {action} {shlex.quote(reason)} 2> >(tee -a warden.log >&2)"
    command = f"{run} set {told} && {ending}"
    ask_warden(reach, cluster.name, command, send=True, timeout_s=_HEAD_S)
