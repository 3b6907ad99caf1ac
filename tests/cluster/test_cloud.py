"""The files in cloud/ against the schemas of Ray, AWS, KubeRay and Kubernetes, and the GUIDE; nothing leaves this
machine."""

import functools
import json
import re
import tomllib
from pathlib import Path

import boto3
import jsonschema
import pytest
import yaml
from kubernetes import client
from moto import mock_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider, list_ec2_instances
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config

from serl_ray.cluster.ray_private import TESTED

ROOT = Path(__file__).parents[2]
GUIDE = "".join((ROOT / "docs" / page).read_text() for page in ("cluster.md", "fleet.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RAY_UP = (ROOT / "cloud" / "ray_up_aws.yaml").read_text()
KUBERAY = (ROOT / "cloud" / "kuberay.yaml").read_text()
SCHEMA = json.loads((ROOT / "tests" / "data" / "raycluster.json").read_text())
ALL_RAY_UP, OPTIONAL = re.subn(r"(?m)^( *)# (\w+: .*  # CHANGE)", r"\1\2", RAY_UP)
"""With the lines that are there as comments, for those who need them."""
PLAIN = {"str": str, "int": int, "bool": bool, "float": float, "object": object}


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An AWS account that moto plays, with the image that the user names; its id."""
    with pytest.MonkeyPatch.context() as patch, mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        patch.delenv("AWS_PROFILE", raising=False)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # where Ray puts the key
        patch.setattr("time.sleep", lambda seconds: None)  # Ray gives a real account time
        patch.setattr(
            "ray.autoscaler._private.aws.node_provider.list_ec2_instances", functools.cache(list_ec2_instances)
        )
        boto3.client("iam").create_instance_profile(InstanceProfileName="serl-worker")
        yield boto3.client("ec2", "us-west-2").describe_images()["Images"][0]["ImageId"]


def launched(text, image):
    """What `ray up` makes of a file; its nodes of every type are started.

    Raises what Ray or boto3 raise where something is wrong.
    """
    config = prepare_config(yaml.safe_load(text.replace("ami-CHANGE-ME", image)))
    config = AWSNodeProvider.fillout_available_node_types_resources(config)
    validate_config(config)
    config = AWSNodeProvider.bootstrap_config(config)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for node_type in config["available_node_types"].values():
        provider.create_node(node_type["node_config"], {}, 1)
    return config


def admitted(config):
    """Ports and address ranges outside of the cluster from which its nodes may be reached; None is any port."""
    ids = {
        group for kind in config["available_node_types"].values() for group in kind["node_config"]["SecurityGroupIds"]
    }
    groups = boto3.client("ec2", "us-west-2").describe_security_groups(GroupIds=list(ids))["SecurityGroups"]
    rules = [rule for group in groups for rule in group["IpPermissions"]]
    assert all(pair["GroupId"] in ids for rule in rules for pair in rule["UserIdGroupPairs"])
    return {(rule.get("FromPort"), rule.get("ToPort"), ip["CidrIp"]) for rule in rules for ip in rule["IpRanges"]}


def of_type(value, kind, where):
    if not isinstance(value, kind) or (kind is not bool and kind is not object and isinstance(value, bool)):
        raise TypeError(f"{where} is {value!r}")
    return value


def built(value, kind, where):
    """A value as what the kubernetes package has for it; raises where a field is unknown, missing, or of another
    type."""
    if items := re.fullmatch(r"list\[(.+)\]", kind):
        return [built(one, items[1], f"{where}[{i}]") for i, one in enumerate(of_type(value, list, where))]
    if items := re.fullmatch(r"dict\[str, (.+)\]", kind):
        values = of_type(value, dict, where).items()
        return {of_type(key, str, where): built(one, items[1], f"{where}.{key}") for key, one in values}
    if kind in PLAIN:
        return of_type(value, PLAIN[kind], where)
    model = getattr(client, kind)
    names = {name: own for own, name in model.attribute_map.items()}
    if unknown := set(of_type(value, dict, where)) - set(names):
        raise ValueError(f"{where}: {kind} has no {', '.join(sorted(unknown))}")
    return model(
        **{names[key]: built(one, model.openapi_types[names[key]], f"{where}.{key}") for key, one in value.items()}
    )


def applied(text):
    """What Ray's autoscaler makes of a RayCluster whose every field is one that there is."""
    cluster = yaml.safe_load(text)
    jsonschema.validate(cluster, SCHEMA)
    built(cluster["metadata"], "V1ObjectMeta", "metadata")
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        built(group["template"], "V1PodTemplateSpec", group.get("groupName", "head"))
    cluster["metadata"].setdefault("namespace", "default")
    return _derive_autoscaling_config_from_ray_cr(cluster)


def test_ray_up_launches_a_head_with_a_gpu_and_workers_behind_closed_ports(account):
    config = launched(RAY_UP, account)
    head, worker = (config["available_node_types"][name] for name in (config["head_node_type"], "worker"))
    assert head["resources"]["GPU"] == 1 and head["resources"]["CPU"] == 4 and "GPU" not in worker["resources"]
    assert (
        1 <= worker["min_workers"] < worker["max_workers"] == config["max_workers"]
        and config["idle_timeout_minutes"] > 0
    )
    assert admitted(config) == {(22, 22, "0.0.0.0/0")}
    assert not any("dashboard-host" in command for command in config["head_start_ray_commands"])


def test_ray_up_with_its_optional_lines(account):
    config = launched(ALL_RAY_UP.replace("cluster_name: serl", "cluster_name: all"), account)
    assert OPTIONAL == 2 and config["available_node_types"]["worker"]["node_config"]["IamInstanceProfile"]
    assert admitted(config) == {(22, 22, "0.0.0.0/0"), (None, None, "10.8.0.0/24")}


def test_ray_up_brings_the_token_and_what_the_project_needs():
    config = yaml.safe_load(RAY_UP)
    mounts = config["file_mounts"]
    assert (
        mounts["~/.ray/auth_token"] == "~/.ray/auth_token"
        and "-e RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    )
    assert [local for local in mounts.values() if not local.startswith("~") and not (ROOT / local).is_file()] == []
    assert "~/pyproject.toml" in mounts and any("~/pyproject.toml" in command for command in config["setup_commands"])


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("idle_timeout_minutes: 10", "idle_timeout_minute: 10", "'idle_timeout_minute' was unexpected"),
        ("max_workers: 4\nidle", "max_workers: four\nidle", "'four' is not of type 'integer'"),
        ("min_workers: 1", "min_worker: 1", "'min_worker' was unexpected"),
        ("resources: {CPU: 4}", "resources: {CPU: 4.5}", "4.5 is not of type 'integer'"),
        ("head_run_options:", "head_run_option:", "'head_run_option' was unexpected"),
        ("setup_commands:  #", "setup_command:  #", "'setup_command' was unexpected"),
        ("head_node_type: head", "head_node_type: learner", "must be one of"),
        ("InstanceType: g5.2xlarge", "InstanceType: g5.3xlarge", "g5.3xlarge"),
        ("BlockDeviceMappings: &disk", "BlockDeviceMapping: &disk", 'Unknown parameter in input: "BlockDeviceMapping"'),
        ("VolumeSize: 200", "VolumeSize: large", "Invalid type for parameter .*VolumeSize"),
    ],
)
def test_a_slip_in_the_ray_up_file_is_refused(account, right, wrong, message):
    assert RAY_UP.count(right) == 1
    with pytest.raises(Exception, match=message):
        launched(RAY_UP.replace(right, wrong), account)


def test_kuberay_has_a_head_with_a_gpu_workers_and_a_robot():
    config = applied(KUBERAY)
    types = config["available_node_types"]
    head, worker, robot = (types[name] for name in (config["head_node_type"], "worker", "robot"))
    assert head["resources"]["GPU"] == 1 and head["resources"]["CPU"] == 4
    assert not {"GPU", "robot"} & set(worker["resources"]) and 1 <= worker["min_workers"] < worker["max_workers"]
    assert robot["resources"]["robot"] == 1 and robot["min_workers"] == 0 and config["idle_timeout_minutes"] == 10
    spec = yaml.safe_load(KUBERAY)["spec"]
    assert spec["authOptions"]["mode"] == "token" and spec["enableInTreeAutoscaling"]


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("authOptions:", "authOption:", "'authOption' was unexpected"),
        ("mode: token", "mode: tokens", "'tokens' is not one of"),
        ("idleTimeoutSeconds: 600", 'idleTimeoutSeconds: "600"', "'600' is not of type 'integer'"),
        ('num-cpus: "4"', "num-cpus: 4", "4 is not of type 'string'"),
        ('robot: "1"', "robot: 1", "1 is not of type 'string'"),
        ("minReplicas: 1", "minReplica: 1", "'minReplicas' is a required property"),
        ("rayStartParams: {num", "rayStartParam: {num", "'rayStartParam' was unexpected"),
        ("name: serl\n", "names: serl\n", "'name' is a required property"),
        ("nodeSelector: {serl: robot}", "nodeSelectors: {serl: robot}", "V1PodSpec has no nodeSelectors"),
        ("nodeSelector: {serl: robot}", "nodeSelector: {serl: 1}", "robot.spec.nodeSelector.serl is 1"),
        ("name: ray-head", "nam: ray-head", "V1Container has no nam"),
        ("- name: ray-head\n            image", "- image", "`name`, must not be `None`"),
        ("optional: true", "optional: maybe", "optional is 'maybe'"),
        ('nvidia.com/gpu: "1"', "nvidia.com/gpu: 1", "gpu is 1"),
        ("memory: 12Gi", "memory: 12GB", "12GB"),
    ],
)
def test_a_slip_in_the_kuberay_file_is_refused(right, wrong, message):
    assert KUBERAY.count(right) == 1
    with pytest.raises(Exception, match=message):
        applied(KUBERAY.replace(right, wrong))


def test_versions_are_those_of_the_project():
    version = yaml.safe_load(KUBERAY)["spec"]["rayVersion"]
    assert version.startswith(TESTED[-1])
    image = f"{version}-py{''.join(re.findall(r'[0-9]', PROJECT['requires-python']))}"
    for text in (RAY_UP, KUBERAY):
        images = re.findall(r"rayproject/ray:(\S+)", text)
        assert images[0] == f"{image}-gpu" and set(images[1:]) == {image}


def test_the_guide_names_what_there_is():
    name = yaml.safe_load(KUBERAY)["metadata"]["name"]
    assert {ROOT / file for file in re.findall(r"cloud/\w+\.yaml", GUIDE)} == set((ROOT / "cloud").iterdir())
    assert re.findall(r"kubectl get secret (\S+)", GUIDE) == [name]
    assert re.findall(r"kubectl port-forward service/(\S+) 8265", GUIDE) == [f"{name}-head-svc"]
    joins = re.search(r"`(ray start --address \S+ --resources .*?)`", GUIDE)[1]
    assert joins in RAY_UP and json.loads(re.search(r"--resources '(.*)'", joins)[1]) == {"robot": 1}
    assert "--env_runner_resources robot 1" in GUIDE
