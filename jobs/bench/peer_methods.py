"""The peers, each used as its documentation says; and the worker in which peers.py runs them.

This module knows nothing of raydm: pyDVL and OpenDataVal ask for older packages (numpy below 2) than raydm does, so
they live in an environment of their own; arrays go there and values come back:

    python -m venv PEERS && PEERS/bin/pip install -r jobs/bench/peers.txt

A worker reads one JSON request a line, `{"arrays": FILE, "method": NAME, "seed": SEED}`, and answers with one JSON
line, `{"values": [...], "seconds": S}` or `{"error": TEXT}`. It is not told which labels were flipped.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

Array = np.ndarray[Any, Any]

FOLDS = 5  # as in cleanlab's tutorials
TREES = 300
PERMUTATIONS = 20  # of truncated Monte Carlo Shapley: at most 20,000 trainings on 1,000 rows
SUBSETS = 2000  # of Data Banzhaf
MODULES = {  # distribution -> what is imported before the clock starts
    "cleanlab": ("cleanlab.rank",),
    "pyDVL": ("pydvl.valuation",),
    "opendataval": ("opendataval.dataval", "opendataval.model", "opendataval.metrics"),
}


@dataclass
class Case:
    """What a method may look at: N training rows with noisy labels, M trusted rows.

    Attributes:
        x: (N, D) float32.
        y: (N,) int64 in [0, C).
        x_valid: (M, D) float32.
        y_valid: (M,) int64.
        n_classes: C.
        seed: of the method's own draws.
        kept: out-of-fold probabilities by model, with the seconds that they took; several methods read them.
        owed: seconds of what was taken from `kept`.
    """

    x: Array
    y: Array
    x_valid: Array
    y_valid: Array
    n_classes: int
    seed: int
    kept: dict[tuple[str, bool], tuple[Array, float]] = field(default_factory=dict)
    owed: float = 0.0

    def out_of_fold(self, name: str, *, trusted: bool) -> Array:
        """(N, C) probabilities from models that did not see the row; with `trusted`, they also saw the trusted rows."""
        if (name, trusted) in self.kept:
            probabilities, seconds = self.kept[name, trusted]
            self.owed += seconds
            return probabilities
        started = time.perf_counter()
        probabilities = np.zeros((len(self.y), self.n_classes))
        for rest, held in StratifiedKFold(FOLDS).split(self.x, self.y):
            x, y = self.x[rest], self.y[rest]
            if trusted:
                x, y = np.concatenate([x, self.x_valid]), np.concatenate([y, self.y_valid])
            fitted = model(name, self.seed).fit(x, y)
            probabilities[np.ix_(held, fitted.classes_)] = fitted.predict_proba(self.x[held])
        self.kept[name, trusted] = probabilities, time.perf_counter() - started
        return probabilities


@dataclass(frozen=True)
class Peer:
    """A method of another package.

    Attributes:
        package: its distribution's name.
        values: a case -> (N,) values, higher is better.
        validation: whether it looks at the trusted rows.
        expensive: whether it takes minutes a case.
    """

    package: str
    values: Callable[[Case], Array]
    validation: bool = False
    expensive: bool = False


def model(name: str, seed: int) -> Any:
    if name == "logistic":
        return LogisticRegression(max_iter=1000)
    if name == "forest":
        return RandomForestClassifier(TREES, random_state=seed)
    return HistGradientBoostingClassifier(random_state=seed)


def label_quality(name: str, score: str = "self_confidence", *, trusted: bool = False) -> Callable[[Case], Array]:
    """cleanlab's label quality from out-of-fold probabilities, the way its tutorials go."""

    def values(case: Case) -> Array:
        from cleanlab.rank import get_label_quality_scores

        return get_label_quality_scores(case.y, case.out_of_fold(name, trusted=trusted), method=score)

    return values


def datalab(case: Case) -> Array:
    """cleanlab's Datalab given features alone: it takes probabilities from nearest neighbours."""
    from cleanlab import Datalab

    lab = Datalab(data={"y": case.y}, label_name="y", verbosity=0)
    lab.find_issues(features=case.x, issue_types={"label": {}})
    return lab.get_issues("label")["label_score"].to_numpy()


def pydvl_knn(case: Case) -> Array:
    from pydvl.valuation import Dataset, KNNShapleyValuation

    valuation = KNNShapleyValuation(
        KNeighborsClassifier(n_neighbors=5), Dataset(case.x_valid, case.y_valid), progress=False
    )
    return valuation.fit(Dataset(case.x, case.y)).result.values


def pydvl_oob(bagging: Callable[[int], Any]) -> Callable[[Case], Array]:
    """Data-OOB of a bagging model that is made from a seed."""

    def values(case: Case) -> Array:
        from pydvl.valuation import DataOOBValuation, Dataset

        fitted = bagging(case.seed).fit(case.x, case.y)
        return DataOOBValuation(fitted).fit(Dataset(case.x, case.y)).result.values

    return values


def pydvl_game(make: Callable[[Any, int], Any]) -> Callable[[Case], Array]:
    """A semi-value whose utility is the accuracy on the trusted rows of a logistic regression."""

    def values(case: Case) -> Array:
        from pydvl.valuation import Dataset, ModelUtility, SupervisedScorer

        scorer = SupervisedScorer("accuracy", Dataset(case.x_valid, case.y_valid), default=0.0, range=(0, 1))
        utility = ModelUtility(model("logistic", case.seed), scorer, show_warnings=False)
        return make(utility, case.seed).fit(Dataset(case.x, case.y)).result.values

    return values


def loo(utility: Any, seed: int) -> Any:
    from pydvl.valuation import LOOValuation

    return LOOValuation(utility)


def tmc_shapley(utility: Any, seed: int) -> Any:
    from pydvl.valuation import MinUpdates, RelativeTruncation, TMCShapleyValuation

    truncation = RelativeTruncation(rtol=0.01, burn_in_fraction=0.4)  # pyDVL's own defaults
    return TMCShapleyValuation(utility, truncation, MinUpdates(PERMUTATIONS), seed=seed)


def banzhaf(utility: Any, seed: int) -> Any:
    from pydvl.valuation import MaxSamples, MSRBanzhafValuation

    valuation = MSRBanzhafValuation(utility, None, seed=seed)
    valuation.is_done = MaxSamples(valuation.sampler, SUBSETS)
    return valuation


def pydvl_influence(case: Case) -> Array:
    """How much the loss on the trusted rows falls when a row is weighted up, by pyDVL's direct solution.

    The model is a logistic regression with scikit-learn's own penalty, trained to its optimum.
    """
    import torch
    from pydvl.influence import InfluenceMode
    from pydvl.influence.torch import DirectInfluence

    x, y, x_valid, y_valid = (torch.from_numpy(a) for a in (case.x, case.y, case.x_valid, case.y_valid))
    linear, loss, penalty = torch.nn.Linear(x.shape[1], case.n_classes), torch.nn.functional.cross_entropy, 1 / len(x)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        total = loss(linear(x), y) + penalty / 2 * sum(p.square().sum() for p in linear.parameters())
        total.backward()
        return total

    optimizer.step(closure)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=len(x))
    influence = DirectInfluence(linear, loss, regularization=penalty).fit(rows)
    return influence.influences(x_valid, y_valid, x, y, mode=InfluenceMode.Up).mean(0).detach().numpy()


def opendataval(name: str, **arguments: Any) -> Callable[[Case], Array]:
    """An evaluator of OpenDataVal; where it takes a model, scikit-learn's logistic regression, as in its benchmark."""

    def values(case: Case) -> Array:
        import torch
        from opendataval import dataval
        from opendataval.metrics import accuracy
        from opendataval.model import ClassifierSkLearnWrapper

        torch.manual_seed(case.seed)
        evaluator = getattr(dataval, name)(random_state=np.random.RandomState(case.seed), **arguments)
        one_hot = [
            torch.nn.functional.one_hot(torch.from_numpy(y), case.n_classes).float() for y in (case.y, case.y_valid)
        ]
        evaluator.input_data(torch.from_numpy(case.x), one_hot[0], torch.from_numpy(case.x_valid), one_hot[1])
        if isinstance(evaluator, dataval.ModelMixin):
            wrapped = ClassifierSkLearnWrapper(LogisticRegression, case.n_classes, max_iter=1000)
            evaluator.input_model_metric(wrapped, accuracy)
        evaluator.train_data_values()
        return np.asarray(evaluator.evaluate_data_values())

    return values


PEERS: dict[str, Peer] = {
    "cleanlab logistic": Peer("cleanlab", label_quality("logistic")),
    "cleanlab logistic, margin": Peer("cleanlab", label_quality("logistic", "normalized_margin")),
    "cleanlab logistic + trusted": Peer("cleanlab", label_quality("logistic", trusted=True), validation=True),
    "cleanlab logistic + trusted, margin": Peer(
        "cleanlab", label_quality("logistic", "normalized_margin", trusted=True), validation=True
    ),
    "cleanlab forest": Peer("cleanlab", label_quality("forest")),
    "cleanlab forest, margin": Peer("cleanlab", label_quality("forest", "normalized_margin")),
    "cleanlab forest + trusted": Peer("cleanlab", label_quality("forest", trusted=True), validation=True),
    "cleanlab forest + trusted, margin": Peer(
        "cleanlab", label_quality("forest", "normalized_margin", trusted=True), validation=True
    ),
    "cleanlab boosting": Peer("cleanlab", label_quality("boosting")),
    "cleanlab Datalab (neighbours)": Peer("cleanlab", datalab),
    "pyDVL KNN-Shapley": Peer("pyDVL", pydvl_knn, validation=True),
    "pyDVL Data-OOB forest": Peer("pyDVL", pydvl_oob(lambda seed: model("forest", seed))),
    "pyDVL Data-OOB forest 1000": Peer(
        "pyDVL", pydvl_oob(lambda seed: RandomForestClassifier(1000, random_state=seed)), expensive=True
    ),
    "pyDVL Data-OOB logistic": Peer(
        "pyDVL", pydvl_oob(lambda seed: BaggingClassifier(model("logistic", seed), 100, random_state=seed))
    ),
    "pyDVL influence": Peer("pyDVL", pydvl_influence, validation=True),
    "pyDVL LOO": Peer("pyDVL", pydvl_game(loo), validation=True, expensive=True),
    "pyDVL TMC-Shapley": Peer("pyDVL", pydvl_game(tmc_shapley), validation=True, expensive=True),
    "pyDVL Banzhaf MSR": Peer("pyDVL", pydvl_game(banzhaf), validation=True, expensive=True),
    "OpenDataVal KNN-Shapley": Peer("opendataval", opendataval("KNNShapley"), validation=True),
    "OpenDataVal LAVA": Peer("opendataval", opendataval("LavaEvaluator"), validation=True),
    "OpenDataVal DVRL": Peer("opendataval", opendataval("DVRL"), validation=True),
    "OpenDataVal Data-OOB": Peer("opendataval", opendataval("DataOob"), expensive=True),
    "OpenDataVal Banzhaf": Peer("opendataval", opendataval("DataBanzhaf"), validation=True, expensive=True),
    "OpenDataVal influence subsample": Peer(
        "opendataval", opendataval("InfluenceSubsample"), validation=True, expensive=True
    ),
    "OpenDataVal AME": Peer("opendataval", opendataval("AME"), validation=True, expensive=True),
}


def versions() -> dict[str, str | None]:
    """Each peer package's version here; None where it is not installed."""
    found: dict[str, str | None] = {}
    for package in MODULES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def answer(case: Case, name: str) -> dict[str, Any]:
    """The values of one method and the seconds that they took."""
    peer = PEERS[name]
    for module in MODULES[peer.package]:
        importlib.import_module(module)
    case.owed = 0.0
    started = time.perf_counter()
    values = np.asarray(peer.values(case), dtype=np.float64)
    seconds = time.perf_counter() - started + case.owed
    if values.shape != case.y.shape:
        raise ValueError(f"{name} gave values of shape {values.shape} for {len(case.y)} rows.")
    return {"values": values.tolist(), "seconds": seconds}


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print must not mix with the replies
    warnings.simplefilter("ignore")

    def say(reply: dict[str, Any]) -> None:
        print(json.dumps(reply), file=replies, flush=True)

    say({"versions": versions()})
    opened: tuple[str, Case] | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if opened is None or opened[0] != request["arrays"]:
            with np.load(request["arrays"]) as arrays:
                case = Case(**{key: arrays[key] for key in ("x", "y", "x_valid", "y_valid")},
                            n_classes=int(arrays["n_classes"]), seed=request["seed"])  # fmt: skip
            opened = request["arrays"], case
        try:
            say(answer(opened[1], request["method"]))
        except Exception as error:  # a peer's failure is a finding to report, whatever it is
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}"[:200].split("\n", 1)[0]})


if __name__ == "__main__":
    main()
