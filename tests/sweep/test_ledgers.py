"""The ledger of a sweep, and the table, the best trial and the config that are made of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from raydm.errors import RunError
from raydm.sweep.ledger import Ledger
from raydm.sweep.results import best, config_of, config_text, failed, table

IDENTITY = {"verb": "mix", "space": ["a=choice(1, 2)"]}


def row(trial: int, utility: float, **more: Any) -> dict[str, Any]:
    return {
        "trial": trial, "state": "finished", "settings": {"a": trial}, "chosen": {}, "utility": utility,
        "valid_score": -utility, "test_score": None, "seconds": 1.0, "steps": 3, "tries": 1, "curve": [], **more,
    }  # fmt: skip


def test_what_happened_is_read_back(tmp_path: Path) -> None:
    with Ledger(tmp_path / "work", IDENTITY, resume=False) as ledger:
        for number in range(3):
            ledger.begin(number, {"a": number})
        ledger.report(0, 4, 0.5)
        ledger.report(0, 8, 0.25)
        ledger.end(row(0, 0.1 + 0.2))
        ledger.end(failed(2, {"a": 2}, "no", 3))
    with pytest.raises(RunError, match=r"holds what an interrupted sweep has done. Add --resume"):
        Ledger(tmp_path / "work", IDENTITY, resume=False)
    with Ledger(tmp_path / "work", IDENTITY, resume=True) as again:
        assert again.ended == {0: row(0, 0.1 + 0.2), 2: failed(2, {"a": 2}, "no", 3)}
        assert again.open == {1: {"a": 1}}
        assert again.reports == {0: [(4, 0.5), (8, 0.25)]}
    with pytest.raises(RunError, match="is the work of another sweep: it differs in space"):
        Ledger(tmp_path / "work", {**IDENTITY, "space": ["a=choice(1, 3)"]}, resume=True)


def test_a_torn_end_is_cut_off_and_a_damaged_middle_is_told(tmp_path: Path) -> None:
    with Ledger(tmp_path, IDENTITY, resume=False) as ledger:
        ledger.end(row(0, 1.0))
        ledger.end(row(1, 2.0))
    file = tmp_path / "ledger"
    content = file.read_bytes()
    file.write_bytes(content[:-5])
    with pytest.warns(UserWarning, match="its last record was torn"), Ledger(tmp_path, IDENTITY, resume=True) as cut:
        assert [*cut.ended] == [0]
    middle = len(content) // 2
    file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(RunError, match="is damaged at byte"):
        Ledger(tmp_path, IDENTITY, resume=True)


def test_the_best_is_of_those_that_finished_by_utility_alone() -> None:
    rows = [
        row(0, 0.5, test_score=9.0), row(1, 0.7, test_score=1.0), row(2, 0.7, test_score=9.0),
        {**row(3, 0.9), "state": "stopped"}, failed(4, {"a": 4}, "its process died", 3),
    ]  # fmt: skip
    assert best(rows)["trial"] == 1
    with pytest.raises(RunError, match=r"None of the 1 trials finished. The first said: its process died"):
        best(rows[4:])


def test_the_config_holds_what_was_chosen_to_the_bit() -> None:
    one = row(
        0, 0.5, settings={"predictor.lr": 0.1 + 0.2, "reward_scale": 1e-5}, chosen={"threshold": 2 / 3, "pick": "most"}
    )
    config = config_of("mix", {"train": ["no2"], "predictor_args": {"steps": 3}, "steps": 2}, one)
    assert config == {
        "verb": "mix", "train": ["no2"], "predictor_args": {"steps": 3, "lr": 0.1 + 0.2}, "steps": 2,
        "reward_scale": 1e-5, "threshold": 2 / 3, "pick": "most",
    }  # fmt: skip
    text = config_text(config, one, 8)
    assert yaml.safe_load(text) == config
    assert text.startswith("# The best of 8 trials: number 0, utility 0.5 on the trusted rows.\n# raydm mix --config")


def test_the_table_keeps_numbers_as_numbers() -> None:
    rows = [
        row(0, 0.5, settings={"c": 0.25, "d": "std"}, chosen={"threshold": 0.5}),
        row(1, 0.6, settings={"c": 2, "d": 1.0}),
        failed(2, {"c": 4, "d": [1]}, "no", 3),
    ]
    found = table(rows).to_pylist()
    assert [(r["trial"], r["state"], r["c"], r["d"], r["threshold"], r["utility"], r["error"]) for r in found] == [
        (0, "finished", 0.25, "std", 0.5, 0.5, None),
        (1, "finished", 2.0, "1.0", None, 0.6, None),
        (2, "failed", 4.0, "[1]", None, None, "no"),
    ]
