"""An AWS account in this process: what `account/aws.yaml` makes, Ray finds by `aws.yaml`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

# Nothing is started that could be reached, and nothing is reached: moto answers in the process.
CODE = """
import boto3, yaml
from moto import mock_aws
from ray.autoscaler import tags
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config

with mock_aws():
    cloud = boto3.client("cloudformation", "us-east-1")
    cloud.create_stack(
        StackName="distml",
        TemplateBody=open("cluster/account/aws.yaml").read(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": "SshFrom", "ParameterValue": "203.0.113.7/32"}],
    )
    config = prepare_config(yaml.safe_load(open("cluster/aws.yaml")))
    validate_config(config)
    config = bootstrap_aws(config)

    ec2 = boto3.client("ec2", "us-east-1")
    groups = {g["GroupId"]: g for g in ec2.describe_security_groups()["SecurityGroups"]}
    open_to = [
        block["CidrIp"]
        for group in groups.values()
        for rule in group["IpPermissions"]
        for block in rule["IpRanges"]
    ]
    assert open_to == ["203.0.113.7/32"], open_to

    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name in config["available_node_types"]:
        labels = {
            tags.TAG_RAY_NODE_KIND: "head" if name == "head" else "worker",
            tags.TAG_RAY_USER_NODE_TYPE: name,
            tags.TAG_RAY_NODE_STATUS: "up",
            tags.TAG_RAY_LAUNCH_CONFIG: "x",
            tags.TAG_RAY_NODE_NAME: name,
        }
        provider.create_node(config["available_node_types"][name]["node_config"], labels, 1)
    pages = ec2.describe_instances()["Reservations"]
    made = [instance for page in pages for instance in page["Instances"]]
    assert len(made) == 4
    for instance in made:
        (group,) = instance["SecurityGroups"]
        assert group["GroupName"] == "distml"
        assert instance["MetadataOptions"]["HttpTokens"] == "required"
        name = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}["ray-user-node-type"]
        role = "distml-head" if name == "head" else "distml-worker"
        assert instance["IamInstanceProfile"]["Arn"].endswith(role)
        assert (instance.get("InstanceLifecycle") == "spot") == (name != "head")

    provider.terminate_nodes([instance["InstanceId"] for instance in made])
    pages = ec2.describe_instances()["Reservations"]
    states = {i["State"]["Name"] for page in pages for i in page["Instances"]}
    assert states == {"terminated"}, states
    assert ec2.describe_volumes()["Volumes"] == []
"""


def test_ray_starts_machines_in_the_account_that_the_template_makes(tmp_path: Path) -> None:
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    environment = {**nowhere, **keys, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    environment["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "false"
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    key = tmp_path / ".ssh" / "ray-autoscaler_us-east-1.pem"
    assert key.stat().st_mode & 0o077 == 0
