"""A `node_config` against what the provider's own interface takes: AWS, Google Cloud, Azure.

Ray passes it on unread, so that a typo fails when a machine is to start, or is ignored. One
decision: the providers' own descriptions are read from the files of their libraries (botocore,
googleapiclient, and Ray's template for Azure), and nothing is imported; where a library is not
installed, the user is told that nobody looked.
"""

import gzip
import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from distml.launch.files.findings import Findings, did_you_mean, items_of, mapping_of

__all__ = [
    "check_arm",
    "check_compute",
    "check_region",
    "check_run_instances",
    "check_schema",
    "scheduling_of",
]

# What Ray itself takes out of a node_config before it passes it on.
_OF_RAY = {
    "aws": frozenset({"SubnetIds"}),
    "gcp": frozenset({"sourceInstanceTemplate", "networkConfig"}),
}
_SIMPLE: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "double": (int, float),
    "float": (int, float),
    "number": (int, float),
    "boolean": (bool,),
}


def check_run_instances(where: str, node_config: dict[str, Any], found: Findings) -> None:
    """Hold it against the shape of EC2's RunInstances."""
    shapes = _ec2_shapes()
    if shapes is None:
        found.warn(where, "not checked: boto3 is not installed")
        return
    plain = {key: node_config[key] for key in node_config if key not in _OF_RAY["aws"]}
    _check_shape(where, plain, "RunInstancesRequest", shapes, found)


def check_region(where: str, region: str, found: Findings) -> None:
    """Look for a region of AWS among those that boto3 knows; its absence is told elsewhere."""
    known = _aws_regions()
    if known and region not in known:
        hint = did_you_mean(region, known) or "; if it is a new one, pip install -U boto3"
        found.refuse(where, f"{region!r} is not known to this version of boto3{hint}")


def check_compute(where: str, node_config: dict[str, Any], found: Findings) -> None:
    """Hold it against the description of a Compute Engine instance."""
    schemas = _compute_schemas()
    if schemas is None:
        found.warn(where, "not checked: google-api-python-client is not installed")
        return
    plain = {key: node_config[key] for key in node_config if key not in _OF_RAY["gcp"]}
    if isinstance(plain.get("scheduling"), list):
        plain["scheduling"] = scheduling_of(plain)
    _check_discovery(where, plain, {"$ref": "Instance"}, schemas, found)


def scheduling_of(node_config: Mapping[str, Any]) -> dict[str, Any]:
    """The section `scheduling` of Google Cloud, which Ray's own examples write as a list."""
    said = node_config.get("scheduling")
    parts = [mapping_of(part) for part in items_of(said)]
    return {key: value for part in [mapping_of(said), *parts] for key, value in part.items()}


def check_arm(where: str, parameters: Mapping[str, Any], found: Findings) -> None:
    """Hold it against the parameters of Ray's template of an Azure machine."""
    text = _data_file("ray", "autoscaler/_private/_azure/azure-vm-template.json")
    known = json.loads(text)["parameters"] if text is not None else {}
    types = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}
    found.unknown(where, list(parameters), {*known, "availability_zone"})
    for name, value in parameters.items():
        kind = types.get(known.get(name, {}).get("type", ""))
        if kind is not None and (not isinstance(value, kind) or _is_bool(value) != (kind is bool)):
            found.refuse(f"{where}.{name}", f"is {value!r}, not of type {kind.__name__}")


def check_schema(config: Mapping[str, Any], found: Findings) -> None:
    """Hold a whole cluster file against Ray's own schema."""
    text = _data_file("ray", "autoscaler/ray-schema.json")
    if text is None:
        found.warn("", "not checked against Ray's schema: ray is not installed")
        return
    from jsonschema import Draft7Validator

    schema = json.loads(text)
    for error in Draft7Validator(schema).iter_errors(config):
        where = ".".join(str(part) for part in error.absolute_path)
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        if error.validator == "additionalProperties" and isinstance(error.instance, dict):
            found.unknown(where, list(error.instance), known)
        elif error.validator == "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            found.refuse(f"{where}.{missing[0]}".strip("."), "is missing")
        else:
            found.refuse(where, error.message[:200])


def _check_shape(
    where: str, value: Any, name: str, shapes: Mapping[str, Any], found: Findings
) -> None:
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        if not _is(value, dict, where, found):
            return
        found.unknown(where, list(value), shape["members"])
        for key, inner in value.items():
            if key in shape["members"]:
                member = shape["members"][key]["shape"]
                _check_shape(f"{where}.{key}", inner, member, shapes, found)
    elif kind == "list":
        if _is(value, list, where, found):
            for number, inner in enumerate(value):
                member = shape["member"]["shape"]
                _check_shape(f"{where}[{number}]", inner, member, shapes, found)
    elif _check_simple(where, value, kind, found) and "enum" in shape:
        _check_choice(where, value, shape["enum"], name == "InstanceType", found)


def _check_discovery(
    where: str,
    value: Any,
    schema: Mapping[str, Any],
    schemas: Mapping[str, Any],
    found: Findings,
) -> None:
    if "$ref" in schema:
        schema = schemas[schema["$ref"]]
    kind = schema.get("type", "any")
    if kind == "object":
        if not _is(value, dict, where, found):
            return
        free = schema.get("additionalProperties")
        known = schema.get("properties", {})
        if free is None:
            found.unknown(where, list(value), known)
        for key, inner in value.items():
            inside = known.get(key, free)
            if inside is not None:
                _check_discovery(f"{where}.{key}", inner, inside, schemas, found)
    elif kind == "array":
        if _is(value, list, where, found):
            for number, inner in enumerate(value):
                _check_discovery(f"{where}[{number}]", inner, schema["items"], schemas, found)
    elif kind == "string" and schema.get("format") in ("int64", "uint64"):
        # 64-bit numbers are texts in JSON; numbers are taken, too.
        if not str(value).isdigit():
            found.refuse(where, f"is {value!r}, not a number")
    elif _check_simple(where, value, kind, found) and "enum" in schema:
        _check_choice(where, value, schema["enum"], False, found)


def _check_simple(where: str, value: Any, kind: str, found: Findings) -> bool:
    types = _SIMPLE.get(kind)
    if types is None:
        return False
    if isinstance(value, types) and _is_bool(value) == (kind == "boolean"):
        return True
    found.refuse(where, f"is {value!r}, not of type {kind}")
    return False


def _check_choice(where: str, value: Any, choices: list[str], grows: bool, found: Findings) -> None:
    """One of some values. A list that grows (types of machines) may be older than the user's."""
    if value in choices:
        return
    hint = did_you_mean(str(value), choices)
    if grows and not hint:
        found.warn(where, f"{value!r} is not known to this version of boto3")
    else:
        few = f"; there are {', '.join(choices)}" if len(choices) <= 8 else ""
        found.refuse(where, f"{value!r} is unknown{hint or few}")


def _is(value: Any, kind: type, where: str, found: Findings) -> bool:
    if isinstance(value, kind):
        return True
    found.refuse(where, f"is {value!r}, not a {'mapping' if kind is dict else 'list'}")
    return False


def _is_bool(value: Any) -> bool:
    # For Python, True is a number.
    return isinstance(value, bool)


@cache
def _ec2_shapes() -> Mapping[str, Any] | None:
    text = _data_file("botocore", "data/ec2/2016-11-15/service-2.json.gz")
    if text is None:
        text = _data_file("botocore", "data/ec2/2016-11-15/service-2.json")
    return None if text is None else json.loads(text)["shapes"]


@cache
def _aws_regions() -> frozenset[str]:
    text = _data_file("botocore", "data/endpoints.json")
    partitions = [] if text is None else json.loads(text)["partitions"]
    return frozenset(region for partition in partitions for region in partition["regions"])


@cache
def _compute_schemas() -> Mapping[str, Any] | None:
    text = _data_file("googleapiclient", "discovery_cache/documents/compute.v1.json")
    return None if text is None else json.loads(text)["schemas"]


def _data_file(package: str, name: str) -> str | None:
    """A file of an installed package, without importing that; `None`: there is none."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder, name)
        if path.is_file():
            data = path.read_bytes()
            return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    return None
