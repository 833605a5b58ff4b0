"""The Ray cluster: joined or started, asked whether a request can ever be met, left as it was found."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from raydm.errors import ClusterError

if "ray" not in sys.modules:  # which reads this when it is imported
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray

from raydm.distributed.access import CLIENT, check_guarded, keep_token, turn_on_tokens

_LONGEST_SOCKET = 65  # characters of what Ray puts below its folder, of the 107 that a socket's path may have


class Connection:
    """A connection to Ray, from `connect`. Closing it ends only what it started."""

    def __init__(self, owned: bool, temp_dir: str | None) -> None:
        self._owned, self._temp_dir = owned, temp_dir

    def close(self) -> None:
        """Leaves the cluster, and ends it where `connect` started it."""
        if self._owned:
            with _own_end():
                ray.shutdown()
        if self._temp_dir:
            shutil.rmtree(self._temp_dir, ignore_errors=True)
        self._owned, self._temp_dir = False, None


def connect(address: str | None = None, *, num_cpus: int | None = None) -> Connection:
    """Joins the cluster at ``address`` (or at RAY_ADDRESS), else starts one on this machine.

    A driver that is connected already stays so. Token authentication is on wherever raydm starts or joins Ray, unless
    RAY_AUTH_MODE says otherwise. A cluster that is started here has no dashboard, and a temporary folder that is its
    owner's alone.

    Args:
        address: "host:port" or "ray://host:port"; None to look at RAY_ADDRESS and then start one here.
        num_cpus: CPUs that a started cluster offers; None for those of the machine.

    Raises:
        ClusterError: nothing answers at the address, or it refused us, or would refuse nobody.
    """
    if ray.is_initialized():
        return Connection(owned=False, temp_dir=None)
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    guarded = turn_on_tokens()
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address != "local":
        try:
            _knock(address)
            if guarded and address != "auto":  # which is on this machine
                check_guarded(address)
            with _own_end():
                ray.init(address=address, **quiet)
        except ClusterError:
            raise
        except Exception as error:  # Ray raises many types here, RuntimeError and plain Exception among them
            raise ClusterError(
                f"No Ray cluster could be joined at {address!r}: {error}. Check the address and that RAY_AUTH_MODE and "
                "RAY_AUTH_TOKEN are those of the cluster, or leave --address out to start Ray on this machine."
            ) from error
        return Connection(owned=True, temp_dir=None)
    temp_dir = _temporary()
    try:
        if guarded:
            keep_token()
        # Ray opens its folder to everybody (mode 0777), so it gets one below ours
        ray_dir = os.path.join(temp_dir, "ray")
        with _own_end():
            ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, _temp_dir=ray_dir, **quiet)
    except Exception as error:
        shutil.rmtree(temp_dir, ignore_errors=True)
        raise ClusterError(f"Ray could not be started on this machine: {error}.") from error
    return Connection(owned=True, temp_dir=temp_dir)


@contextmanager
def _own_end() -> Iterator[None]:
    """Keeps what this process has SIGTERM do: Ray's beginning and end replace it, by a trace and a code of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before not in (None, signal.SIG_DFL) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """Raises OSError at once where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _temporary() -> str:
    """A folder that its owner alone may enter; in /tmp where TMPDIR is too deep for sockets."""
    folder = tempfile.mkdtemp(prefix="raydm-")
    if len(os.fsencode(folder)) + len("/ray") + _LONGEST_SOCKET <= 107:
        return folder
    os.rmdir(folder)
    return tempfile.mkdtemp(prefix="raydm-", dir="/tmp")


def require(count: int, each: Mapping[str, float], what: str, *, flag: str = "actor") -> None:
    """Refuses at once what the cluster can never place; Ray itself would wait for ever.

    Args:
        count: how many actors.
        each: resources of one, such as {"CPU": 1, "GPU": 0.25}.
        what: names them in the message.
        flag: what its flags call one of them.

    Raises:
        ClusterError: the nodes, taken empty, cannot hold them, and no autoscaler is configured to add any.
    """
    each = {k: v for k, v in each.items() if v > 0}
    nodes = node_resources()
    fits = sum(_fits(node, each) for node in nodes)
    if fits >= count or autoscales():
        return
    needs = ", ".join(f"{v:g} {k}" for k, v in each.items())
    offers = ", ".join(f"{v:g} {k}" for k, v in sorted(_total(nodes).items()) if k in {"CPU", "GPU", *each})
    raise ClusterError(
        f"{count} {what} of {needs} each can never be placed: the cluster's {len(nodes)} node(s) offer {offers} and "
        f"hold {fits} of them. Ask for fewer (--{flag}s), for less each (--cpus-per-{flag}, --gpus-per-{flag}), or add "
        "nodes."
    )


def node_resources() -> list[Mapping[str, float]]:
    """The resources of each node that is alive, taken empty."""
    list_nodes: Any = ray.nodes
    return [n["Resources"] for n in list_nodes() if n["Alive"]]


def _fits(node: Mapping[str, float], each: Mapping[str, float]) -> int:
    # Ray counts resources in units of 1e-4
    return min((int(round(node.get(k, 0.0) * 1e4) // round(v * 1e4)) for k, v in each.items()), default=10**6)


def _total(nodes: list[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for node in nodes:
        for name, amount in node.items():
            total[name] = total.get(name, 0.0) + amount
    return total


def autoscales() -> bool:
    """Whether an autoscaler could add nodes; then Ray's own waiting is right."""
    with suppress(Exception):  # no public API tells; a Ray client cannot ask
        return bool(ray._private.state.state.get_max_resources_from_cluster_config())
    return False


def hide_gpus() -> None:
    """Lets this process see no GPU where it asked Ray for none: Ray itself would then hide none from it."""
    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
