"""Who may come in: the token that Ray's processes show one another, and clusters that ask nobody for one."""

from __future__ import annotations

import ipaddress
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import ray
from ray._common import tls_utils
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc, ray_client_pb2, ray_client_pb2_grpc

from raydm.errors import ClusterError

# What Ray declares no types of
_RAY: Any = ray._raylet
_TLS: Any = tls_utils
_GCS: Any = gcs_service_pb2
_GCS_CALLS: Any = gcs_service_pb2_grpc
_CLIENT: Any = ray_client_pb2
_CLIENT_CALLS: Any = ray_client_pb2_grpc

MODE = "RAY_AUTH_MODE"
CLIENT = "ray://"
_PATIENCE_S = 20.0


def turn_on_tokens() -> bool:
    """Lets this process, and those that it starts, ask for tokens and show theirs; unless RAY_AUTH_MODE says otherwise.

    Ray reads the variable when it is imported. Where that was before raydm was, or before the variable was set, it is
    made to read it again, which Ray itself does where it starts a cluster.

    Returns:
        Whether tokens are on.
    """
    wanted = os.environ.setdefault(MODE, "token").lower() == "token"
    if wanted != _is_on():
        _RAY.Config.initialize("")
    return _is_on()


def _is_on() -> bool:
    return bool(_RAY.get_authentication_mode() == _RAY.AuthenticationMode.TOKEN)


def keep_token() -> None:
    """Makes the token of this machine's clusters, if there is none, for its owner alone; Ray would go by the umask."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    file = Path.home() / ".ray" / "auth_token"
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".auth_token-", dir=file.parent)
        try:
            with os.fdopen(handle, "w") as opened:
                opened.write(secrets.token_hex(32))
            with suppress(FileExistsError):  # another process was quicker
                os.link(name, file)
        finally:
            os.unlink(name)
    if file.stat().st_mode & 0o077:
        file.chmod(0o600)


def check_guarded(address: str) -> None:
    """Asks a cluster something without a token, which it has to refuse.

    Ray itself joins one that lets everybody in without a word, and shows it the token. Loopback is not asked: nobody
    else reaches it, and it may be the near end of a tunnel.

    Args:
        address: "host:port" or "ray://host:port".

    Raises:
        ClusterError: the cluster answered, or something else than Ray did.
    """
    target = address.removeprefix(CLIENT)
    if is_loopback(target):
        return
    try:
        with _channel(target) as channel:
            _ask(channel, client=address.startswith(CLIENT))
    except grpc.RpcError as error:
        said: Any = error
        if said.code() == grpc.StatusCode.UNAUTHENTICATED:
            return
        raise ClusterError(
            f"{address}: does not answer as a Ray cluster does ({said.code().name}: {said.details()}). Where it uses "
            "TLS, set RAY_USE_TLS=1 and the RAY_TLS variables here too."
        ) from error
    raise ClusterError(
        f"{address}: asks nobody for a token, so whoever reaches it can run code on it, and read what you send. Start "
        f"it with {MODE}=token; or set {MODE}=disabled here, to join it all the same."
    )


def is_loopback(target: str) -> bool:
    """Whether "host:port" is this machine's own, which no other reaches."""
    host = target.rpartition(":")[0].strip("[]")
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _channel(target: str) -> Any:
    """As Ray's own channels are, but without a token."""
    options = [("grpc.enable_http_proxy", 0)]
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return grpc.insecure_channel(target, options)
    chain, key, ca = _TLS.load_certs_from_env()
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, chain), options)


def _ask(channel: Any, *, client: bool) -> None:
    """Whether it lives; raises grpc.RpcError where that is refused."""
    if client:
        ping = _CLIENT.ClusterInfoRequest(type=_CLIENT.ClusterInfoType.PING)
        _CLIENT_CALLS.RayletDriverStub(channel).ClusterInfo(ping, timeout=_PATIENCE_S)
    else:
        _GCS_CALLS.NodeInfoGcsServiceStub(channel).CheckAlive(_GCS.CheckAliveRequest(), timeout=_PATIENCE_S)
