"""What a run of mixing shows, worked out by hand; and that the plot is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from raydm.data.examples import Examples
from raydm.mixing.learned_neighbors import LearnedNeighbors
from raydm.mixing.mixer import Mixer
from raydm.mixing.options import Options
from raydm.mixing.partners import NoPartners, RandomPartners, SameNeighbors
from raydm.mixing.shares import FixedShares
from raydm.networks import MixingEstimator
from raydm.report.mixing import draw_neighbors, mixing_evidence, plot_mixing

X = np.array([[0.0], [1], [3], [10]], np.float32)
TRAIN = Examples(X, X[:, 0], np.arange(4))
FIGURES = {"rmse": 1.0, "r2": 0.5, "rmse_none": 2.0, "r2_none": 0.0, "ratio": 0.5}
CANDIDATES = [{"k": 1, "mixed_rows": 3, "utility": -0.5}, {"k": 0, "mixed_rows": 0, "utility": -1.0}]


def evidence(partners: Any) -> dict[str, Any]:
    mixer = Mixer(partners, FixedShares())
    return mixing_evidence(mixer, mixer.pairs(TRAIN, 0), TRAIN, CANDIDATES, FIGURES, "test")


class Told(LearnedNeighbors):
    """h of the options (data 1, data 2, label 3) is sigmoid(x - 2), sigmoid(4 - x) and sigmoid(-9) for a row at x."""

    def h(self, examples: Examples) -> Any:
        x = examples.x[:, 0]
        return 1 / (1 + np.exp(-np.stack([x - 2, 4 - x, np.full(len(x), -9.0)], 1)))


def learned(threshold: float) -> LearnedNeighbors:
    unused = MixingEstimator(1, 1, 3), (torch.zeros(1), torch.ones(1))
    return Told(*unused, Options((1, 2), (3,)), threshold)


CURVE = {"distance": [0.5, 2], "error": [0.1, None], "standard_error": [0.01, None]}
LINEARITY = {"real_rows": {"error": 0.2}, "mixed_rows": None, "by_data": CURVE, "by_label": CURVE}


def test_every_row_takes_its_k_also_where_neighbours_are_mutual() -> None:
    # The nearest of 0 and 1 are each other: one mixed row, of which both are parents. 3's is 1, and 10's is 3.
    found = evidence(SameNeighbors("data", 1))
    assert found["neighbors"] == {"data": {"neighbors": [1], "rows": [4]}}
    assert len(Mixer(SameNeighbors("data", 1), FixedShares()).pairs(TRAIN, 0)) == 3


def test_how_many_rows_take_how_many_by_what_was_learned() -> None:
    # By data the rows at 0, 1, 3, 10 have h of (-2, 4), (-1, 3), (1, 1) and (8, -6) as log-odds: the first of equals
    # wins, so they take 2, 2, 1 and 1. At a threshold of sigmoid(2) only the logits 4, 3 and 8 are above.
    assert evidence(learned(0.0))["neighbors"] == {
        "data": {"neighbors": [1, 2], "rows": [2, 2]},
        "label": {"neighbors": [3], "rows": [4]},
    }
    assert evidence(learned(1 / (1 + np.exp(-2.0))))["neighbors"] == {
        "data": {"neighbors": [0, 1, 2], "rows": [1, 1, 2]},
        "label": {"neighbors": [0], "rows": [4]},
    }


def test_draws_are_counted_by_the_row_that_they_are_of() -> None:
    # Three draws a row of four: at lambda = 1/2 those that make one row stand once, and are of the lower draw.
    found = evidence(RandomPartners(3))["neighbors"]["random"]
    pairs = Mixer(RandomPartners(3), FixedShares()).pairs(TRAIN, 0)
    assert sum(found["rows"]) == 4
    assert sum(n * rows for n, rows in zip(found["neighbors"], found["rows"], strict=True)) == len(pairs)


def test_what_else_it_holds() -> None:
    found = evidence(NoPartners())
    expected = {"judge": "test", "scores": FIGURES, "candidates": CANDIDATES, "neighbors": {}, "linearity": None}
    assert found == expected
    for partners in (NoPartners(), RandomPartners(2), SameNeighbors("label", 2), learned(0.0)):
        found = evidence(partners)
        assert json.loads(json.dumps(found)) == found


def test_the_histogram_shows_every_number_that_occurs() -> None:
    axes = Figure().subplots()
    draw_neighbors(
        axes,
        {"data": {"neighbors": [0, 10], "rows": [3, 1]}, "label": {"neighbors": [10, 170], "rows": [2, 2]}},
    )
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "10", "170"]
    bars = [(round(bar.get_x() + bar.get_width() / 2), bar.get_height()) for bar in axes.patches]
    assert bars == [(0, 3), (1, 1), (1, 2), (2, 2)]


@pytest.mark.parametrize("linearity", [None, LINEARITY], ids=["", "linearity"])
@pytest.mark.parametrize("partners", [NoPartners(), SameNeighbors("data", 2), learned(0.5)], ids=["none", "all", "own"])
@pytest.mark.parametrize("candidates", [CANDIDATES, []], ids=["chosen", "given"])
def test_the_plot_is_a_picture(
    tmp_path: Path, partners: Any, candidates: list[dict[str, Any]], linearity: dict[str, Any] | None
) -> None:
    found = {**evidence(partners), "candidates": candidates, "linearity": linearity}
    plot_mixing(found, tmp_path / "mixing.png", "a title")
    picture = imread(tmp_path / "mixing.png")
    assert picture.shape[0] > 300 < picture.shape[1]
    assert picture.std() > 0.05
