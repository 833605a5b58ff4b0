"""KubeRay files: against the schemas of KubeRay's own resource definitions, unknown keys refused."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from clusters_kit import KUBERAY, RAY, changed, documents, resource

DEFINITIONS = {"RayCluster": "rayclusters.yaml", "RayJob": "rayjobs.yaml"}
SCHEMAS = os.environ.get("RAYDM_SCHEMAS")
needs_schemas = pytest.mark.skipif(
    not (SCHEMAS and Path(SCHEMAS).is_dir()), reason="RAYDM_SCHEMAS names no folder of KubeRay's resource definitions"
)
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/, which the schemas do not check
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGTPE]i?|k)?")
PATH = {"RayCluster": "spec", "RayJob": "spec.rayClusterSpec"}


def strict(schema: Any) -> Any:
    """The same, but an object that lists its keys has no others."""
    if isinstance(schema, list):
        return [strict(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    lists_keys = schema.get("type") == "object" and "properties" in schema
    if lists_keys and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


@pytest.fixture(scope="module")
def validators() -> dict[str, jsonschema.Draft202012Validator]:
    made = {}
    for kind, file in DEFINITIONS.items():
        text = (Path(SCHEMAS) / file).read_text()
        definition = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # a tenth of the time
        (version,) = (v for v in definition["spec"]["versions"] if v["name"] == "v1")
        assert version["served"]
        assert definition["spec"]["names"]["kind"] == kind
        made[kind] = jsonschema.Draft202012Validator(strict(version["schema"]["openAPIV3Schema"]))
    return made


def cluster(found: dict[str, Any]) -> dict[str, Any]:
    spec = found["spec"]
    return spec.get("rayClusterSpec", spec)


def groups(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster(found)["headGroupSpec"], *cluster(found)["workerGroupSpecs"]]


@needs_schemas
@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_takes_the_file(name: str, validators: dict[str, Any]) -> None:
    found = resource(name)
    assert found["apiVersion"] == "ray.io/v1"
    assert [e.message for e in validators[found["kind"]].iter_errors(found)] == []
    assert found["metadata"].keys() <= {"name", "namespace", "labels", "annotations"}  # the schemas do not say


@needs_schemas
@pytest.mark.parametrize("name", KUBERAY)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tlsOption", {"enabled": True}),
        ("tlsOptions.enable", True),
        ("authOptions.modes", "token"),
        ("networkPolicy.heads", {}),
        ("autoscalerOptions.idleTimeoutSecond", 60),
        ("headGroupSpec.template.spec.containers.0.imagePullPolcy", "Always"),
        ("headGroupSpec.template.spec.containers.0.securityContext.capabilities.dropped", ["ALL"]),
        ("workerGroupSpecs.0.maxReplica", 3),
        ("workerGroupSpecs.0.template.spec.tolerations", [{"keys": "nvidia.com/gpu"}]),
    ],
)
def test_an_unknown_key_is_refused(name: str, path: str, value: Any, validators: dict[str, Any]) -> None:
    found = resource(name)
    wrong = changed(found, f"{PATH[found['kind']]}.{path}", value)
    (error,) = validators[found["kind"]].iter_errors(wrong)
    assert error.validator == "additionalProperties"


@needs_schemas
@pytest.mark.parametrize("name", KUBERAY)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tlsOptions.enabled", "yes"),
        ("authOptions.mode", "tokens"),
        ("networkPolicy.mode", "DenyEverything"),
        ("rayVersion", 2.6),
        ("workerGroupSpecs.0.maxReplicas", "4"),
        ("headGroupSpec.rayStartParams", {"disable-usage-stats": True}),
        ("headGroupSpec.template.spec.containers", {"name": "ray-head"}),
        ("headGroupSpec", None),
    ],
)
def test_a_wrong_type_is_refused(name: str, path: str, value: Any, validators: dict[str, Any]) -> None:
    found = resource(name)
    wrong = changed(found, f"{PATH[found['kind']]}.{path}", value)
    assert list(validators[found["kind"]].iter_errors(wrong))


def test_the_job_is_refused_with_an_unknown_key_of_its_own(request: pytest.FixtureRequest) -> None:
    if not (SCHEMAS and Path(SCHEMAS).is_dir()):
        pytest.skip("RAYDM_SCHEMAS names no folder of KubeRay's resource definitions")
    validator = request.getfixturevalue("validators")["RayJob"]
    assert list(validator.iter_errors(changed(resource("kuberay-job.yaml"), "spec.entryPoint", "true")))
    assert list(validator.iter_errors(changed(resource("kuberay-job.yaml"), "spec.backoffLimit", "none")))


def faults(found: dict[str, Any]) -> set[str]:
    """What lets strangers in, or what KubeRay's operator refuses though the schema takes it, in a word each."""
    spec, said = cluster(found), set()
    head = spec["headGroupSpec"]["rayStartParams"].get("dashboard-host")
    policy = spec.get("networkPolicy", {})
    rules = policy.get("head", {}).get("ingressRules", [])
    if spec.get("authOptions") != {"mode": "token"} or spec.get("rayVersion") != RAY:
        said.add("token")
    if spec.get("tlsOptions") != {"enabled": True}:
        said.add("tls")
    if policy.get("mode") not in {"DenyAll", "DenyAllIngress"} or policy.get("worker") or policy.get("workerGroups"):
        said.add("policy")
    if found["kind"] == "RayCluster" and (head != "127.0.0.1" or rules):
        said.add("dashboard")
    for rule in rules:  # the operator's pods alone, and the dashboard's port alone
        selected = [peer.get("podSelector", {}).get("matchLabels") for peer in rule.get("from", [])]
        if selected != [{"app.kubernetes.io/component": "kuberay-operator"}] or not all(
            peer["namespaceSelector"]["matchLabels"] for peer in rule["from"]
        ):
            said.add("dashboard")
        if [p["port"] for p in rule.get("ports", [])] != [8265]:
            said.add("dashboard")
    if not any(not r and d["kind"] == "NetworkPolicy" for d in documents(_file(found)) for r in [_permits(d)]):
        said.add("policy")
    for group in groups(found):
        for container in group["template"]["spec"]["containers"]:
            context = container.get("securityContext", {})
            if not context.get("runAsNonRoot") or context.get("allowPrivilegeEscalation") is not False:
                said.add("root")
            if container.get("env") or container.get("envFrom"):  # operator-managed; a secret does not belong here
                said.add("env")
    return said


def _file(found: dict[str, Any]) -> str:
    return next(name for name, kind in KUBERAY.items() if kind == found["kind"])


def _permits(document: dict[str, Any]) -> list[Any]:
    spec = document.get("spec", {})
    return spec.get("ingress", []) if spec.get("policyTypes") == ["Ingress"] else ["not of this kind"]


@pytest.mark.parametrize("name", KUBERAY)
def test_strangers_stay_out(name: str) -> None:
    assert faults(resource(name)) == set()


@pytest.mark.parametrize("name", KUBERAY)
@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("authOptions", None, "token"),
        ("authOptions.mode", "disabled", "token"),
        ("rayVersion", "2.9.0", "token"),
        ("tlsOptions", None, "tls"),
        ("tlsOptions.enabled", False, "tls"),
        ("networkPolicy.mode", "DenyAllEgress", "policy"),
        ("networkPolicy.head", {"ingressRules": [{"from": []}]}, "dashboard"),
        ("networkPolicy.head", {"ingressRules": [{"ports": [{"port": 8265}]}]}, "dashboard"),
        ("headGroupSpec.template.spec.containers.0.env", [{"name": "RAY_AUTH_TOKEN", "value": "x"}], "env"),
        ("workerGroupSpecs.0.template.spec.containers.0.securityContext", None, "root"),
    ],
)
def test_each_fault_is_seen(name: str, path: str, value: Any, fault: str) -> None:
    found = resource(name)
    assert faults(changed(found, f"{PATH[found['kind']]}.{path}", value)) == {fault}


def test_the_dashboard_of_the_cluster_that_stays_listens_on_loopback() -> None:
    found = resource("kuberay-cluster.yaml")
    assert faults(changed(found, "spec.headGroupSpec.rayStartParams.dashboard-host", "0.0.0.0")) == {"dashboard"}
    assert faults(changed(found, "spec.headGroupSpec.rayStartParams.dashboard-host", None)) == {"dashboard"}


@pytest.mark.parametrize("name", KUBERAY)
def test_rules_of_the_operator_that_the_schema_does_not_hold(name: str) -> None:
    found = resource(name)
    spec = cluster(found)
    assert "egressRules" not in spec["networkPolicy"].get("head", {})  # refused under DenyAllIngress
    names = [g["groupName"] for g in spec["workerGroupSpecs"]]
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", n) for n in names)  # part of a policy's name
    assert len(set(names)) == len(names)
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert {g["template"]["spec"]["restartPolicy"] for g in groups(found)} == {"Never"}  # so v2 wants it
    assert {d["metadata"].get("namespace", "raydm") for d in documents(name)} == {"raydm"}


@pytest.mark.parametrize("name", KUBERAY)
def test_workers_come_and_go_with_the_work(name: str) -> None:
    spec = cluster(resource(name))
    assert spec["enableInTreeAutoscaling"] is True
    assert 0 < spec["autoscalerOptions"]["idleTimeoutSeconds"] <= 3600
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
    limits = [g["template"]["spec"]["containers"][0]["resources"]["limits"] for g in spec["workerGroupSpecs"]]
    assert any(limit.get("nvidia.com/gpu") == "1" for limit in limits)


@pytest.mark.parametrize("name", KUBERAY)
def test_quantities_are_quantities(name: str) -> None:
    found = resource(name)
    sizes = [cluster(found)["autoscalerOptions"]["resources"]]
    sizes += [c["resources"] for g in groups(found) for c in g["template"]["spec"]["containers"]]
    for size in sizes:
        assert size["requests"] == size["limits"]  # Ray counts on what the limits say
        assert all(isinstance(q, str) and QUANTITY.fullmatch(q) for q in size["limits"].values())
    assert not QUANTITY.fullmatch("16 GiB")


def test_the_strict_schema_leaves_free_what_is_free() -> None:
    free = {"type": "object", "additionalProperties": {"type": "string"}}
    kept = {"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"labels": free, "any": kept}}
    before = copy.deepcopy(schema)
    made = strict(schema)
    assert schema == before
    jsonschema.validate({"labels": {"a": "b"}, "any": {"c": 1}}, made)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"label": {}}, made)
