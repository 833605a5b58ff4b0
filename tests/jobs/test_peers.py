"""The comparison with other packages: it runs, goes on where it was, and tells of peers that are absent or fail."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from raydm import DataValuator

FOLDER = Path(__file__).parents[2] / "jobs" / "bench"
KEYS = {"set", "noise", "valid_noise", "seed", "data", "method", "version", "seconds"}
FIGURES = {"auc", "f1", "recall_at_count", "removal_gain", "test_all", "clean_gain"}


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import peers

    monkeypatch.setattr(peers, "DataValuator", functools.partial(DataValuator, steps=2))  # what it learns is no matter
    return peers


def run(peers, monkeypatch, capsys, results, *arguments):
    """The table's lines, the summaries, what was said and the rows of the results file."""
    argv = ["peers.py", "breast_cancer", "--noise", "0.2", "--seeds", "1", "--results", str(results), *arguments]
    monkeypatch.setattr(sys, "argv", argv)
    peers.main()
    out, err = capsys.readouterr()
    table = [line for line in out.splitlines() if line.startswith("|")]
    summaries = [json.loads(line) for line in out.splitlines() if not line.startswith("|")]
    rows = [json.loads(line) for line in results.read_text().splitlines() if line.endswith("}")]
    return table, summaries, err, rows


def test_raydm_with_its_inputs_and_again(peers, monkeypatch, capsys, tmp_path):
    results = tmp_path / "new" / "peers.jsonl"
    go = functools.partial(run, peers, monkeypatch, capsys, results, "--only-raydm", "--methods", "raydm dvrl")
    table, summaries, _, rows = go()
    names = [row["method"] for row in rows]
    assert names[0] == "raydm dvrl"
    assert "raydm input: random" in names
    assert all(set(row) == KEYS | FIGURES for row in rows)
    assert len(table) == 2 + len(rows) + 1  # a head, a row a method, and what the right labels would give
    assert [s["seeds"] for s in summaries] == [1] * len(rows)
    assert go()[3] == rows  # nothing is run twice

    stale = {**rows[0], "version": "another"}
    results.write_text(json.dumps(stale) + "\n" + json.dumps(rows[1])[:20])  # and half a line of an interrupted run
    go()
    known = peers.read_rows(results.read_text().splitlines(keepends=True))
    assert [(row["method"], row["version"]) for row in known.values()] == [(r["method"], r["version"]) for r in rows]


def test_cleanlab_on_the_same_arrays(peers, monkeypatch, capsys, tmp_path):
    pytest.importorskip("cleanlab", reason="cleanlab is not installed: pip install 'raydm[bench]'")
    go = functools.partial(run, peers, monkeypatch, capsys, tmp_path / "peers.jsonl")
    monkeypatch.setitem(peers.PEERS, "broken", peers.PEERS["cleanlab logistic"])  # the worker does not know it
    wanted = ("raydm dvrl", "cleanlab logistic", "cleanlab logistic + trusted", "broken")
    table, summaries, err, rows = go("--methods", *wanted)
    assert {row["data"] for row in rows} == {rows[0]["data"]}
    auc = {s["method"]: s["auc"]["mean"] for s in summaries if s["auc"]}
    assert auc["cleanlab logistic"] > 0.9
    assert auc["cleanlab logistic + trusted"] > 0.9
    assert "cleanlab logistic: AUC" in err
    assert rows[-1]["error"] == "KeyError: 'broken'"
    assert any("broken; failed: KeyError: 'broken'" in line for line in table)
    assert {s["method"]: s["seeds"] for s in summaries}["broken"] == 0

    *_, rows = go("--only-peers", "--methods", "cleanlab forest", "cleanlab boosting", "--limit", "0.01")
    assert [row["error"] for row in rows[-2:]] == ["took longer than 0.01 s"] * 2  # the second had a new process


def test_absent_peers_are_named_and_left_out(peers, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(peers.Worker, "_reply", lambda self, limit: {"versions": {"cleanlab": None}})
    table, summaries, err, rows = run(peers, monkeypatch, capsys, tmp_path / "peers.jsonl", "--only-peers")
    assert "left out: cleanlab, opendataval, pyDVL" in err
    assert (len(table), summaries, rows) == (2, [], [])


def test_figures_by_hand(peers):
    # Ten rows; the two flipped ones stand lowest, and without them the classes are told apart.
    x = np.array([[-1.0]] * 5 + [[1.0]] * 5, np.float32)
    right = np.repeat([0, 1], 5)
    flipped = np.array([True] + [False] * 8 + [True])
    case = peers.Bench(x, np.where(flipped, 1 - right, right), flipped, x, right, x, right, 2)
    figures = case.judged(np.where(flipped, 0.1, 0.9))
    assert figures == {
        "auc": 1.0, "f1": 1.0, "recall_at_count": 1.0, "removal_gain": 0.0, "test_all": 1.0, "clean_gain": 0.0
    }  # fmt: skip
    assert case.judged(np.where(flipped, 0.9, 0.1))["auc"] == 0.0
    assert case.accuracy(np.arange(10) < 1) == 0.5  # one class: always predicted
    assert case.accuracy(~flipped) == 1.0
    with pytest.raises(ValueError, match="2 of 10 values are not finite"):
        case.judged(np.where(flipped, np.nan, 0.9))
    assert set(case.shown()) == {"x", "y", "x_valid", "y_valid", "n_classes"}  # neither flips nor the test set


def test_noise_and_splits_follow_the_seed(peers):
    first, again, other = (peers.bench("breast_cancer", seed, 0.2, 0.1) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.flipped.sum() == 60
    clean = peers.bench("breast_cancer", 1, 0.2, 0.0)
    np.testing.assert_array_equal(clean.y, first.y)
    assert (clean.y_valid != first.y_valid).sum() == 6
