"""Launcher files: Ray's own validation takes them and refuses wrong ones, and what keeps strangers out is on."""

from __future__ import annotations

import re
from typing import Any

import click
import jsonschema
import pytest
from clusters_kit import FOLDER, KUBERAY, LAUNCHERS, RAY, changed, documents, prepared, resource

CLOUD = ("aws.yaml", "gcp.yaml")
SECRETS = "bash /home/ray/raydm/clusters/secrets.sh node /home/ray/secrets /home/ray/tls"
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN_PATH": "/home/ray/secrets/auth_token",
    "RAY_USE_TLS": "1",
    "RAY_TLS_CA_CERT": "/home/ray/secrets/ca.crt",
    "RAY_TLS_SERVER_CERT": "/home/ray/tls/tls.crt",
    "RAY_TLS_SERVER_KEY": "/home/ray/tls/tls.key",
}


def raw(name: str) -> dict[str, Any]:
    (config,) = documents(name)
    return config


def faults(config: dict[str, Any]) -> set[str]:
    """What is wrong with a configuration as `ray up` would use it, in a word each; Ray's defaults have most of it."""
    found = set()
    options = [o.removeprefix("--env ").partition("=") for o in config["docker"].get("run_options", [])]
    environment = {name: value for name, _, value in options}
    found |= {"token" for k in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH") if environment.get(k) != ENVIRONMENT[k]}
    found |= {"tls" for k in ENVIRONMENT if "TLS" in k and environment.get(k) != ENVIRONMENT[k]}
    for kind in ("head", "worker"):
        lines = config[f"{kind}_start_ray_commands"]
        starts = [i for i, line in enumerate(lines) if "ray start" in line]
        found |= {"tls" for i in starts if SECRETS not in lines[:i]}
        if len(starts) != 1:
            found.add("start")
    head = next(line for line in config["head_start_ray_commands"] if "ray start" in line)
    if re.findall(r"--dashboard-host[= ](\S+)", head) != ["127.0.0.1"]:
        found.add("dashboard")
    if not str(config["docker"].get("image", "")).startswith(f"rayproject/ray:{RAY}-py311"):
        found.add("version")
    if not any("-c constraints.txt" in line for line in config["setup_commands"]):
        found.add("constraints")
    if not 0 < config["idle_timeout_minutes"] <= 60:
        found.add("idle")
    types = config["available_node_types"]
    if any(not 0 <= t["min_workers"] <= t["max_workers"] for t in types.values()) or config["max_workers"] < 1:
        found.add("workers")
    nodes = [t["node_config"] for t in types.values()]
    if config["provider"]["type"] == "aws":
        if "security_group" in config["provider"] or not all(n.get("SecurityGroupIds") for n in nodes):
            found.add("network")
        found |= {"metadata" for n in nodes if n.get("MetadataOptions", {}).get("HttpTokens") != "required"}
        disks = [d.get("Ebs", {}) for n in nodes for d in n.get("BlockDeviceMappings", [{}])]
        found |= {"disk" for d in disks if not d.get("Encrypted")}
    if config["provider"]["type"] == "gcp":
        subnets = [i.get("subnetwork", "default") for n in nodes for i in n.get("networkInterfaces", [{}])]
        if any(s.endswith("default") for s in subnets) or any(n.get("tags") != {"items": ["raydm"]} for n in nodes):
            found.add("network")
    return found


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_takes_the_file_and_strangers_stay_out(name: str) -> None:
    assert faults(prepared(raw(name))) == set()


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        *((name, "max_worker", 3) for name in LAUNCHERS),
        *((name, "docker.run_option", []) for name in LAUNCHERS),
        *((name, "auth.ssh_users", "ubuntu") for name in LAUNCHERS),
        *((name, "upscaling_speed", "fast") for name in LAUNCHERS),
        *((name, "max_workers", "4") for name in CLOUD),
        *((name, "idle_timeout_minutes", "5m") for name in LAUNCHERS),
        *((name, "setup_commands", [1]) for name in LAUNCHERS),
        *((name, "available_node_types.gpu-worker.min_worker", 1) for name in CLOUD),
        *((name, "available_node_types.gpu-worker.resources", {"GPU": 0.5}) for name in CLOUD),
    ],
)
def test_ray_refuses_an_unknown_key_and_a_wrong_type(name: str, path: str, value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        prepared(changed(raw(name), path, value))


@pytest.mark.parametrize("name", CLOUD)
@pytest.mark.parametrize(
    ("path", "value"), [("head_node_type", "absent"), ("max_workers", 0), ("provider.type", "cloudless")]
)
def test_ray_refuses_what_does_not_fit_together(name: str, path: str, value: Any) -> None:
    config = changed(raw(name), path, value)
    config["available_node_types"]["gpu-worker"]["min_workers"] = 1
    with pytest.raises((ValueError, NotImplementedError)):
        prepared(config)


@pytest.mark.parametrize("path", ["provider.head_ip", "provider.worker_ips"])
def test_ray_refuses_machines_that_are_not_named(path: str) -> None:
    with pytest.raises(click.ClickException):
        prepared(changed(raw("on-premise.yaml"), path, None))


@pytest.mark.parametrize("name", LAUNCHERS)
@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("docker.run_options.0", None, "token"),
        ("docker.run_options.1", "--env RAY_AUTH_TOKEN_PATH=/tmp/token", "token"),
        ("docker.run_options.2", "--env RAY_USE_TLS=0", "tls"),
        ("head_start_ray_commands.0", None, "tls"),
        ("worker_start_ray_commands.0", None, "tls"),
        ("head_start_ray_commands.2", "ray start --head --dashboard-host=0.0.0.0", "dashboard"),
        ("head_start_ray_commands.2", "ray start --head", "dashboard"),
        ("docker.image", "rayproject/ray:latest-gpu", "version"),
        ("setup_commands", [], "constraints"),
        ("idle_timeout_minutes", 0, "idle"),
    ],
)
def test_each_fault_is_seen(name: str, path: str, value: Any, fault: str) -> None:
    assert faults(prepared(changed(raw(name), path, value))) == {fault}


@pytest.mark.parametrize(
    ("name", "path", "value", "fault"),
    [
        ("aws.yaml", "available_node_types.head.node_config.SecurityGroupIds", None, "network"),
        ("aws.yaml", "provider.security_group", {"GroupName": "open"}, "network"),
        ("aws.yaml", "available_node_types.gpu-worker.node_config.MetadataOptions", None, "metadata"),
        ("aws.yaml", "available_node_types.head.node_config.BlockDeviceMappings", None, "disk"),
        ("gcp.yaml", "available_node_types.gpu-worker.node_config.networkInterfaces", None, "network"),
        ("gcp.yaml", "available_node_types.head.node_config.tags", None, "network"),
    ],
)
def test_each_fault_of_a_cloud_is_seen(name: str, path: str, value: Any, fault: str) -> None:
    assert faults(prepared(changed(raw(name), path, value))) == {fault}


@pytest.mark.parametrize("name", CLOUD)
def test_defaults_of_ray_would_open_the_dashboard(name: str) -> None:
    """Why no command may be left to Ray's defaults, and that this test would see it."""
    config = changed(raw(name), "head_start_ray_commands", None)
    assert faults(prepared(config)) >= {"dashboard", "tls"}


def test_aws_takes_the_nodes() -> None:
    session = pytest.importorskip("botocore.session", reason="the test extra brings no botocore")
    validate = pytest.importorskip("botocore.validate")
    shape = session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape

    def errors(node: dict[str, Any]) -> str:
        return validate.ParamValidator().validate({**node, "MinCount": 1, "MaxCount": 1}, shape).generate_report()

    nodes = [t["node_config"] for t in raw("aws.yaml")["available_node_types"].values()]
    assert [errors(n) for n in nodes] == ["", ""]
    assert "SecurityGroupId" in errors({"SecurityGroupId": "sg-1"})


def test_gpu_workers_come_and_go_with_the_work() -> None:
    for name in CLOUD:
        types = prepared(raw(name))["available_node_types"]
        assert (types["head"]["min_workers"], types["head"]["max_workers"]) == (0, 0)
        assert types["gpu-worker"]["min_workers"] == 0
        assert types["gpu-worker"]["max_workers"] == raw(name)["max_workers"] > 1


def test_ray_start_has_every_option_that_is_given_to_it() -> None:
    import raydm.distributed  # noqa: F401 - as in the kit
    from ray.scripts.scripts import start  # isort: skip

    known = {option for parameter in start.params for option in parameter.opts}
    used: dict[str, set[str]] = {}
    for name in LAUNCHERS:
        config = raw(name)
        lines = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
        used[name] = {o for line in lines if "ray start" in line for o in re.findall(r"--[a-z-]+", line)}
    for name in ("one-machine.sh", "slurm.sh"):
        text = "\n".join(line for line in (FOLDER / name).read_text().splitlines() if not line.startswith("#"))
        calls = re.findall(r"(?:ray start|where=\()(?:[^\n]*\\\n)*[^\n]*(?:\n[^\n]*\)$)?", text, re.MULTILINE)
        used[name] = {o for call in calls for o in re.findall(r"--[a-z-]+", call)}
    for name in KUBERAY:
        spec = resource(name)["spec"]
        spec = spec.get("rayClusterSpec", spec)
        groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
        used[name] = {f"--{key}" for group in groups for key in group["rayStartParams"]}
    assert all(len(options) >= 2 for options in used.values()), used
    assert {name: options - known for name, options in used.items() if options - known} == {}
