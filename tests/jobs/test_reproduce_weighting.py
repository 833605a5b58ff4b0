"""The job of weighting runs at a tiny size, and says what it promises."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from text_kit import write_tiny_bert

from raydm.data import describe_sets

FOLDER = Path(__file__).parents[2] / "jobs" / "reproduce"


@pytest.fixture
def weighting(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("weighting")
    for name in ("common", "weighting", "weighting_tables"):
        sys.modules.pop(name, None)  # names so plain are not left to other tests


def needs(name):
    if not any(s["name"] == name and s["source"] == "RAYDM_DATA" for s in describe_sets()):
        pytest.skip(f"{name}: not in the folder that RAYDM_DATA names ({os.environ.get('RAYDM_DATA')})")


def test_low_data_of_sst5(weighting, monkeypatch, capsys, tmp_path):
    needs("sst5")
    tiny = write_tiny_bert(tmp_path / "tiny")
    monkeypatch.setattr(sys, "argv", [
        "weighting.py", "sst5-low", "--model", str(tiny), "--small", "--most-test", "40", "--seeds", "2", "--methods",
        "base", "weight", "--settings", '{"epochs": 1, "warm_up": 1}', "--predictor-args", '{"device": "cpu"}',
    ])  # fmt: skip
    weighting.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    runs, summaries, deviations = lines[:4], lines[4:6], lines[6:]
    assert [(r["method"], r["seed"]) for r in runs] == [("base", 0), ("weight", 0), ("base", 1), ("weight", 1)]
    for run in runs:
        assert 0 <= run["worst_class"] <= run["accuracy"] <= 1
        assert run["setting"] == "sst5-low"
    assert runs[0]["rare_share"] == pytest.approx(0.2)
    for summary, deviation, method in zip(summaries, deviations, ("base", "weight"), strict=True):
        own = [r["accuracy"] for r in runs if r["method"] == method]
        assert summary["accuracy"]["mean"] == pytest.approx(sum(own) / 2, abs=2e-4)
        assert deviation["sd"] == pytest.approx(abs(own[0] - own[1]) / 2**0.5, abs=2e-4)


def test_every_setting_names_a_set_and_its_rows(weighting):
    assert weighting.counts("sst2-50") == ("sst2", {"negative": 50, "positive": 1000}, {"negative": 10, "positive": 10})
    assert weighting.counts("trec-low") == ("trec", 40, 5)
    assert {weighting.counts(setting)[0] for setting in weighting.SETTINGS} == {
        "sst5",
        "sst2",
        "trec",
        "imdb",
        "cifar10",
    }


def test_tables_are_drawn_as_their_settings_say(weighting):
    drawn = importlib.import_module("weighting_tables").drawn
    (x, y), (xv, yv), (xt, yt) = drawn("digits", "clean", 20, 0)
    assert (len(x), len(xv), len(x) + len(xv) + len(xt)) == (500, 20, 1797)
    assert np.bincount(yv).tolist() == [2] * 10
    assert len(yt) == len(xt)
    (same, wrong), _, _ = drawn("digits", "wrong40", 20, 0)
    np.testing.assert_array_equal(same, x)
    assert 0.3 < (wrong != y).mean() < 0.5
    (_, rare), _, _ = drawn("digits", "rare", 20, 0)
    few, many = np.bincount(rare)[:5], np.bincount(rare)[5:]
    assert 1 <= few.min() <= few.max() < 12
    assert many.min() > 30


def test_a_job_of_tables(weighting, monkeypatch, capsys):
    job = importlib.import_module("weighting_tables")
    monkeypatch.setattr(sys, "argv", [
        "weighting_tables.py", "--sets", "breast_cancer", "--settings", "rare", "--trusted", "20", "--methods", "base",
        "--seeds", "1",
    ])  # fmt: skip
    job.main()
    run, summary = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert 0.6 < run["accuracy"] < 1
    assert summary["accuracy"]["mean"] == run["accuracy"]
