"""Shell scripts: bash and shellcheck take them, secrets are private and sound, and a cluster really starts and ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from clusters_kit import FOLDER, ROOT, SCRIPTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the scripts are for Linux")
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on PATH")
RAY = Path(sys.executable).with_name("ray")


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_can_read_it(name: str) -> None:
    assert (FOLDER / name).read_text().startswith("#!/usr/bin/env bash\n")
    assert os.access(FOLDER / name, os.X_OK)
    done = run("bash", "-n", FOLDER / name)
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_refuses_a_torn_script(tmp_path: Path) -> None:
    text = (FOLDER / "slurm.sh").read_text()
    (tmp_path / "torn.sh").write_text(text[: text.index("export -f")].removesuffix("}\n"))
    assert run("bash", "-n", tmp_path / "torn.sh").returncode != 0


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck on PATH")
@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    done = run("shellcheck", FOLDER / name)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_stops_at_the_first_error_and_ends_no_process_by_name(name: str) -> None:
    code = "\n".join(line for line in (FOLDER / name).read_text().splitlines() if not line.startswith("#"))
    assert "set -euo pipefail" in code
    assert "umask 077" in code
    assert re.search(r"\b(ray stop|pkill|killall)\b", code) is None


@needs_openssl
def test_secrets_are_private_and_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    done = run(FOLDER / "secrets.sh", "make", folder)
    assert done.returncode == 0, done.stderr
    assert sorted(f.name for f in folder.iterdir()) == ["auth_token", "ca.crt", "ca.key"]
    assert mode(folder) == 0o700
    assert {mode(f) for f in folder.iterdir()} == {0o600}
    token = (folder / "auth_token").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    assert token not in done.stdout + done.stderr
    again = run(FOLDER / "secrets.sh", "make", folder)
    assert again.returncode == 1
    assert "is not empty" in again.stderr
    assert (folder / "auth_token").read_text() == token
    assert run(FOLDER / "secrets.sh", "make", tmp_path / "other").returncode == 0
    assert (tmp_path / "other" / "auth_token").read_text() != token


@needs_openssl
def test_a_node_has_a_certificate_of_its_addresses_by_its_cluster_alone(tmp_path: Path) -> None:
    for name in ("ours", "other"):
        assert run(FOLDER / "secrets.sh", "make", tmp_path / name).returncode == 0
    out = tmp_path / "node"
    done = run(FOLDER / "secrets.sh", "node", tmp_path / "ours", out, "head.example")
    assert done.returncode == 0, done.stderr
    assert sorted(f.name for f in out.iterdir()) == ["tls.crt", "tls.key"]
    assert mode(out) == 0o700
    assert {mode(f) for f in out.iterdir()} == {0o600}

    def verify(authority: str, *words: str) -> int:
        return run(
            "openssl", "verify", "-x509_strict", *words, "-CAfile", tmp_path / authority / "ca.crt", out / "tls.crt"
        ).returncode

    own = run("hostname", "-I").stdout.split()
    assert verify("ours") == 0
    assert [verify("ours", "-verify_ip", ip) for ip in ["127.0.0.1", *own]] == [0] * (1 + len(own))
    assert verify("ours", "-verify_hostname", "head.example") == 0
    assert verify("ours", "-purpose", "sslserver") == verify("ours", "-purpose", "sslclient") == 0
    assert verify("ours", "-verify_ip", "198.51.100.1") != 0
    assert verify("other") != 0
    first = (out / "tls.crt").read_bytes()
    assert run(FOLDER / "secrets.sh", "node", tmp_path / "ours", out).returncode == 0
    assert (out / "tls.crt").read_bytes() != first  # at each start of a node


@pytest.mark.parametrize("words", [(), ("make",), ("node", "absent"), ("rotate", "x"), ("node", "absent", "out")])
def test_secrets_refuses_what_it_does_not_know(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(FOLDER / "secrets.sh", *words[:1], *(tmp_path / w for w in words[1:]))
    assert done.returncode == 1
    assert done.stderr.startswith("secrets.sh: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gpus",), "--gpus needs a value"),
        (("--dashboard-host", "0.0.0.0"), "--dashboard-host is not an option"),
        (("--cpus", "all"), "'all' is not a number"),
        (("--gpus", "1"), "nvidia-smi finds 0 on this machine"),
    ],
)
def test_one_machine_refuses_before_it_starts_anything(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    folder = tmp_path / "folder"
    path = os.pathsep.join((str(tmp_path), str(RAY.parent), os.environ["PATH"]))
    done = run(FOLDER / "one-machine.sh", *words, HOME=str(folder), PATH=path)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert not folder.exists()


def test_one_machine_refuses_a_port_that_another_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = os.pathsep.join((str(RAY.parent), os.environ["PATH"]))
        port = str(server.getsockname()[1])
        done = run(FOLDER / "one-machine.sh", "--port", port, "--folder", tmp_path / "folder", PATH=path)
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in servers]
    for server in servers:
        server.close()
    return ports


def status(url: str, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def processes(word: str) -> list[str]:
    """The command lines of this machine's processes that have the word, our own left out."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line and int(place.parent.name) != os.getpid():
            found.append(line)
    return found


def wait_for(what: str, file: Path, process: subprocess.Popen[bytes], seconds: float = 290) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if what in (text := file.read_text()):
            return text
        time.sleep(0.2)
    raise AssertionError(f"it did not say {what!r} (exit {process.poll()}): {file.read_text()}")


def without_ray(**environment: str) -> dict[str, str]:
    """The environment without what other tests of this process set for Ray."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    path = os.pathsep.join((str(RAY.parent), os.environ["PATH"]))
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT)} | environment


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a machine whose cores are taken
@needs_openssl
def test_one_machine_starts_takes_a_job_with_the_token_and_leaves_nothing(tmp_path: Path) -> None:
    port, dashboard = free_ports(2)
    folder, log = tmp_path / "folder", tmp_path / "log"
    words = f"{FOLDER}/one-machine.sh --cpus 1 --port {port} --dashboard-port {dashboard} --folder {folder}".split()
    with log.open("wb") as out:
        stale = without_ray(RAY_AUTH_TOKEN="of another cluster", RAY_ADDRESS="192.0.2.99:6379")
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, env=stale)
    try:
        said = wait_for("Stop: Ctrl-C", log, process)
        token = (folder / "auth_token").read_text()
        assert token not in said
        assert mode(folder) == 0o700
        assert mode(folder / "auth_token") == 0o600
        (temp,) = {m for line in processes(str(port)) for m in re.findall(r"--temp-dir=(/tmp/raydm-\w+)", line)}
        assert mode(Path(temp)) == 0o700
        assert len(processes(temp)) > 3
        url = f"http://127.0.0.1:{dashboard}/api/jobs/"
        assert [status(url, t) for t in (None, "0" * 64, token)] == [401, 403, 200]
        own = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()[0]
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((own, dashboard), timeout=5)  # loopback, not the machine's address
        driver = (
            "import sys; from raydm.distributed import connect; connection = connect(sys.argv[1])\n"
            "import ray; print('raydm sees', ray.cluster_resources()['CPU']); connection.close()"
        )
        enter = ["bash", "-c", 'source "$1" && shift && "$@"', "-", str(folder / "env")]
        done = subprocess.run(
            [*enter, sys.executable, "-c", driver, f"127.0.0.1:{port}"],
            capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=without_ray(),
        )  # fmt: skip
        assert "raydm sees 1.0" in done.stdout, done.stdout + done.stderr
        job = "import os, ray; ray.init(logging_level='ERROR'); print('cpus', ray.cluster_resources()['CPU'])"
        done = subprocess.run(
            [*enter, str(RAY), "job", "submit", "--", sys.executable, "-c", job],
            capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=without_ray(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "cpus 1.0" in done.stdout
        assert token not in done.stdout + done.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
    assert code == 128 + signal.SIGTERM
    assert processes(temp) == []
    assert not Path(temp).exists()
    assert [f.name for f in folder.iterdir()] == ["auth_token"]  # for the next start


SRUN = """#!/usr/bin/env bash
# Stands in for Slurm's: the command runs here, signals are handed on, the exit code is the command's
while [ $# -gt 0 ]; do case $1 in -w) shift 2 ;; -*) shift ;; *) break ;; esac; done
"$@" &
child=$!
trap 'kill -TERM $child 2>/dev/null' TERM
wait $child
code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done # a signal ends `wait`, and may come twice
exit $code
"""


FAKE_RAY = """#!/usr/bin/env bash
# Stands in for Ray's: writes down what it was told, and listens where the head would
for file in "$RAY_TLS_SERVER_CERT" "$RAY_TLS_SERVER_KEY" "$RAY_TLS_CA_CERT" "$RAY_AUTH_TOKEN_PATH"; do
  [ -s "$file" ] || exit 9
done
echo "$RAY_AUTH_MODE $RAY_USE_TLS $(stat -c %a "$(dirname "$RAY_AUTH_TOKEN_PATH")") $*" >>"$RECORD"
case "$*" in
  *--head*) exec python -c 'import socket, sys; s = socket.create_server(("", int(sys.argv[1])))
while True: s.accept()[0].close()' "$RAYDM_PORT" ;;
esac
exec sleep 600
"""
FAKE_RAY_MODULE = """
import os
joined = []
def is_initialized(): return bool(joined)
def init(**_):
    joined.append(os.environ["RAY_ADDRESS"])
def nodes(): return [{"Alive": True} for _ in open(os.environ["RECORD"])]
"""


class Slurm:
    """Slurm's commands, played: both nodes are this machine. And a number of a job whose ports are free."""

    def __init__(self, folder: Path) -> None:
        self.home, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        self.fake("srun", SRUN)
        self.fake("scontrol", "#!/bin/sh\necho node0\necho node1\n")
        self.job = next(n for n in range(os.getpid() % 150, 400) if not self.temporary(n) and self._free(n))
        self.port = 10000 + self.job % 200 * 100

    @staticmethod
    def _free(job: int) -> bool:
        try:
            for port in range(3):
                socket.create_server(("", 10000 + job % 200 * 100 + port)).close()
        except OSError:
            return False
        return True

    def fake(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def temporary(self, job: int | None = None) -> list[Path]:
        return list(Path("/tmp").glob(f"raydm-{self.job if job is None else job}-*"))

    def environment(self, **more: str) -> dict[str, str]:
        made = without_ray(
            HOME=str(self.home), SLURM_JOB_ID=str(self.job), SLURM_SUBMIT_DIR=str(ROOT), SLURM_JOB_NUM_NODES="2",
            SLURM_JOB_NODELIST="node[0-1]", SLURM_CPUS_PER_TASK="1", **more,
        )  # fmt: skip
        return made | {"PATH": os.pathsep.join((str(self.bin), made["PATH"]))}

    def left(self) -> list[object]:
        """What a job left behind: secrets, temporary folders, processes."""
        secrets = list((self.home / ".raydm").iterdir())
        return [*secrets, *self.temporary(), *processes(f"/tmp/raydm-{self.job}-")]


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


@pytest.fixture
def played(slurm: Slurm) -> dict[str, str]:
    """The environment of a job of Slurm whose Ray is played, too."""
    slurm.fake("ray", FAKE_RAY)
    (slurm.home / "modules").mkdir()
    (slurm.home / "modules" / "ray.py").write_text(FAKE_RAY_MODULE)
    (slurm.home / "record").touch()
    return slurm.environment(RECORD=str(slurm.home / "record")) | {"PYTHONPATH": str(slurm.home / "modules")}


@needs_openssl
def test_slurm_starts_a_head_and_workers_and_hands_on_the_exit_code(slurm: Slurm, played: dict[str, str]) -> None:
    (slurm.home / ".raydm" / f"slurm-{slurm.job}").mkdir(parents=True)
    (slurm.home / ".raydm" / f"slurm-{slurm.job}" / "auth_token").write_text("of the job before it was queued again")
    done = subprocess.run(
        [str(FOLDER / "slurm.sh"), "bash", "-c", 'echo "at $RAY_ADDRESS with $1"; exit 3', "-", "two words"],
        capture_output=True, text=True, timeout=200, check=False, cwd=slurm.home, env=played,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    own = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()[0]
    assert f"at {own}:{slurm.port} with two words\n" in done.stdout
    head, worker = (slurm.home / "record").read_text().splitlines()
    assert head.startswith("token 1 700 start --block --head ")
    assert f"--port={slurm.port} --dashboard-host=127.0.0.1 --dashboard-port={slurm.port + 1} " in head
    assert worker.startswith(f"token 1 700 start --block --address={own}:{slurm.port} ")
    temporary = [re.search(r"--temp-dir=(\S+)/ray ", line)[1] for line in (head, worker)]
    assert len(set(temporary)) == 2
    assert all(t.startswith(f"/tmp/raydm-{slurm.job}-") for t in temporary)
    assert slurm.left() == []


@needs_openssl
def test_slurm_leaves_nothing_when_it_is_cancelled(slurm: Slurm, played: dict[str, str]) -> None:
    with (slurm.home / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(FOLDER / "slurm.sh"), "bash", "-c", "echo begun; exec sleep 300"],
            stdout=log, stderr=subprocess.STDOUT, cwd=slurm.home, env=played, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for("begun", slurm.home / "log", process, seconds=200)
        assert slurm.left() != []
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # Slurm signals each step
        code = process.wait(timeout=60)
    assert code == 128 + signal.SIGTERM
    assert slurm.left() == []


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a machine whose cores are taken
@needs_openssl
def test_slurm_makes_a_cluster_of_two_nodes_with_tls_and_leaves_nothing(slurm: Slurm) -> None:
    inside = (
        "import os, ray, socket, ssl; ray.init(logging_level='ERROR')\n"
        "print('nodes', sum(n['Alive'] for n in ray.nodes()), 'tls', os.environ['RAY_USE_TLS'])\n"
        "context = ssl.create_default_context(cafile=os.environ['RAY_TLS_CA_CERT'])\n"
        "host, port = os.environ['RAY_ADDRESS'].split(':')\n"
        "with socket.create_connection((host, int(port))) as plain:\n"
        "    print('gcs', context.wrap_socket(plain, server_hostname=host).version())\n"
        "raise SystemExit(3)\n"
    )
    # Through the dashboard, as another job would be: token by HTTP on loopback, TLS between the processes
    submit = [str(RAY), "job", "submit", "--address", f"http://127.0.0.1:{slurm.port + 1}", "--"]
    done = subprocess.run(
        [str(FOLDER / "slurm.sh"), *submit, sys.executable, "-c", inside],
        capture_output=True, text=True, timeout=560, check=False, cwd=slurm.home, env=slurm.environment(),
    )  # fmt: skip
    assert "nodes 2 tls 1" in done.stdout, done.stdout + done.stderr
    assert "gcs TLSv1.3" in done.stdout
    assert done.returncode == 1, "the exit code of `ray job submit` for a job that fails"
    assert slurm.left() == []
