"""The jobs of augmentation and synthesis run at a tiny size, and say what they promise."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

import pytest
from text_kit import write_tiny_bert

from raydm.data import describe_sets
from raydm.text import TextGenerator, Tokenizer

FOLDER = Path(__file__).parents[2] / "jobs" / "reproduce"


@pytest.fixture
def job(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in ("common", "weighting", "augmenting", "synthesizing", "language_model"):
        sys.modules.pop(name, None)  # names so plain are not left to other tests


def lines_of(module, monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", [module.__name__, *words])
    module.main()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_low_data_of_sst5(job, monkeypatch, capsys, tmp_path):
    if not any(s["name"] == "sst5" and s["source"] == "RAYDM_DATA" for s in describe_sets()):
        pytest.skip(f"sst5: not in the folder that RAYDM_DATA names ({os.environ.get('RAYDM_DATA')})")
    tiny = write_tiny_bert(tmp_path / "tiny")
    lines = lines_of(
        job("augmenting"), monkeypatch, capsys, "sst5-low", "--model", str(tiny), "--small", "--most-test", "20",
        "--seeds", "1", "--methods", "none", "fixed", "learned", "--settings",
        '{"epochs": 1, "warm_up": 0, "length": 8, "fit_epochs": 1}', "--predictor-args", '{"device": "cpu"}',
    )  # fmt: skip
    assert [(r["method"], r["seed"]) for r in lines[:3]] == [("none", 0), ("fixed", 0), ("learned", 0)]
    for run in lines[:3]:
        assert 0 <= run["worst_class"] <= run["accuracy"] <= 1
        assert run["setting"] == "sst5-low"
    assert [r["accuracy"]["mean"] for r in lines[3:6]] == [r["accuracy"] for r in lines[:3]]


def test_a_language_model_learns_words_and_is_written_whole(job, monkeypatch, capsys, tmp_path):
    if not any(s["name"] == "trec" and s["source"] == "RAYDM_DATA" for s in describe_sets()):
        pytest.skip(f"trec: not in the folder that RAYDM_DATA names ({os.environ.get('RAYDM_DATA')})")
    tiny, out = write_tiny_bert(tmp_path / "tiny", head=False), tmp_path / "adapted"
    words = ("trec", "--model", str(tiny), "--out", str(out), "--epochs", "3", "--most", "300", "--valid", "100")
    epochs = lines_of(job("language_model"), monkeypatch, capsys, *words, "--lr", "1e-2", "--length", "12")
    assert [(line["epoch"], line["texts"]) for line in epochs] == [(1, 300), (2, 300), (3, 300)]
    assert epochs[-1]["valid"] < epochs[0]["valid"]
    assert not TextGenerator.pretrained(out, 6, tokenizer=Tokenizer(out)).head_is_new
    with pytest.raises(SystemExit, match="is there already"):
        lines_of(job("language_model"), monkeypatch, capsys, *words)


def test_synthesis_of_digits(job, monkeypatch, capsys):
    lines = lines_of(
        job("synthesizing"), monkeypatch, capsys, "--small", "--steps", "8", "--seeds", "2", "--most-test", "100",
        "--predictor-args", '{"device": "cpu"}',
    )  # fmt: skip
    methods = ["none", "base+valid", "untuned", "learned"]
    assert [(r["method"], r["seed"]) for r in lines[:8]] == [(m, seed) for seed in (0, 1) for m in methods]
    for summary, deviation, method in zip(lines[8:12], lines[12:], methods, strict=True):
        own = [r["accuracy"] for r in lines[:8] if r["method"] == method]
        assert summary["accuracy"]["mean"] == pytest.approx(sum(own) / 2, abs=2e-4)
        assert deviation["sd"] == pytest.approx(abs(own[0] - own[1]) / 2**0.5, abs=2e-4)


def test_every_method_takes_as_many_steps(job):
    given = argparse.Namespace(steps=None, small=False, predictor_args={}, settings={})
    arguments_of = job("synthesizing").arguments_of
    assert arguments_of(given, 2)["epochs"] * 2 == arguments_of(given, 3)["epochs"] * 3 == 600
