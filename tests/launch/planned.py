"""Plans and clusters that tests of planning share: small, and with round figures."""

from distml.launch.files.nodes import ClusterShape, NodeType

GIB = 2**30


def span(value, *, low=None, high=None):
    """A figure that is off by half or twice."""
    return {
        "value": value,
        "low": value / 2 if low is None else low,
        "high": value * 2 if high is None else high,
    }


def member(fit="forest", units=8, seconds=100.0, peak=GIB, workers=None):
    """Units of one kind."""
    return {
        "fit": fit,
        "units": units,
        "stored": 0,
        "rows": 1000,
        "seconds": span(seconds),
        "peak_bytes": span(peak, low=peak, high=peak),
        "workers": workers,
    }


def workers(num=2, cpus=1, gpus=0):
    """What a network with several workers asks for."""
    return {"num_workers": num, "cpus_per_worker": cpus, "gpus_per_worker": gpus}


def plan(*members, stages=None, **fields):
    """As the driver writes it."""
    members = members or (member(),)
    known = {
        "format": 2,
        "job": "flights",
        "rows": 100_000,
        "columns": 20,
        "stored_bytes": GIB,
        "table_bytes": GIB,
        "available_bytes": 8 * GIB,
        "num_cpus": 2,
        "members": list(members),
        "stages": [sum(each["units"] for each in members)],
        "left": stages or [{each["fit"]: each["units"] for each in members}],
        "workers": None,
        "phases": {"read": span(10.0), "save": span(5.0)},
        "fits_seconds": span(400.0),
        "seconds": span(420.0),
        "early_share": 0.0,
        "memory": {
            "peak_bytes": span(4 * GIB),
            "driver_bytes": span(GIB),
            "matrix_bytes": span(GIB, low=GIB, high=GIB),
            "process_bytes": GIB // 4,
        },
        "epochs": {"counted": False, "may_stop": False},
        "measured": [{"rows": 1000, "seconds": 2.0, "cpu_share": 1.0}],
        "earlier": None,
        "used": {"what": "samples"},
    }
    return {**known, **fields}


def head(cpus=0, memory=16 * GIB, price=0.2, **fields):
    """The machine of the driver."""
    known = {
        "name": "head", "num_cpus": cpus, "memory_bytes": memory, "min_count": 1, "max_count": 1,
        "is_head": True, "price_per_hour": price, "instance_type": "m.large",
    }  # fmt: skip
    return NodeType(**{**known, **fields})


def node(name="cpu", cpus=4, memory=16 * GIB, most=8, price=0.4, **fields):
    """A kind of workers."""
    known = {
        "name": name, "num_cpus": cpus, "memory_bytes": memory, "max_count": most,
        "price_per_hour": price,
    }  # fmt: skip
    return NodeType(**{**known, **fields})


def shape(*types, name="cluster/aws.yaml", provider="aws", most=8, **fields):
    """A cluster with a head, and workers of one kind if none are named."""
    types = types or (head(), node())
    return ClusterShape(name=name, provider=provider, node_types=types, max_workers=most, **fields)
