"""The files of clusters/, read as their tools read them."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "clusters"
LAUNCHERS = ("on-premise.yaml", "aws.yaml", "gcp.yaml")
KUBERAY = {"kuberay-cluster.yaml": "RayCluster", "kuberay-job.yaml": "RayJob"}
SCRIPTS = ("one-machine.sh", "secrets.sh", "slurm.sh")
RAY = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def resource(name: str) -> dict[str, Any]:
    """The RayCluster or RayJob of a KubeRay file."""
    (found,) = (d for d in documents(name) if d["kind"] == KUBERAY[name])
    return found


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` makes of a launcher file before it calls anybody: defaults filled in, then Ray's own validation."""
    import raydm.distributed  # noqa: F401 - first, for it sets RAY_AUTH_MODE for all tests of this process
    from ray.autoscaler._private.util import prepare_config, validate_config  # isort: skip

    config = prepare_config(copy.deepcopy(config))
    validate_config(config)
    return config


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the entry at ``path`` ("spec.groups.0.name") set, or taken out where the value is None."""
    config = json.loads(json.dumps(config))  # a deep copy would keep together what an anchor of YAML shares
    at: Any = config
    *above, last = (int(k) if k.isdigit() else k for k in path.split("."))
    for key in above:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return config
