"""How many trusted examples are needed: 10 to 400 of them, on digits and adult with 20 % of the labels flipped.

    RAYDM_DATA=... python jobs/reproduce/validation_size.py --plot validation_size.png
    python jobs/reproduce/validation_size.py --sets digits --valid 10 100 --seeds 2

A seed's training rows, flips and test rows are the same for every number of trusted rows: the first 10, 25, ... of 400
drawn. Three methods: `default`; `dvrl`, as published (it sees a model of the trusted rows, starts from nothing, is not
judged); and `validation`, that model's own opinion of each label, with nothing learned. Figures: how well values tell
flipped labels (`auc`, and `f1` of cutting the values in two clusters), and test accuracy of the predictor `weighted` by
them. `all` and `trusted` are test accuracies without values: of all rows alike, and of the trusted rows alone.

Prints a JSON line a run, one for each cell with mean, least and greatest, and a table; the plot shows means and ranges.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean

import numpy as np
from common import METHODS, Array, Row, encoded, judged, learn, over_seeds, parser, relabelled, report, scores, together
from matplotlib.figure import Figure

from raydm.data import Prepared, flip_labels, load_set
from raydm.metrics import discovery_auc, discovery_f1

TRAIN, MOST, NOISE = 1000, 400, 0.2
FIGURES = ("auc", "f1", "weighted")
NAMES = {"auc": "discovery AUC", "f1": "discovery F1", "weighted": "test accuracy, weighted by the values"}


def flipped_set(name: str, seed: int, train: int, most: int) -> tuple[Prepared, Array]:
    """The set with a share of its training labels flipped, and which these are: (N,)."""
    loaded = load_set(name, seed=seed, sizes=(train, most))
    tables = [part.drop_columns("id") for part in (loaded.train, loaded.valid, loaded.test)]
    right = encoded(*tables, loaded.label)
    y, flipped = flip_labels(right.train.y, NOISE, n_classes=right.labels.n_outputs, seed=seed)
    return relabelled(right, y), flipped


def one_seed(name: str, seed: int, train: int, sizes: list[int], methods: dict[str, Row]) -> Iterator[Row]:
    whole, flipped = flipped_set(name, seed, train, max(sizes))
    for m in sizes:
        prepared = dataclasses.replace(whole, valid=whole.valid.take(np.arange(m)))
        values: dict[str, Array] = {}
        seconds, verdicts = {}, {}
        for method, settings in methods.items():
            started = time.perf_counter()
            valuator = learn(prepared, seed, **settings)
            seconds[method], verdicts[method] = time.perf_counter() - started, judged(valuator)
            values[method] = valuator.values_
            if "validation" in valuator.inputs_:
                values["validation"] = valuator.inputs_["validation"]
        assert prepared.test is not None
        n = len(flipped)
        weights = {k: np.concatenate([v, np.zeros(m)]) for k, v in values.items()}
        weights |= {
            "all": np.concatenate([np.ones(n), np.zeros(m)]),
            "trusted": np.concatenate([np.zeros(n), np.ones(m)]),
        }
        found = scores(valuator.problem_, together(prepared.train, prepared.valid), weights, prepared.test, "accuracy")
        for method, v in values.items():
            yield {
                "set": name,
                "trusted_rows": m,
                "method": method,
                "seed": seed,
                "auc": discovery_auc(v, flipped),
                "f1": discovery_f1(v, flipped),
                "weighted": found[method],
                "all": found["all"],
                "trusted": found["trusted"],
                **verdicts.get(method, {}),
                "seconds": seconds.get(method),
            }


def table(rows: list[Row]) -> str:
    """Means over the seeds, in Markdown."""
    lines = [
        "| set | trusted rows | method | AUC | F1 | accuracy, weighted | all rows | trusted alone |",
        "|" + "---|" * 8,
    ]
    cells = dict.fromkeys((r["set"], r["trusted_rows"], r["method"]) for r in rows)
    for cell in cells:
        own = [r for r in rows if (r["set"], r["trusted_rows"], r["method"]) == cell]
        means = [f"{mean(r[k] for r in own):.3f}" for k in (*FIGURES, "all", "trusted")]
        lines.append("| " + " | ".join([*map(str, cell), *means]) + " |")
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Each figure against the number of trusted rows: means, with the seeds' range shaded."""
    sets = list(dict.fromkeys(r["set"] for r in rows))
    figure = Figure(figsize=(4.2 * len(FIGURES), 3.2 * len(sets) + 0.6), dpi=120, layout="constrained")
    grid = figure.subplots(len(sets), len(FIGURES), squeeze=False)
    for name, line in zip(sets, grid, strict=True):
        of_set = [r for r in rows if r["set"] == name]
        for what, axes in zip(FIGURES, line, strict=True):
            for k, method in enumerate(dict.fromkeys(r["method"] for r in of_set)):
                sizes, columns = by_size([r for r in of_set if r["method"] == method], what)
                axes.fill_between(
                    sizes, [min(c) for c in columns], [max(c) for c in columns], color=f"C{k}", alpha=0.15
                )
                axes.plot(sizes, [mean(c) for c in columns], marker="o", markersize=3, color=f"C{k}", label=method)
            for style, other in (("--", "all"), (":", "trusted")) if what == "weighted" else ():
                sizes, columns = by_size(of_set, other)
                axes.plot(sizes, [mean(c) for c in columns], style, color="gray", label=f"{other} rows, no values")
            axes.set(title=f"{name}: {NAMES[what]}", xscale="log", xlabel="trusted rows")
            axes.set_xticks(sizes, [str(m) for m in sizes])
            axes.minorticks_off()
    figure.legend(*grid[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def by_size(rows: list[Row], what: str) -> tuple[list[int], list[list[float]]]:
    """The numbers of trusted rows, rising, and the figure's values for each."""
    sizes = sorted({r["trusted_rows"] for r in rows})
    return sizes, [[r[what] for r in rows if r["trusted_rows"] == m] for m in sizes]


def kept(rows: Iterable[Row], into: list[Row]) -> Iterator[Row]:
    for row in rows:
        into.append(row)
        yield row


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sets", nargs="+", default=["digits", "adult"])
    arguments.add_argument("--valid", type=int, nargs="+", default=[10, 25, 50, 100, 200, MOST], metavar="M")
    arguments.add_argument("--train", type=int, default=TRAIN, metavar="N")
    arguments.add_argument("--plot", type=Path, default=Path("validation_size.png"), metavar="FILE")
    given = arguments.parse_args()
    common = {"predictor": given.predictor, "predictor_params": given.predictor_args, **given.settings}
    methods = {name: METHODS[name] | common for name in given.methods}
    rows: list[Row] = []
    for name in given.sets:
        one = lambda seed, name=name: one_seed(name, seed, given.train, sorted(given.valid), methods)
        report(kept(over_seeds(given, one), rows), ("set", "trusted_rows", "method"))
    print(table(rows))
    plot(rows, given.plot)


if __name__ == "__main__":
    main()
