"""DVRL over seeds on a named set: discovery of flipped labels, and test scores after removing by value.

    python jobs/reproduce/dvrl.py digits                 # 1000 / 100, 20 % flips, logistic regression
    python jobs/reproduce/dvrl.py adult                  # 1000 / 400; needs RAYDM_DATA
    python jobs/reproduce/dvrl.py digits --evidence validation            # no evidence beyond the paper's
    python jobs/reproduce/dvrl.py digits --evidence validation --judge 0  # ... and what was learned, whatever it is
    python jobs/reproduce/dvrl.py digits --paper         # the paper's settings: moving average, one rollout, ...

Each seed draws its own split, flips and learning. One JSON line a seed, then one with mean, least and greatest.
Arguments that it does not know itself go to `raydm value`, such as `--predictor mlp`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from raydm.cli import main as raydm

PAPER = ["--baseline", "moving-average", "--rollouts", "1", "--outer-batch", "1000", "--steps", "2000",
         "--reward-scale", "1", "--no-anneal", "--mean-bounds", "0.1", "0.9",
         "--evidence", "validation", "--start", "nothing", "--judge", "0"]  # fmt: skip


def one_seed(name: str, seed: int, noise: float, more: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        printed, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            status = raydm(
                ["value", name, "--noise", str(noise), "--seed", str(seed), "--quiet", "--out", str(out), *more]
            )
        if status != 0:
            raise SystemExit(f"raydm value failed on seed {seed}:\n{said.getvalue()}")
        line = json.loads(printed.getvalue())
        evidence = json.loads((out / "evidence.json").read_text())
    discovery, removal = evidence["discovery"], evidence["removal"]
    recall = dict(zip(discovery["inspected"], discovery["recall"]["values"], strict=True))
    lowest = dict(zip(removal["removed"], removal["lowest"]["values"], strict=True))
    return {
        "seed": seed,
        "discovery_auc": line["discovery_auc"],
        "auc_marginal_information": line["inputs"]["validation"],
        "auc_best_input": max(line["inputs"].values()),
        "f1": line["discovery_f1"],
        "recall_at_20": recall[0.2],
        "recall_at_40": recall[0.4],
        "test_all": lowest[0.0],
        "test_without_lowest_20": lowest[0.2],
        "test_weighted": line["test_score"],
        "seconds": line["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("name")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--first-seed", type=int, default=0, help="defaults were chosen on seeds 0 to 9; judge on others"
    )
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument("--paper", action="store_true")
    arguments, more = parser.parse_known_args()
    rows = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        rows.append(one_seed(arguments.name, seed, arguments.noise, (PAPER if arguments.paper else []) + more))
        print(json.dumps({k: round(v, 4) for k, v in rows[-1].items()}), flush=True)
    columns = {k: [row[k] for row in rows] for k in rows[0] if k != "seed"}
    summary = {
        k: {"mean": round(mean(v), 4), "min": round(min(v), 4), "max": round(max(v), 4)} for k, v in columns.items()
    }
    print(
        json.dumps(
            {
                "set": arguments.name,
                "first_seed": arguments.first_seed,
                "seeds": arguments.seeds,
                "noise": arguments.noise,
                **summary,
            }
        )
    )


if __name__ == "__main__":
    main()
