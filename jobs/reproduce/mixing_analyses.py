"""Why mixing helps where it does: limited linearity, sizes, ablations and options (Hwang, Whang 2021, section 5).

    RAYDM_DATA=... python jobs/reproduce/mixing_analyses.py linearity thin_film --seeds 5 --out runs/analyses
    RAYDM_DATA=... python jobs/reproduce/mixing_analyses.py ablations no2 --seeds 10 --stop holdout --out runs/analyses

`linearity`: how wrong interpolated labels are, by the distance of both rows' features and labels. What a label should
    be is said by the predictor, trained without both rows; it is trained on the trusted and the test rows, too.
`sizes`: test error with mixing and without, against the number of trusted rows and against that of training rows, the
    other one being as --sizes says. Smaller sets are the first rows of the larger ones; test rows are the same.
`ablations`: MixRL with options of both distances; with those by data alone (no label limit); with those by label alone
    (no data limit); and with partners from all rows (neither): mixup, whose alpha is chosen on the trusted rows.
`options`: sets of neighbour options, the same of both distances.

--methods names some of what is compared; in `sizes`, which method mixes. Sets, --stop and the rest are those of
jobs/reproduce/mixing.py. Prints a JSON line a run, then one for each cell with mean, least and greatest; writes
DIR/ANALYSIS-SET-STOP.json and .png, new files only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from common import Row, over_seeds, parser, report
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mixing import one_seed, parsed, prepared_set, stopping

from raydm import DataMixer
from raydm.data import Prepared
from raydm.mixing.methods import METHODS
from raydm.predictors import Stacked
from raydm.report.atomic import check_free, new_file
from raydm.report.linearity import linearity_evidence, plot_linearity
from raydm.report.run import dump

ANALYSES = ("linearity", "sizes", "ablations", "options")
ABLATIONS: Mapping[str, Row] = {
    "both limits": {},
    "no label limit": {"label_options": "none"},
    "no data limit": {"data_options": "none"},
    "neither (mixup)": {"method": "mixup"},
}
OPTIONS: Mapping[str, Row] = {
    name: {"data_options": name, "label_options": name}
    for name in ("1..16", "2^0..2^4", "2^0..2^7", "10..170:10", "1,4,16", "4")
}
SHARES = (0.125, 0.25, 0.5, 1.0)  # of the rows of --sizes
ENDS = {"nearest": 0, "farthest": -1}  # bins of pairs
UNITS = {"no2": "log concentration", "thin_film": "nm"}


def compared(given: argparse.Namespace) -> dict[str, Row]:
    """What is compared, by name: arguments of `DataMixer`."""
    if given.analysis == "linearity":
        return {}
    if given.analysis == "sizes":
        return {name: {"method": name} | given.settings for name in given.methods or ["mixrl"]}
    every = ABLATIONS if given.analysis == "ablations" else OPTIONS
    return {name: given.settings | every[name] for name in given.methods or every}


def first_rows(prepared: Prepared, train: int, valid: int) -> Prepared:
    """The same with the first so many training and trusted rows; encoded as all of them were."""
    return replace(prepared, train=prepared.train.take(np.arange(train)), valid=prepared.valid.take(np.arange(valid)))


def sizes_of(given: argparse.Namespace) -> list[tuple[int, int]]:
    """Training and trusted rows of each cell: one of both as --sizes says, and only then the other."""
    n, m = given.sizes
    if given.analysis != "sizes":
        return [(n, m)]
    return list(dict.fromkeys([(round(s * n), m) for s in SHARES] + [(n, round(s * m)) for s in SHARES]))


def runs(given: argparse.Namespace, predictor: Stacked) -> Iterator[Row]:
    """A row of each seed, size and method."""

    def one(seed: int) -> Iterator[Row]:
        whole = prepared_set(given.name, seed, given.sizes)
        for n, m in sizes_of(given):
            cell = {"set": given.name, "stop": given.stop, "training_rows": n, "trusted_rows": m}
            rows = one_seed(first_rows(whole, n, m), seed, compared(given), predictor, given.stop, given.test_repeats)
            yield from (cell | row for row in rows)

    yield from over_seeds(given, one)


def linear(given: argparse.Namespace, predictor: Stacked, into: list[Row]) -> Iterator[Row]:
    """Label error of near pairs, of far ones and of real rows, a row of each seed; all of the evidence goes `into`."""

    def one(seed: int) -> Iterator[Row]:
        prepared, watching = stopping(prepared_set(given.name, seed, given.sizes), seed, predictor, given.stop)
        mixer = DataMixer("none", random_state=seed, predictor=watching)
        for _ in mixer.iterate(prepared):
            pass
        found = linearity_evidence(mixer.problem_, prepared.train, mixer.pairs_, prepared.test)
        if found is None:
            raise SystemExit(f"--sizes: {len(prepared.train)} training rows are too few.")
        into.append({"seed": seed, **found})
        ends = {f"{end}_{by}": found[f"by_{by}"]["error"][k] for by in ("data", "label") for end, k in ENDS.items()}
        yield {"set": given.name, "stop": given.stop, "seed": seed, **ends, "real": found["real_rows"]["error"]}

    yield from over_seeds(given, one)


def averaged(found: Sequence[Any]) -> Any:
    """The mean of evidence over the seeds, leaf by leaf; the standard error of that mean where there are several."""
    first = found[0]
    if isinstance(first, Mapping):
        means = {name: averaged([f[name] for f in found]) for name in first}
        if len(found) > 1 and "standard_error" in first:
            deviation = np.ma.std(_known([f["error"] for f in found]), axis=0, ddof=1)
            means["standard_error"] = np.ma.filled(deviation / len(found) ** 0.5, np.nan).tolist()
        return means
    return None if first is None else np.ma.filled(np.ma.mean(_known(found), axis=0), np.nan).tolist()


def _known(values: Sequence[Any]) -> Any:
    return np.ma.masked_invalid(np.array(values, dtype=np.float64))


def plot_methods(rows: list[Row], path: Path, title: str) -> None:
    """Each method's test error over that without mixing: every seed, and means with their standard errors."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(7, 1.7 + 0.4 * len(names)), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color="black", linestyle="--", linewidth=1)
    for k, name in enumerate(names):
        ratios = [row["ratio"] for row in rows if row["method"] == name]
        axes.plot(ratios, [k] * len(ratios), "o", markersize=4, alpha=0.4, color="gray")
        axes.errorbar(mean(ratios), k, xerr=deviation(ratios), marker="D", capsize=3, color="C0", zorder=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="test RMSE over that without mixing (left of 1: mixing helps)")
    axes.set_title(f"{title}\nmean and its standard error; gray: every seed", fontsize=10)
    axes.grid(axis="x", alpha=0.25)
    figure.savefig(path, format="png")


def plot_sizes(rows: list[Row], path: Path, title: str, unit: str) -> None:
    """RMSE with mixing and without, and their ratio, against the trusted rows and against the training rows."""
    most = {what: max(row[what] for row in rows) for what in ("trusted_rows", "training_rows")}
    figure = Figure(figsize=(10, 7), dpi=120, layout="constrained")
    figure.suptitle(f"{title}; means and their standard errors", fontsize=11)
    grid = figure.subplots(2, 2, sharex="col")
    for column, (what, other) in enumerate((("trusted_rows", "training_rows"), ("training_rows", "trusted_rows"))):
        own = [row for row in rows if row[other] == most[other]]
        methods = list(dict.fromkeys(row["method"] for row in own))
        curve(grid[0, column], own, what, "rmse_none", methods[:1], "no mixing", color="gray")
        for k, method in enumerate(methods):
            curve(grid[0, column], own, what, "rmse", [method], method, color=f"C{k}")
            curve(grid[1, column], own, what, "ratio", [method], method, color=f"C{k}")
        grid[1, column].axhline(1, color="black", linestyle="--", linewidth=1)
        known = sorted({row[what] for row in own})
        grid[1, column].set(xscale="log", xlabel=what.replace("_", " "))
        grid[1, column].set_xticks(known, [str(n) for n in known])
        grid[1, column].minorticks_off()
        grid[0, column].set_title(f"with {most[other]} {other.replace('_', ' ')}", fontsize=10)
    grid[0, 0].set_ylabel(f"test RMSE ({unit})")
    grid[1, 0].set_ylabel("test RMSE over that without mixing")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, format="png")


def curve(axes: Axes, rows: list[Row], what: str, figure: str, methods: Sequence[str], label: str, color: str) -> None:
    """Means over the seeds with their standard errors."""
    sizes = sorted({row[what] for row in rows})
    values = [[row[figure] for row in rows if row[what] == n and row["method"] in methods] for n in sizes]
    axes.errorbar(
        sizes, [mean(v) for v in values], [deviation(v) for v in values], marker="o", markersize=4, capsize=3,
        color=color, label=label,
    )  # fmt: skip
    axes.grid(alpha=0.25)


def deviation(values: list[float]) -> float:
    """The standard error of a mean; 0 of one value."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def kept(rows: Iterable[Row], into: list[Row]) -> Iterator[Row]:
    for row in rows:
        into.append(row)
        yield row


def main() -> None:
    arguments = parser(__doc__, seeds=10, methods=())
    arguments.add_argument("analysis", choices=ANALYSES)
    arguments.add_argument("--out", type=Path, default=Path("runs/analyses"), metavar="DIR")
    given, predictor = parsed(arguments)
    known = {"linearity": (), "sizes": METHODS, "ablations": ABLATIONS, "options": OPTIONS}[given.analysis]
    if not {*given.methods} <= {*known}:
        arguments.error(f"--methods: {given.analysis} knows {', '.join(known) or 'none'}")
    files = [given.out / f"{given.analysis}-{given.name}-{given.stop}.{kind}" for kind in ("json", "png")]
    for file in files:
        check_free(file)

    rows: list[Row] = []
    title = f"{given.analysis}: {given.name}, {given.seeds} seeds, --stop {given.stop}"
    told: Row = {"arguments": {**vars(given), "out": str(given.out)}}
    if given.analysis == "linearity":
        report(linear(given, predictor, rows), ("set", "stop"))
        told |= {"mean": averaged([{k: v for k, v in row.items() if k != "seed"} for row in rows]), "seeds": rows}
        draw = lambda file: plot_linearity(told["mean"], file, title)
    else:
        cell = ("set", "stop", "training_rows", "trusted_rows", "method")
        report(kept(runs(given, predictor), rows), cell)
        told |= {"compared": compared(given), "rows": rows}
        draw = lambda file: (
            plot_sizes(rows, file, title, UNITS[given.name])
            if given.analysis == "sizes"
            else plot_methods(rows, file, title)
        )
    for file, write in zip(files, (lambda file: dump(file, told), draw), strict=True):
        with new_file(file) as temporary:
            write(temporary)


if __name__ == "__main__":
    main()
