"""`raydm submit` and `raydm jobs` without a cluster: what is sent, what is refused, what becomes of a job's log."""

from __future__ import annotations

import ast
import json
import socket
import threading
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from raydm.cli import VERBS, main
from raydm.errors import ClusterError, DataError, ParameterError
from raydm.flags.submit import SUBMITTED
from raydm.verbs import upload
from raydm.verbs.submit import Log
from raydm.verbs.upload import files_of, pack

ROOT = Path(__file__).parents[2]
JOBS = ("value", "mix", "weight", "augment", "synthesize", "sweep", "neighbors", "score", "fit")


class Answers(BaseHTTPRequestHandler):
    """Answers as a job server does that asks nobody for a token; or with the server's own `status`."""

    def do_GET(self) -> None:
        self.server.headers.append(dict(self.headers))  # type: ignore[attr-defined]
        body = b'{"ray_version": "2.60.0", "version": "4"}' if self.path == "/api/version" else b"[]"
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("0.0.0.0", 0), Answers)
    made.headers, made.status = [], 200  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def written(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


def another_address() -> str:
    """This machine's own address, by which others would reach it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(asked.getsockname()[0])


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_its_verb(name: str) -> None:
    assert name in {verb.name for verb in VERBS}
    lines = (ROOT / "jobs" / f"{name}.py").read_text().splitlines()
    assert len(lines) <= 30
    assert f"`raydm {name}`" in (ast.get_docstring(ast.parse("\n".join(lines))) or "")


def test_a_script_runs_the_verb_of_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "jobs"))
    import as_job

    monkeypatch.setattr("sys.argv", ["jobs/score.py", "absent-run", "absent.csv", "--threshold", "2"])
    with pytest.raises(SystemExit) as ended:
        as_job.run("/somewhere/jobs/score.py")
    assert ended.value.code == 2
    assert "The 'threshold' parameter of raydm score" in capsys.readouterr().err


def test_what_is_sent_are_the_files_that_are_named(here: Path) -> None:
    written("train/a.parquet", "train/b.parquet", "valid.csv", "other.csv", "train/.git/config", "run/config.json")
    written("run/__pycache__/x.pyc")
    job = Namespace(train=["train"], valid=["val*.csv"], test=["/shared/test.csv"], run=Path("./run"), out=Path("x"))
    files, theirs = files_of(job)
    names = ["run/config.json", "train/a.parquet", "train/b.parquet", "valid.csv"]
    assert sorted(map(str, files)) == names
    assert theirs == ["/shared/test.csv"]
    for name in ("one.zip", "two.zip"):
        pack(files, here / name, job=name)
    assert (here / "one.zip").read_bytes() != (here / "two.zip").read_bytes()  # Ray unpacks equal ones once, for all
    with zipfile.ZipFile(here / "one.zip") as opened:
        inside = set(opened.namelist())
        assert opened.read("valid.csv") == b"valid.csv"
    assert {*names, "raydm/cli.py", "raydm/verbs/value.py", "raydm/py.typed"} <= inside
    assert {name for name in inside if not name.startswith("raydm/")} == {*names, ".raydm-job"}
    assert not {name for name in inside if "__pycache__" in name or ".git" in name}


def test_what_cannot_be_sent_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("train.csv")
    assert files_of(Namespace(train=["digits"], weights="free", model="org-model")) == ([], [])
    assert files_of(Namespace(run="s3://bucket/run", train=["train.csv"])) == ([Path("train.csv")], ["s3://bucket/run"])
    for job, said in (
        (Namespace(train=["absent.csv"]), "absent.csv: no such file or directory .* absolute path"),
        (Namespace(train=["train.csv"], apply=Path("gone")), "gone: no such file"),
    ):
        with pytest.raises(DataError, match=said):
            files_of(job)
    with pytest.raises(ParameterError, match="is above the current folder"):
        files_of(Namespace(train=["../train.csv"]))
    monkeypatch.setattr(upload, "MOST_BYTES", 5)
    with pytest.raises(
        ParameterError,
        match=r"1 files of .*MiB would be sent .*train.csv.* absolute paths of a shared folder.*--storage",
    ):
        files_of(Namespace(train=["train.csv"]))


def test_flags_of_submit_may_stand_anywhere_and_others_are_the_verb_s(here: Path) -> None:
    from raydm.cli import _read

    written("c.yaml")
    Path("c.yaml").write_text("steps: 3\nnoise: 0.25\n")
    words = ["digits", "--config", "c.yaml", "--noise", "0.5", "--address", "http://h:1", "--quiet", "--no-follow"]
    arguments, _ = _read(["submit", "--insecure", "value", *words])
    assert (arguments.address, arguments.insecure, arguments.follow) == ("http://h:1", True, False)
    assert arguments.words[0] == "value"
    assert not {"--address", "http://h:1", "--no-follow", "--config", "c.yaml"} & {*arguments.words}
    again, _ = _read(arguments.words)
    assert (again.steps, again.noise, again.quiet, again.train, again.address) == (3, 0.5, True, ["digits"], None)
    assert vars(arguments.job) == vars(again)
    assert {verb.name for verb in VERBS} - {verb.name for verb in SUBMITTED} == {"data", "submit", "jobs"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("value", "digits", "--step", "x"), "invalid int value"),
        (("mix", "digits", "--alpha", "2"), "--alpha is of --lam beta"),
        (("data", "list"), "invalid choice: 'data'"),
        (("value", "digits", "--storage", "runs"), "--storage runs: is below the job's own folder"),
        (("value", "digits", "--address", "ray://host:10001"), "jobs go to the cluster's dashboard"),
        (("value", "digits", "--address", "6379"), "jobs go to the cluster's dashboard"),
        (("value", "digits", "--address", "http://me:hidden@host:8265"), "--address holds a password"),
        (
            ("value", "digits", "--address", "http://127.0.0.1:9"),
            "no job server of Ray answers there (Connection refused)",
        ),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_sent(
    here: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["submit", *words])
    except SystemExit as end:  # argparse
        code = int(str(end.code))
    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert said in told.err
    assert "hidden" not in told.err


def test_a_remote_cluster_that_asks_for_no_token_is_refused_and_never_shown_one(
    here: Path, server: ThreadingHTTPServer
) -> None:
    from raydm.distributed.jobs import JobServer

    port = server.server_address[1]
    with pytest.raises(ClusterError, match=r"asks nobody for a token.*--insecure"):
        JobServer(f"http://{another_address()}:{port}")
    for address, insecure in ((another_address(), True), ("127.0.0.1", False)):
        assert JobServer(f"http://{address}:{port}", insecure=insecure).jobs() == []
    assert len(server.headers) > 4  # type: ignore[attr-defined]
    assert "f" * 64 not in json.dumps(server.headers)  # type: ignore[attr-defined]


def test_what_answers_otherwise_is_no_job_server(here: Path, server: ThreadingHTTPServer) -> None:
    from raydm.distributed.jobs import JobServer

    server.status = 404  # type: ignore[attr-defined]
    with pytest.raises(ClusterError, match=r"HTTP 404.*ray\[default\]"):
        JobServer(f"http://127.0.0.1:{server.server_address[1]}")


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("succeeded", [True, False])
def test_a_job_s_line_goes_to_stdout_and_all_else_to_stderr(
    capsys: pytest.CaptureFixture[str], size: int, succeeded: bool
) -> None:
    text = 'one\n{"a": 1}\n{not json\n\n[1]\n{"rows": 2}'
    log = Log()
    for start in range(0, len(text), size):
        log.write(text[start : start + size])
    if not succeeded:
        log.write("\nraydm: what went wrong")
    log.end(succeeded=succeeded)
    said = capsys.readouterr()
    lines = text.splitlines()
    if succeeded:
        assert (said.out.splitlines(), said.err.splitlines()) == (lines[-1:], lines[:-1])
    else:
        assert (said.out, said.err.splitlines()) == ("", [*lines, "raydm: what went wrong"])
