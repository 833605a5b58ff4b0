"""Storage: runs that stand whole in an object store or do not stand, against moto's S3 server on this machine."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from raydm import load_run
from raydm.cli import main
from raydm.errors import ParameterError, RunError
from raydm.object_store import MARKER, Remote
from raydm.report.atomic import check_free, new_file, new_folder
from raydm.storage import local_copy, output, place_of

FILES = {"config.json": b"{}", "predictor/weights": b"w" * 100_000, "inputs/a/b": b"1", "empty": b""}
QUICK = (
    "--steps",
    "2",
    "--rollouts",
    "2",
    "--outer-batch",
    "32",
    "--evidence",
    "validation",
    "--judge",
    "0",
    "--quiet",
)
SECRET = "of-the-tests-alone"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server: host:port."""
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        yield "{}:{}".format(*running.get_host_and_port())
        running.stop()


@pytest.fixture
def store(server: str, request: pytest.FixtureRequest) -> Iterator[fs.FileSystem]:
    made = fs.S3FileSystem(endpoint_override=server, scheme="http", region="us-east-1", allow_bucket_creation=True,
                           allow_bucket_deletion=True)  # fmt: skip
    made.create_dir("bucket")
    yield made
    made.delete_dir("bucket")


@pytest.fixture
def storage(server: str, store: fs.FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty folder; the current folder is empty, too."""
    monkeypatch.chdir(tmp_path)
    return f"s3://bucket/runs?endpoint_override={server}&scheme=http&region=us-east-1"


class Failing:
    """A store that fails, or dies, at one of its calls."""

    def __init__(self, store: fs.FileSystem, call: str, number: int, error: BaseException) -> None:
        self.store, self.call, self.left, self.error = store, call, number, error

    def __getattr__(self, name: str) -> Any:
        if name != self.call:
            return getattr(self.store, name)

        def call(*words: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise self.error
            return getattr(self.store, name)(*words)

        return call


def fill(folder: Path, files: dict[str, bytes] = FILES) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def names(store: fs.FileSystem, kind: Any = fs.FileType.File) -> set[str]:
    return {info.path for info in store.get_file_info(fs.FileSelector("bucket", recursive=True)) if info.type == kind}


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    """The command's code, its JSON line, and what it said."""
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, json.loads(said.out or "{}"), said.err


def test_a_folder_is_sent_whole_and_read_back(storage: str, store: fs.FileSystem) -> None:
    place = output(storage, Path("a run, 100% ü"), Path("default"))
    check_free(place)
    assert names(store) == set()
    with new_folder(place) as folder:
        fill(folder)
        assert names(store) == set()
    above = "bucket/runs/a run, 100% ü"
    assert names(store) == {f"{above}/{name}" for name in (*FILES, MARKER)}
    assert not any(part.startswith(".") for name in names(store, fs.FileType.Directory) for part in name.split("/"))
    with local_copy(str(place)) as folder:
        assert {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()} == FILES
        assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    with pytest.raises(RunError, match="exists already, and results are never overwritten"):
        check_free(place)


def test_a_file_is_sent_whole(storage: str, store: fs.FileSystem) -> None:
    place = output(storage, None, Path("runs/values.parquet"))
    with new_file(place) as file:
        file.write_bytes(b"values")
    assert names(store) == {"bucket/runs/values.parquet"}
    assert store.open_input_stream("bucket/runs/values.parquet").read() == b"values"
    with pytest.raises(RunError, match="exists already"), new_file(place) as file:
        file.write_bytes(b"others")
    assert store.open_input_stream("bucket/runs/values.parquet").read() == b"values"


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("call", "number"),
    [("open_output_stream", 0), ("open_output_stream", 2), ("copy_file", 2), ("open_output_stream", 4)],
)
def test_what_cannot_be_sent_is_kept_and_nothing_of_it_stands_there(
    storage: str, store: fs.FileSystem, monkeypatch: pytest.MonkeyPatch, call: str, number: int, large: bool
) -> None:
    place = output(storage, Path("run"), Path("run"))
    failing = Failing(store, call, number, OSError("connection lost"))
    monkeypatch.setattr(Remote, "_open", lambda self: (failing, "bucket/runs/run"))
    if large:  # than what a store copies at once
        monkeypatch.setattr("raydm.object_store._COPIED", 10)
    with (
        pytest.raises(RunError, match=r"connection lost.*What was computed is kept in (.*)") as told,
        new_folder(place) as folder,
    ):
        fill(folder)
    kept = Path(str(told.value).rpartition(" kept in ")[2].rstrip("."))
    assert {f.relative_to(kept).as_posix(): f.read_bytes() for f in kept.rglob("*") if f.is_file()} == FILES
    assert kept.parent.parent == Path.cwd()
    assert names(store) == set()


def test_an_error_while_it_is_made_sends_nothing(storage: str, store: fs.FileSystem) -> None:
    place = output(storage, Path("run"), Path("run"))

    def fail() -> None:
        with new_folder(place) as folder:
            fill(folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(store) == set()
    assert list(Path.cwd().iterdir()) == []


def test_a_process_that_dies_while_it_sends_leaves_what_is_refused(
    storage: str, store: fs.FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"""
import os
from pathlib import Path
from raydm.storage import output
from raydm.report.atomic import new_folder
from raydm.object_store import Remote
opened = Remote._open
class Dying:
    def __init__(self, store): self.store, self.left = store, 2
    def __getattr__(self, name): return getattr(self.store, name)
    def copy_file(self, *words):
        self.left -= 1
        os._exit(9) if self.left < 0 else self.store.copy_file(*words)
def dying(self):
    store, path = opened(self)
    return Dying(store), path
Remote._open = dying
with new_folder(output({storage!r}, Path("run"), Path("run"))) as folder:
    for name in "abc": (folder / name).write_text(name)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert {"bucket/runs/run/a", "bucket/runs/run/b"} < names(store)
    with pytest.raises(RunError, match=f"is torn: it has no {MARKER}, which is written last"):
        load_run(str(output(storage, Path("run"), Path("run"))))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("predictor/weights", b"v" * 100_000), "predictor/weights is not what was written"),
        (("config.json", b"{"), "config.json is not what was written"),
        (("inputs/a/b", None), "it lacks inputs/a/b"),
        ((MARKER, b"{"), f"its {MARKER} cannot be read"),
        ((MARKER, b'{"format": 2, "files": {}}'), "not of format 1"),
        ((MARKER, b'{"format": 1, "files": {"../x": {"bytes": 1, "sha256": ""}}}'), "names '../x', which is not in it"),
        ((MARKER, None), f"it has no {MARKER}"),
    ],
)
def test_a_changed_run_is_refused(storage: str, store: fs.FileSystem, change: tuple[str, bytes], said: str) -> None:
    place = output(storage, Path("run"), Path("run"))
    with new_folder(place) as folder:
        fill(folder)
    name, content = change
    if content is None:
        store.delete_file(f"bucket/runs/run/{name}")
    else:
        with store.open_output_stream(f"bucket/runs/run/{name}") as stream:
            stream.write(content)
    with pytest.raises(RunError, match=said):
        load_run(str(place))


NAMES = st.sampled_from(
    ["..", "/a", "x/../../y", "../x", "/etc/x", "\0", "", "a", "format", "files", "bytes", "sha256"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
FILE = st.fixed_dictionaries({"bytes": JSON, "sha256": JSON})
LIKE_A_MARKER = st.fixed_dictionaries({"format": st.just(1), "files": st.dictionaries(NAMES, FILE, max_size=3) | JSON})


@given(st.binary(max_size=60) | (JSON | LIKE_A_MARKER).map(lambda value: json.dumps(value).encode()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_marker_is_refused_or_names_places_below(tmp_path: Path, marker: bytes) -> None:
    (tmp_path / MARKER).write_bytes(marker)
    try:
        files = Remote("s3://bucket/run")._listed(fs.LocalFileSystem(), str(tmp_path))
    except RunError:
        return
    for name in files:
        assert (tmp_path / name).resolve().is_relative_to(tmp_path.resolve())


def test_what_is_no_place_is_told(storage: str, store: fs.FileSystem) -> None:
    absent = storage.replace("bucket", "absent")
    for place, said in (
        (output(absent, Path("run"), Path("run")), "s3://absent/runs/run.*: cannot be (reached|written).*bucket"),
        (place_of("s3://bucket/runs/none?" + storage.partition("?")[2]), "there is nothing. Name a run"),
    ):
        with pytest.raises(RunError, match=said):
            check_free(place) if "absent" in str(place) else load_run(str(place))
    with pytest.raises(RunError, match="is a whole bucket"):
        check_free(place_of(storage.replace("/runs", "")))
    for text in ("http://host/runs", "s3:///runs", "s3://bucket/a#b"):
        with pytest.raises(ParameterError, match="is no storage"):
            place_of(text)
    with pytest.raises(ParameterError, match="holds a key or a password") as told:
        place_of("s3://KEY:hidden@bucket/runs")
    assert "hidden" not in str(told.value)
    for out in ("/absolute", "../above", "a/../../b", "."):
        with pytest.raises(ParameterError, match="it is a name below that"):
            output(storage, Path(out), Path("run"))
    with pytest.raises(ParameterError, match="an address is given by --storage"):
        output(None, Path("s3://bucket/run"), Path("run"))


@pytest.mark.slow  # the store's own retries take six seconds
def test_a_server_that_is_not_there(storage: str, server: str) -> None:
    with pytest.raises(RunError, match=r"cannot be reached \(.*NETWORK_CONNECTION"):
        check_free(output(storage.replace(server, "127.0.0.1:9"), Path("run"), Path("run")))


def test_a_folder_is_storage_too(tmp_path: Path) -> None:
    assert output(str(tmp_path), None, Path("runs/a")) == tmp_path / "a"
    assert output(f"file://{tmp_path}", Path("b/c"), Path("runs/a")) == tmp_path / "b" / "c"
    assert output(None, None, Path("runs/a")) == Path("runs/a")
    assert output(None, Path("/x"), Path("runs/a")) == Path("/x")


def frame(file: Path, rows: int, seed: int, *, regression: bool = False) -> Path:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
    score = table.a - 2 * table.b
    table["label"] = score if regression else np.where(score > 0, "yes", "no")
    table.to_csv(file, index=False)
    return file


def test_a_run_of_the_command_goes_there_and_is_read_there(
    storage: str, store: fs.FileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, valid = frame(tmp_path / "train.csv", 60, 0), frame(tmp_path / "valid.csv", 30, 1)
    words = ("value", train, "--valid", valid, *QUICK, "--out", "run")
    code, line, said = run(capsys, *words, "--storage", storage)
    assert code == 0, said
    assert line["run"] == str(output(storage, Path("run"), Path("run")))
    assert run(capsys, *words)[0] == 0
    assert f"bucket/runs/run/{MARKER}" in names(store)
    code, line, said = run(capsys, "score", line["run"], train, "--out", "there.parquet", "--storage", storage)
    assert code == 0, said
    assert run(capsys, "score", "run", train, "--out", "here.parquet")[0] == 0
    assert pq.read_table("bucket/runs/there.parquet", filesystem=store).equals(pq.read_table("here.parquet"))
    config = json.loads(store.open_input_stream("bucket/runs/run/config.json").read())
    assert config["arguments"]["storage"] == storage
    assert not any(SECRET.encode() in store.open_input_stream(name).read() for name in names(store))
    code, _, said = run(capsys, *words, "--storage", storage)
    assert (code, "exists already" in said) == (2, True)  # before anything is learned
    assert sorted(p.name for p in Path.cwd().iterdir()) == ["here.parquet", "run", "train.csv", "valid.csv"]


@pytest.mark.slow
def test_what_a_stored_mix_run_learned_is_applied(
    storage: str, store: fs.FileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, valid = (frame(tmp_path / f"{seed}.csv", 60, seed, regression=True) for seed in (0, 1))
    words = ("mix", train, "--valid", valid, "--steps", 2, "--rollouts", 2, "--test-repeats", 1, "--threshold", 0.5,
             "--data-options", "1..4", "--label-options", "none", "--quiet")  # fmt: skip
    code, line, said = run(capsys, *words, "--storage", storage)
    assert code == 0, said
    code, applied, said = run(capsys, "mix", train, "--apply", line["run"], "--storage", storage)
    assert code == 0, said
    assert applied["out"] == str(output(storage, None, Path("mixed.parquet")))
    assert pq.read_table("bucket/runs/mixed.parquet", filesystem=store).num_rows == applied["mixed_rows"]
