"""`raydm mix --apply RUN --stream`: the bits of rows in memory, in the same file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cli_kit import Call

import raydm.verbs.neighbors
from raydm.data import Examples, prepare, vector_column
from raydm.data.task import Task
from raydm.mixing.admission import Admission
from raydm.mixing.learned_neighbors import LearnedNeighbors
from raydm.mixing.mixer import Mixer
from raydm.mixing.options import Options
from raydm.mixing.partners import RandomPartners, SameNeighbors
from raydm.mixing.reference import fit_reference
from raydm.mixing.region import RegionShares
from raydm.mixing.shares import BetaShares, FixedShares
from raydm.networks import MixingEstimator, PolicyRegion
from raydm.predictors import TablePredictor, TrainingSets, make_predictor
from raydm.report.mix_run import write_mix_run

N = 9000  # two blocks
OPTIONS = Options((1, 2, 4), (1, 3))


def table(n: int, targets: int = 1, ids: str = "number") -> pa.Table:
    """A column with nulls, a vector, targets of which many are equal, and ids that are not row numbers."""
    rng = np.random.default_rng(n)
    a, x = np.round(rng.normal(size=n), 2), rng.normal(size=(n, 2)).astype(np.float32)
    y = np.round(a + x[:, 0], 1)
    order = rng.permutation(7 * n)[:n]
    columns: dict[str, Any] = {"key": order.astype(np.int32) if ids == "number" else [f"row {i}" for i in order]}
    columns |= {"a": pa.array(a, mask=rng.random(n) < 0.01), "x": vector_column(x), "n": rng.integers(0, 9, n)}
    columns |= {"y": y} if targets == 1 else {"y": y, "z": np.round(7 * x[:, 1], 1)}
    return pa.table(columns)


def run_of(folder: Path, mixer: Any, targets: int = 1) -> Path:
    """A run whose mixer is of our making."""
    train = table(60, targets)
    prepared = prepare(
        train, table(20, targets), label=["y", "z"][:targets], id="key", task="regression", features=["a", "x", "n"]
    )
    task, d = Task("regression", targets), prepared.train.x.shape[1]
    made = make_predictor("linear")
    x, y = torch.from_numpy(prepared.train.x), torch.from_numpy(prepared.train.y)
    fitted = made.fit(TrainingSets(x, y, torch.ones(1, len(y)), task), seed=np.zeros(1, np.int64))
    predictor = TablePredictor(fitted, prepared.encoder, prepared.labels)
    config = {"method": "ours", "predictor": made.config()}
    folder.mkdir()
    write_mix_run(folder, config=config, mixed=train.slice(0, 0), history=[], evidence={}, mixer=mixer(d), task=task,
                  n_features=d, predictor=predictor, roles=prepared.roles)  # fmt: skip
    return folder


def learned(d: int, targets: int = 1) -> LearnedNeighbors:
    """An h_theta that takes some options and leaves others: it is far from flat."""
    torch.manual_seed(0)
    h = MixingEstimator(d, targets, len(OPTIONS), hidden=[8])
    with torch.no_grad():
        for parameter in h.parameters():
            parameter.normal_()
    return LearnedNeighbors(h, (torch.zeros(targets), torch.ones(targets)), OPTIONS, 0.5)


def half(d: int) -> Admission:
    """What lets some rows in, and others not, by all features, also those that tell where a number was missing."""
    x = np.random.default_rng(d).normal(size=(40, d)).astype(np.float32)
    rows = Examples(x, x.sum(1), np.arange(40))
    return Admission(fit_reference(rows.take(np.arange(20)), rows, Task("regression", 1), 0), 0.5)


MIXERS: dict[str, Any] = {
    "mixrl": lambda d: Mixer(learned(d), FixedShares(0.5)),
    "beta": lambda d: Mixer(learned(d), BetaShares(2.0)),
    "unequal shares": lambda d: Mixer(SameNeighbors("data", 3), FixedShares(0.3)),
    "labels": lambda d: Mixer(SameNeighbors("label", 4), FixedShares(0.5)),
    "admission": lambda d: Mixer(SameNeighbors("data", 3), FixedShares(0.5), half(d)),
}


@pytest.fixture
def rows() -> Path:
    return written(table(N))


def written(of: pa.Table, name: str = "rows") -> Path:
    Path(name).mkdir()
    pq.write_table(of.slice(0, of.num_rows // 2), f"{name}/a.parquet", row_group_size=1000)
    pq.write_table(of.slice(of.num_rows // 2), f"{name}/b.parquet")
    return Path(name)


def both(call: Call, run: Path, rows: Path, *flags: str, place: tuple[str, ...] = ("--stream",)) -> tuple[Any, Any]:
    """In memory, and streamed."""
    lines = [
        call("mix", rows, "--apply", run, "--out", name, "--quiet", *more).line
        for name, more in (("whole", ()), ("streamed", (*place, "--index", "exact", *flags)))
    ]
    assert {**lines[0], "out": "", "seconds": 0} == {**lines[1], "out": "", "seconds": 0}
    assert {"run", "out", "rows", "mixed_rows", "seconds", "index"} == lines[1].keys()
    whole, streamed = pq.read_table("whole"), pq.read_table("streamed")
    assert (lines[1]["rows"], lines[1]["mixed_rows"]) == (pq.read_table(rows).num_rows, streamed.num_rows)
    return whole, streamed


@pytest.mark.parametrize("name", MIXERS)
def test_the_bits_are_those_of_rows_in_memory(call: Call, rows: Path, name: str) -> None:
    whole, streamed = both(call, run_of(Path("run"), MIXERS[name]), rows)
    assert whole.num_rows > N / 4
    assert streamed.equals(whole)
    assert sorted(p.name for p in Path().iterdir()) == ["rows", "run", "streamed", "whole"]
    if name in ("mixrl", "beta"):
        assert {*streamed["mix_kind"].to_pylist()} == {"data", "label"}


@pytest.mark.parametrize(("targets", "ids"), [(2, "number"), (1, "text"), (1, "none")])
def test_several_targets_and_other_ids(call: Call, targets: int, ids: str) -> None:
    """Two targets are brought to one unit, that of all rows."""
    of = table(9000, targets, ids)
    rows = written(of if ids != "none" else of.drop_columns(["key"]))
    run = run_of(Path("run"), lambda d: Mixer(learned(d, targets), BetaShares(1.0)), targets)
    whole, streamed = both(call, run, rows)
    assert streamed.equals(whole)
    assert streamed.num_rows > 1000


def test_values_are_those_of_the_parents(call: Call, rows: Path) -> None:
    run = run_of(Path("run"), MIXERS["beta"])
    _, streamed = both(call, run, rows)
    given = pq.read_table(rows)
    row = {key: place for place, key in enumerate(given["key"].to_pylist())}
    i, j = (np.array([row[key] for key in streamed[name].to_pylist()]) for name in ("mix_parent", "mix_partner"))
    lam = streamed["mix_lambda"].to_numpy()
    y = given["y"].to_numpy()
    np.testing.assert_array_equal(streamed["y"].to_numpy(), lam * y[i] + (1 - lam) * y[j])
    assert (i != j).all()
    couples = np.stack([np.minimum(i, j), np.maximum(i, j)], 1)
    assert len(np.unique(couples, axis=0)) == len(couples)  # one lambda of each two rows: each stands once
    assert streamed["a"].null_count > 0


@pytest.mark.parametrize("kind", ["ivf-flat", "ivf-pq", "hnsw"])
def test_approximate_indexes(call: Call, rows: Path, kind: str) -> None:
    """Codes stand for no numbers: these come from the rows."""
    run = run_of(Path("run"), MIXERS["mixrl"])
    whole = call("mix", rows, "--apply", run, "--out", "whole").line["mixed_rows"]
    done = call("mix", rows, "--apply", run, "--stream", "--index", kind, "--sample", "8000")
    assert done.line["index"] == {"data": kind, "label": "exact"}
    assert done.line["mixed_rows"] == pytest.approx(whole, rel=0.05)
    assert "mix: 100%" in done.err
    made, given = pq.read_table("mixed.parquet"), pq.read_table(rows)
    y = dict(zip(given["key"].to_pylist(), given["y"].to_pylist(), strict=True))
    parents = [np.array([y[key] for key in made[name].to_pylist()]) for name in ("mix_parent", "mix_partner")]
    np.testing.assert_array_equal(made["y"].to_numpy(), (parents[0] + parents[1]) / 2)


def test_nothing_is_mixed(call: Call, rows: Path) -> None:
    def nobody(d: int) -> Mixer:
        of = learned(d)
        return Mixer(LearnedNeighbors(of.estimator, of.y_scale, of.options, 1.0), FixedShares(0.5))

    whole, streamed = both(call, run_of(Path("run"), nobody), rows)
    assert streamed.num_rows == 0
    assert streamed.equals(whole)
    # Nor is what was done to the rows forgotten where they make none
    given = pq.read_table("rows/b.parquet")
    pq.write_table(given.set_column(3, "n", pa.array([None, *given["n"].to_pylist()[1:]])), "rows/b.parquet")
    for place in ((), ("--stream",)):
        done = call("mix", rows, "--apply", "run", "--out", f"again{len(place)}", "--quiet", *place)
        assert "column 'n': 1 missing values where training had none" in done.err


def test_one_row_has_no_partner(call: Call) -> None:
    whole, streamed = both(call, run_of(Path("run"), MIXERS["mixrl"]), written(table(1)))
    assert streamed.num_rows == 0
    assert streamed.equals(whole)


def test_fewer_rows_than_neighbours(call: Call) -> None:
    whole, streamed = both(call, run_of(Path("run"), MIXERS["labels"]), written(table(3)))
    assert streamed.equals(whole)
    assert streamed.num_rows == 3


def test_large_files_are_streamed_without_being_asked(call: Call, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(Path("run"), MIXERS["mixrl"])
    with monkeypatch.context() as small:
        small.setattr("raydm.verbs.score.machine_memory", lambda: 1000)
        done = call("mix", rows, "--apply", run, "--out", "large")
    assert "mix: 100%" in done.err
    assert call("mix", rows, "--apply", run, "--out", "whole").err == ""
    assert pq.read_table("large").equals(pq.read_table("whole"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--actors", "-1"), ["'actors'"]),
        (("--address", "h:1"), ["--address"]),
        (("--stream", "--index", "annoy"), ["'index'", "raydm mix", "'ivf-flat'"]),
        (("--index", "exact"), ["--index is for rows that are streamed"]),
        (("--sample", "9"), ["--sample is for rows that are streamed"]),
        (("--stream", "--index", "exact", "--memory", "1KiB"), ["takes about", "--memory"]),
        (("--stream", "--memory", "0"), ["'memory'", ">= 1"]),
    ],
)
def test_flags_that_cannot_be_used(call: Call, flags: tuple[str, ...], words: list[str]) -> None:
    run, rows = run_of(Path("run"), MIXERS["mixrl"]), written(table(50))
    done = call("mix", rows, "--apply", run, *flags, "--out", "new/mixed.parquet")
    assert (done.code, done.out) == (2, ""), done.err
    assert all(word in done.err for word in words), done.err
    assert not Path("new").exists()


def test_streams_are_of_applying(call: Call) -> None:
    done = call("mix", "rows", "--stream")
    assert done.code == 2
    assert "--stream is of streams of rows, which --apply RUN mixes" in done.err


@pytest.mark.parametrize(
    ("mixer", "words"),
    [
        (lambda d: Mixer(RandomPartners(1), FixedShares(0.5)), "partners are not nearest neighbours"),
        (lambda d: Mixer(SameNeighbors("data", 1), RegionShares(PolicyRegion(d, hidden=[4]))), "one network"),
    ],
)
def test_what_cannot_be_streamed_is_refused(call: Call, mixer: Any, words: str) -> None:
    run, rows = run_of(Path("run"), mixer), written(table(50))
    done = call("mix", rows, "--apply", run, "--stream", "--quiet")
    assert done.code == 2
    assert f"method 'ours': {words}" in done.err
    assert "leave --stream and --actors out" in done.err
    assert call("mix", rows, "--apply", run, "--quiet").line["rows"] == 50


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns(["y"]), ["no label column 'y'"]),
        (lambda t: t.drop_columns(["n"]), ["no feature column 'n'"]),
        (lambda t: t.set_column(0, "key", pa.array([*range(8999), 7])), ["the id '7' stands again", "row 8"]),
        (lambda t: t.set_column(3, "n", pa.array(np.where(np.arange(9000) == 8500, np.inf, 0.0))),
         ["bad.parquet, counted from row 8193", "'n'", "row 309"]),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_mixed(call: Call, change: Any, words: list[str]) -> None:
    run = run_of(Path("run"), MIXERS["mixrl"])
    pq.write_table(change(table(9000)), "bad.parquet")
    done = call("mix", "bad.parquet", "--apply", run, "--stream", "--out", "new/mixed.parquet", "--quiet")
    assert (done.code, done.out) == (2, ""), done.err
    assert all(word in done.err for word in words), done.err
    assert not Path("new").exists()


def test_csv_is_not_streamed(call: Call) -> None:
    Path("rows.csv").write_text("a,y\n1,2\n")
    done = call("mix", "rows.csv", "--apply", run_of(Path("run"), MIXERS["mixrl"]), "--stream")
    assert done.code == 2
    assert "Write the rows as Parquet first" in done.err


@pytest.mark.parametrize(("limit", "words"), [(200_000, "TMPDIR"), (400_000, "sub/mixed: cannot be written")])
def test_a_full_disk_leaves_nothing(rows: Path, limit: int, words: str) -> None:
    """Files of this process may not grow further; then the system says what it says of a full disk."""
    given = ["mix", str(rows), "--apply", str(run_of(Path("run"), MIXERS["mixrl"])), "--stream", "--out", "sub/mixed"]
    code = (
        "import resource, signal, sys, raydm.cli\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"sys.exit(raydm.cli.main({given!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "cannot be written" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("sub").exists()


@pytest.mark.slow
def test_a_local_stream_does_not_load_ray(rows: Path) -> None:
    words = ["mix", str(rows), "--apply", str(run_of(Path("run"), MIXERS["labels"])), "--stream", "--quiet"]
    code = f"import sys, raydm.cli\nassert raydm.cli.main({words!r}) == 0\nsys.exit('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


class Slowly:
    """Makes work that takes its time, and tells of the blocks that are done."""

    def __init__(self, make: Any, folder: str) -> None:
        self.make, self.folder = make, folder

    def __call__(self) -> Any:
        work = self.make()

        def done(first: int, table: pa.Table) -> pa.Table:
            time.sleep(0.1)
            made = work(first, table)
            Path(self.folder, str(first)).touch()
            return made

        return done


@pytest.mark.slow
def test_actors_that_are_killed_in_mid_stream_change_nothing(
    call: Call, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard dies while rows are mixed; it is made again, with what it kept. Stdout has the JSON line alone."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the actors cannot import a test
    for module in ("verbs.mix_apply", "mixing.learned_neighbors"):  # 18 blocks, in memory as well
        monkeypatch.setattr(f"raydm.{module}.ROWS", 500)
    told = tmp_path / "told"
    told.mkdir()
    seen: dict[str, int] = {}
    made = raydm.verbs.neighbors.make_shards

    def with_a_killer(arguments: Any) -> Any:
        shards = made(arguments)
        stream = shards.stream

        def streamed(recipe: Any, make: Any) -> Any:
            shard = shards.workers[0]
            seen["before"] = ray.get(shard.process.remote())

            def kill() -> None:
                while len([*told.iterdir()]) < 4:
                    time.sleep(0.01)
                os.kill(seen["before"], signal.SIGKILL)
                seen["blocks"] = len([*told.iterdir()])

            threading.Thread(target=kill, daemon=True).start()
            yield from stream(recipe, Slowly(make, str(told)))
            seen["after"] = ray.get(shard.process.remote())

        shards.stream = streamed
        return shards

    monkeypatch.setattr("raydm.verbs.mix_apply.make_shards", with_a_killer)
    whole, streamed = both(call, run_of(Path("run"), MIXERS["beta"]), rows, place=("--actors", "2"))
    assert streamed.equals(whole)
    assert 4 <= seen["blocks"] < N // 500
    assert seen["before"] != seen["after"]  # it came back as another process
