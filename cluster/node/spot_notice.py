"""Tell Ray before the provider takes a spot machine away: polls metadata, calls `ray drain-node`.

Ray reads no cloud's notices itself; drained with a deadline, a node gets no new work and training
saves a checkpoint at once. One decision: a single file of the standard library, since it runs on
nodes before any job has brought distml. One of it runs on a machine; it ends when it has drained
the node, and outlives every error: a notice missed is a checkpoint lost.

    python spot_notice.py aws --address $RAY_HEAD_IP:6379
"""

import argparse
import fcntl
import json
import logging
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

__all__ = ["NOTICES", "aws_notice", "azure_notice", "gcp_notice", "main", "own_node_id", "watch"]

METADATA = {
    "aws": "http://169.254.169.254",
    "azure": "http://169.254.169.254",
    "gcp": "http://metadata.google.internal",
    "now": "",
}
"""Where each provider answers its own machines."""
SECONDS_OF_NOTICE = 30.0
"""What GCP grants, and Azure at least."""
MARGIN = 3
"""Seconds before the end at which Ray shall be done with the node."""

logger = logging.getLogger("spot_notice")
# Metadata never lies behind a proxy, whatever the environment says.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def aws_notice(metadata: str) -> float | None:
    """Seconds left to an EC2 spot instance; `None`: no notice. Asked by IMDSv2.

    Raises:
        OSError: the metadata do not answer.
    """
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = _ask(f"{metadata}/latest/api/token", lifetime, method="PUT") or ""
    header = {"X-aws-ec2-metadata-token": token}
    answer = _ask(f"{metadata}/latest/meta-data/spot/instance-action", header)
    if answer is None:
        return None
    end = datetime.fromisoformat(json.loads(answer)["time"])
    return (end - datetime.now(UTC)).total_seconds()


def gcp_notice(metadata: str) -> float | None:
    """Seconds left to a spot VM of Compute Engine; `None`: no notice.

    Raises:
        OSError: the metadata do not answer.
    """
    url = f"{metadata}/computeMetadata/v1/instance/preempted"
    answer = _ask(url, {"Metadata-Flavor": "Google"})
    return SECONDS_OF_NOTICE if answer is not None and answer.strip() == "TRUE" else None


def azure_notice(metadata: str) -> float | None:
    """Seconds left to a spot VM of Azure; `None`: no notice. The first question turns events on.

    Raises:
        OSError: the metadata do not answer.
    """
    header = {"Metadata": "true"}
    instance = f"{metadata}/metadata/instance/compute/name?api-version=2021-02-01&format=text"
    answer = _ask(f"{metadata}/metadata/scheduledevents?api-version=2020-07-01", header)
    events = json.loads(answer or "{}").get("Events", [])
    preempting = [event for event in events if event.get("EventType") == "Preempt"]
    if not preempting:
        return None
    # Machines of one availability set see each other's events.
    name = (_ask(instance, header) or "").strip()
    ends = [event.get("NotBefore") for event in preempting if name in event.get("Resources", [])]
    if not ends:
        return None
    # Empty once the event has begun.
    left = [(parsedate_to_datetime(end) - datetime.now(UTC)).total_seconds() for end in ends if end]
    return min(left) if left else SECONDS_OF_NOTICE


NOTICES: Mapping[str, Callable[[str], float | None]] = {
    "aws": aws_notice,
    "azure": azure_notice,
    "gcp": gcp_notice,
    # Kubernetes says it by calling this program before it ends a pod.
    "now": lambda metadata: SECONDS_OF_NOTICE,
}
"""Provider → how its notice is read."""


def own_node_id(processes: Path = Path("/proc")) -> str | None:
    """The Ray node of this machine, from the command line of its raylet; `None`: none runs."""
    for cmdline in processes.glob("[0-9]*/cmdline"):
        try:
            words = cmdline.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if words[0].rpartition("/")[2] == "raylet":
            for word in words:
                if word.startswith(("--node_id=", "--node-id=")):
                    return word.partition("=")[2]
    return None


def drain(address: str, node_id: str, seconds_left: float, ray: str = "ray") -> bool:
    """Have Ray drain the node, and say whether it will."""
    deadline = str(max(1, int(seconds_left) - MARGIN))
    command = [ray, "drain-node", "--address", address, "--node-id", node_id]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot notice"]
    done = subprocess.run(
        [*command, *reason, "--deadline-remaining-seconds", deadline],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode != 0:
        logger.error("ray drain-node: %s", (done.stderr or done.stdout).strip()[-500:])
    return done.returncode == 0


def watch(
    notice: Callable[[], float | None],
    drain_node: Callable[[float], bool],
    interval_s: float,
) -> None:
    """Ask until there is a notice, then drain until it has worked. Outlives every error."""
    wrong = ""
    while True:
        try:
            seconds_left = notice()
            wrong = ""
            if seconds_left is not None:
                logger.warning("this machine will be taken away in %.0f s", seconds_left)
                if drain_node(seconds_left):
                    logger.warning("Ray drains this node")
                    return
        except Exception as error:
            # Said once, not every few seconds for weeks.
            if str(error) != wrong:
                logger.error("%s: %s", type(error).__name__, error)
                wrong = str(error)
        time.sleep(interval_s)


def main(arguments: list[str] | None = None) -> int:
    """The command line: returns when the node is drained, or when another one watches."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("provider", choices=sorted(NOTICES))
    parser.add_argument("--address", required=True, help="HOST:PORT of the head's GCS")
    parser.add_argument("--metadata", help="where the metadata are, if not at the provider's place")
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between two questions")
    parser.add_argument("--lock", type=Path, default=Path("/tmp/distml-spot-notice.lock"))
    parser.add_argument("--ray", default="ray", help="the command of Ray")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    metadata = chosen.metadata or METADATA[chosen.provider]

    def drain_node(seconds_left: float) -> bool:
        node_id = own_node_id()
        if node_id is None:
            raise RuntimeError("no raylet runs on this machine")
        return drain(chosen.address, node_id, seconds_left, chosen.ray)

    with chosen.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            logger.info("another one watches already")
            return 0
        watch(lambda: NOTICES[chosen.provider](metadata), drain_node, chosen.interval)
    return 0


def _ask(url: str, headers: Mapping[str, str], method: str = "GET") -> str | None:
    """The text at a URL; `None`: there is nothing (404)."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)
    try:
        with _opener.open(request, timeout=5) as answer:
            text: str = answer.read().decode("utf-8")
            return text
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


if __name__ == "__main__":
    sys.exit(main())
