"""Who may come in: tokens are on, and their file and Ray's folder are their owner's; open clusters are not joined."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
import ray
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc, ray_client_pb2, ray_client_pb2_grpc

from raydm.distributed import Connection
from raydm.distributed.access import check_guarded, is_loopback, keep_token
from raydm.distributed.cluster import _temporary
from raydm.errors import ClusterError

UNSET = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user without a token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_token_is_made_for_its_owner_alone(home: Path) -> None:
    before = os.umask(0)
    try:
        keep_token()
    finally:
        os.umask(before)
    file = home / ".ray" / "auth_token"
    assert (mode(file.parent), mode(file)) == (0o700, 0o600)
    token = file.read_text()
    assert len(bytes.fromhex(token)) == 32
    file.chmod(0o644)  # as Ray would have made it
    keep_token()
    assert (mode(file), file.read_text()) == (0o600, token)
    assert os.listdir(file.parent) == ["auth_token"]


def test_many_that_make_a_token_make_one(home: Path) -> None:
    file, found, start = home / ".ray" / "auth_token", [], threading.Barrier(8)

    def make() -> None:
        start.wait()
        keep_token()
        found.append(file.read_text())

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({*found}) == 1
    assert len(found[0]) == 64


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_no_token_is_made_where_one_is_given(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "given")
    keep_token()
    assert os.listdir(home) == []


def test_tokens_are_on_though_ray_came_first() -> None:
    code = """
import os, ray
from ray._raylet import AuthenticationMode, get_authentication_mode
from raydm.distributed.access import turn_on_tokens
found = [get_authentication_mode() == AuthenticationMode.TOKEN, turn_on_tokens(), os.environ["RAY_AUTH_MODE"]]
os.environ["RAY_AUTH_MODE"] = "disabled"
print(*found, turn_on_tokens())
"""
    environment = {k: v for k, v in os.environ.items() if k not in UNSET}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "False True token False\n"


def test_the_folder_of_a_cluster_is_its_owner_s(cluster: Connection) -> None:
    assert cluster._temp_dir is not None
    assert mode(cluster._temp_dir) == 0o700
    assert [entry.name for entry in os.scandir(cluster._temp_dir)] == ["ray"]
    assert "session_latest" in os.listdir(f"{cluster._temp_dir}/ray")


def test_sockets_have_room_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    for above, expected in ((tmp_path.parents[-2], tmp_path.parents[-2]), (deep, Path("/tmp"))):
        monkeypatch.setattr("tempfile.tempdir", str(above))
        folder = Path(_temporary())
        assert (folder.parent, mode(folder)) == (expected, 0o700)
        folder.rmdir()
    assert os.listdir(deep) == []


class Gcs(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):
    """Lets everybody in."""

    def CheckAlive(self, request: Any, context: Any) -> Any:
        return gcs_service_pb2.CheckAliveReply()


class Client(ray_client_pb2_grpc.RayletDriverServicer):
    def ClusterInfo(self, request: Any, context: Any) -> Any:
        return ray_client_pb2.ClusterInfoResponse(json="{}")


class Refuses(grpc.ServerInterceptor):
    """Refuses all, as Ray does whoever has no token."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        def refuse(request: Any, context: Any) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")

        assert "authorization" not in {entry.key for entry in details.invocation_metadata}
        return grpc.unary_unary_rpc_method_handler(refuse)


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server at an address of this machine that is not loopback."""
    servers = []

    def start(*interceptors: Any) -> str:
        server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=interceptors)
        gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(Gcs(), server)
        ray_client_pb2_grpc.add_RayletDriverServicer_to_server(Client(), server)
        port = server.add_insecure_port("0.0.0.0:0")
        server.start()
        servers.append(server)
        return f"{ray.util.get_node_ip_address()}:{port}"

    yield start
    for server in servers:
        server.stop(None)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_lets_everybody_in_is_told(serve: Serve, scheme: str) -> None:
    with pytest.raises(ClusterError, match=r"asks nobody for a token.*RAY_AUTH_MODE=disabled here, to join it"):
        check_guarded(scheme + serve())
    check_guarded(scheme + serve(Refuses()))


def test_a_real_cluster_with_tokens_is_guarded(cluster: Connection) -> None:
    address = ray.get_runtime_context().gcs_address
    assert not is_loopback(address)
    check_guarded(address)


def test_what_is_no_cluster_is_told() -> None:
    with pytest.raises(ClusterError, match=r"does not answer as a Ray cluster does \(UNAVAILABLE"):
        check_guarded(f"{ray.util.get_node_ip_address()}:9")


@pytest.mark.parametrize(
    ("target", "holds"),
    [
        *(("127.0.0.1:1", True), ("127.8.0.1:1", True), ("[::1]:1", True), ("localhost:1", True)),
        *(("10.0.0.1:1", False), ("head:1", False), ("[fe80::1]:1", False), ("127.evil.org:1", False)),
    ],
)
def test_loopback_is_nobody_else_s(target: str, holds: bool) -> None:
    assert is_loopback(target) is holds


@pytest.mark.slow
def test_an_open_cluster_is_not_joined_unless_it_is_said(tmp_path: Path) -> None:
    """A real one, by its address and through its client's port; and one with tokens, where ray came first."""
    head = "import ray, sys; ray.init(address='local', num_cpus=1, include_dashboard=False, _temp_dir=sys.argv[1]); " \
           "print(ray.get_runtime_context().gcs_address, flush=True); sys.stdin.read()"  # fmt: skip
    join = "import ray, sys\nfrom raydm.distributed import connect\nconnect(sys.argv[1])\n" \
           "print(ray.get(ray.remote(lambda: 'joined').remote()))"  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k not in UNSET}
    for mode, joined_by in (("disabled", {"disabled"}), ("token", {"token", None})):
        command = [sys.executable, "-c", head, f"/tmp/rsec-{os.getpid()}-{mode}"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment | {"RAY_AUTH_MODE": mode},
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            for own in ("token", "disabled", None):
                given = environment | ({} if own is None else {"RAY_AUTH_MODE": own})
                done = subprocess.run(
                    [sys.executable, "-c", join, address], capture_output=True, text=True, env=given, check=False
                )
                assert (done.stdout == "joined\n") is (own in joined_by), done.stderr
                if mode == "disabled" and own != "disabled":
                    assert "ClusterError" in done.stderr
                    assert "asks nobody for a token" in done.stderr
            process.stdin.close()
        subprocess.run(["rm", "-r", command[-1]], check=False)
