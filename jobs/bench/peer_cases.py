"""The arrays that every method of peers.py is given, and the figures by which its values are judged."""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from raydm.data import flip_labels, load_set, prepare
from raydm.metrics import discovery_auc, discovery_f1, discovery_recall_at_count

Array = np.ndarray[Any, Any]

COMPONENTS = {"fashion_mnist": 50}  # sets whose rows are reduced by a PCA of the training rows
REMOVED = 0.2
FIGURES = ("auc", "f1", "recall_at_count", "removal_gain", "seconds")


@dataclass(frozen=True)
class Bench:
    """A split with its noise.

    Attributes:
        x: (N, D) float32 training features.
        y: (N,) int64 training labels, some flipped.
        flipped: (N,) bool, which.
        x_valid: (M, D) trusted features.
        y_valid: (M,) trusted labels, some flipped where validation noise is asked for.
        x_test: (T, D) test features.
        y_test: (T,) test labels, right.
        n_classes: C.
    """

    x: Array
    y: Array
    flipped: Array
    x_valid: Array
    y_valid: Array
    x_test: Array
    y_test: Array
    n_classes: int

    def shown(self) -> dict[str, Any]:
        """What a method may look at."""
        return {"x": self.x, "y": self.y, "x_valid": self.x_valid, "y_valid": self.y_valid, "n_classes": self.n_classes}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what a method may look at."""
        digest = hashlib.blake2b(digest_size=8)
        for key, value in self.shown().items():
            digest.update(key.encode() + np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

    @functools.cached_property
    def accuracy_of_all(self) -> float:
        """Test accuracy of a logistic regression on all rows."""
        return self.accuracy(np.ones(len(self.y), bool))

    @functools.cached_property
    def accuracy_of_clean(self) -> float:
        """Test accuracy of a logistic regression on the rows that were not flipped."""
        return self.accuracy(~self.flipped)

    def accuracy(self, kept: Array) -> float:
        """Test accuracy of a logistic regression trained on some rows (N,) bool."""
        y = self.y[kept]
        if len(np.unique(y)) < 2:
            return float((self.y_test == y[0]).mean())
        return float(LogisticRegression(max_iter=1000).fit(self.x[kept], y).score(self.x_test, self.y_test))

    def judged(self, values: Array) -> dict[str, float]:
        """The figures of (N,) values, higher is better."""
        if not np.isfinite(values).all():
            raise ValueError(f"{int((~np.isfinite(values)).sum())} of {len(values)} values are not finite")
        kept = np.ones(len(self.y), bool)
        kept[np.argsort(values, kind="stable")[: round(REMOVED * len(values))]] = False
        return {
            "auc": discovery_auc(values, self.flipped),
            "f1": discovery_f1(values, self.flipped),
            "recall_at_count": discovery_recall_at_count(values, self.flipped),
            "removal_gain": self.accuracy(kept) - self.accuracy_of_all,
            "test_all": self.accuracy_of_all,
            "clean_gain": self.accuracy_of_clean - self.accuracy_of_all,
        }


@functools.lru_cache(maxsize=1)
def arrays(name: str, seed: int) -> tuple[list[Array], list[Array], int]:
    """Encoded features and right labels of training, validation and test set, and C."""
    loaded = load_set(name, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # public sets hold some rows twice; no matter in a comparison
        prepared = prepare(loaded.train, loaded.valid, loaded.test, label=loaded.label, id="id")
    assert prepared.test is not None
    sets = (prepared.train, prepared.valid, prepared.test)
    xs, ys = [part.x for part in sets], [np.asarray(part.y, np.int64) for part in sets]
    if name in COMPONENTS:
        reduce = PCA(COMPONENTS[name], svd_solver="full").fit(xs[0])
        xs = [reduce.transform(x).astype(np.float32) for x in xs]
    return xs, ys, prepared.labels.n_outputs


def bench(name: str, seed: int, noise: float, valid_noise: float) -> Bench:
    """A split of a named set with a share of its training labels, and of its trusted ones, flipped."""
    (x, x_valid, x_test), (clean, y_valid, y_test), n_classes = arrays(name, seed)
    y, flipped = flip_labels(clean, noise, n_classes=n_classes, seed=seed)
    y_valid, _ = flip_labels(y_valid, valid_noise, n_classes=n_classes, seed=seed + 1)
    return Bench(x, y, flipped, x_valid, y_valid, x_test, y_test, n_classes)


def summaries(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line per set, noise, validation noise and method: mean, least and greatest of each figure over the seeds."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["set"], row["noise"], row["valid_noise"], row["method"]), []).append(row)
    lines = []
    for (name, noise, valid_noise, method), members in groups.items():
        line = {"set": name, "noise": noise, "valid_noise": valid_noise, "method": method}
        line["versions"] = sorted({row["version"] for row in members})
        line["errors"] = sorted({row["error"] for row in members if "error" in row})
        good = [row for row in members if "error" not in row]
        line["seeds"] = len(good)
        for figure in (*FIGURES, "test_all", "clean_gain"):
            known = [row[figure] for row in good if row.get(figure) is not None]
            line[figure] = spread(known) if known else None
        lines.append(line)
    return lines


def spread(known: list[float]) -> dict[str, float]:
    return {"mean": round(float(np.mean(known)), 4), "min": round(min(known), 4), "max": round(max(known), 4)}


def markdown(lines: list[dict[str, Any]]) -> str:
    """One table, the best AUC first within each set and noise."""
    text = [
        "| set | noise | method | seeds | AUC mean (min, max) | F1, 2 clusters | recall at the true count "
        "| removal gain | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        cells.setdefault((line["set"], line["noise"], line["valid_noise"]), []).append(line)
    for (name, noise, valid_noise), members in cells.items():
        share = f"{noise:g}" + (f" (trusted {valid_noise:g})" if valid_noise else "")
        for line in sorted(members, key=lambda line: -line["auc"]["mean"] if line["auc"] else 1.0):
            figures = " | ".join(told(line[figure], figure) for figure in FIGURES)
            failed = f"; failed: {'; '.join(line['errors'])}" if line["errors"] else ""
            text.append(f"| {name} | {share} | {line['method']}{failed} | {line['seeds']} | {figures} |")
        known = next((line for line in members if line["clean_gain"]), None)
        if known:
            without = f"*without the flipped; test accuracy of all rows: {known['test_all']['mean']:.3f}*"
            gain = f"{known['clean_gain']['mean']:+.3f}"
            text.append(f"| {name} | {share} | {without} | {known['seeds']} | | | | {gain} | |")
    return "\n".join(text)


def told(figure: dict[str, float] | None, name: str) -> str:
    if figure is None:
        return ""
    if name == "seconds":
        return f"{figure['mean']:.1f}"
    if name == "removal_gain":
        return f"{figure['mean']:+.3f} ({figure['min']:+.3f}, {figure['max']:+.3f})"
    return f"{figure['mean']:.3f} ({figure['min']:.3f}, {figure['max']:.3f})"


def read_rows(lines: list[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The results that a file holds, by what they are results of; of several the last."""
    rows = (json.loads(line) for line in lines if line.endswith("}\n"))  # half a line of an interrupted run is none
    return {(r["set"], r["noise"], r["valid_noise"], r["seed"], r["method"]): r for r in rows}
