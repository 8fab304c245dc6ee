"""What KubeRay takes: its own schema, used as strictly as an API server does, and its rules."""

import functools
import json
import re
from pathlib import Path

import jsonschema
import yaml

SCHEMA = Path(__file__).with_name("rayjobs.v1.schema.json")


def check_rayjob(rayjob):
    """Hold a manifest against the schema and the rules that KubeRay checks beyond it."""
    _validator().validate(rayjob)
    spec = rayjob["spec"]
    name = rayjob["metadata"]["name"]
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name), f"name {name!r}"
    modes = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
    assert spec.get("submissionMode", "K8sJobMode") in modes, "submissionMode"
    assert ("rayClusterSpec" in spec) != ("clusterSelector" in spec), "one of the two"
    assert spec.get("activeDeadlineSeconds", 1) > 0, "activeDeadlineSeconds"
    assert spec.get("ttlSecondsAfterFinished", 0) >= 0, "ttlSecondsAfterFinished"
    yaml.safe_load(spec.get("runtimeEnvYAML", ""))
    cluster = spec["rayClusterSpec"]
    if (cluster.get("authOptions") or {}).get("mode") == "token":
        assert tuple(map(int, cluster["rayVersion"].split(".")[:2])) >= (2, 52), "rayVersion"
    for group in cluster.get("workerGroupSpecs", []):
        assert group["minReplicas"] <= group["maxReplicas"], "minReplicas"
    for label in rayjob["metadata"].get("labels", {}).values():
        assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", label), label
    for key in rayjob["metadata"].get("annotations", {}):
        assert re.fullmatch(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", key)


@functools.cache
def _validator():
    schema = _strict(json.loads(SCHEMA.read_text()))
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft7Validator(schema)


def _strict(schema):
    """The schema as the API server uses it, with `fieldValidation=Strict`."""
    if not isinstance(schema, dict):
        return schema
    made = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    properties = {k: _strict(v) for k, v in (schema.get("properties") or {}).items()}
    if properties:
        made["properties"] = properties
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
        required = made.get("required", [])
        made["required"] = [k for k in required if "default" not in schema["properties"].get(k, {})]
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = _strict(made["additionalProperties"])
    if "items" in made:
        made["items"] = _strict(made["items"])
    if made.pop("nullable", False):
        made["type"] = [made["type"], "null"]
    return made
