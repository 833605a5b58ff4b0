"""pyDVL's games, for games.py: run by the interpreter of an environment where pyDVL is installed; knows no raydm.

    python games_pydvl.py ARRAYS.npz VALUES.npz loo
    python games_pydvl.py ARRAYS.npz VALUES.npz tmc --permutations 40 --truncation .01 --seed 1

Used as its documentation says: scikit-learn's LogisticRegression, accuracy on the validation set, joblib on all cores.
Values, and what `fit` took (seconds, and seconds of all processors; without imports, and after joblib's workers have
started) go into VALUES.npz.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import warnings
from typing import Any

import numpy as np


def clock() -> tuple[int, float]:
    return os.getpid(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arrays")
    parser.add_argument("values")
    parser.add_argument("method", choices=["loo", "tmc"])
    parser.add_argument("--permutations", type=int, default=40)
    parser.add_argument("--truncation", type=float, default=None, help="relative to v(N); none for never")
    parser.add_argument("--burn-in", type=float, default=0.0, help="share of a permutation before it is asked")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"  # of joblib's workers

    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import get_reusable_executor
    from pydvl.valuation import (
        Dataset,
        LOOValuation,
        MinUpdates,
        ModelUtility,
        NoTruncation,
        PermutationSampler,
        RelativeTruncation,
        ShapleyValuation,
        SupervisedScorer,
    )
    from sklearn.linear_model import LogisticRegression

    given = np.load(arguments.arrays)
    train = Dataset(given["x"].astype(float), given["y"])
    valid = Dataset(given["x_valid"].astype(float), given["y_valid"])
    utility = ModelUtility(LogisticRegression(), SupervisedScorer("accuracy", valid, default=0.0), show_warnings=False)
    if arguments.method == "loo":
        valuation: Any = LOOValuation(utility, progress=False)
    else:
        truncation = (
            NoTruncation()
            if arguments.truncation is None
            else RelativeTruncation(rtol=arguments.truncation, burn_in_fraction=arguments.burn_in)
        )
        sampler = PermutationSampler(truncation=truncation, seed=arguments.seed)
        valuation = ShapleyValuation(utility, sampler, is_done=MinUpdates(arguments.permutations), progress=False)
    with parallel_config(n_jobs=arguments.jobs):
        Parallel()(delayed(time.sleep)(0.1) for _ in range(2 * arguments.jobs))
        before = sum(dict(Parallel()(delayed(clock)() for _ in range(8 * arguments.jobs))).values())
        started, own = time.perf_counter(), time.process_time()
        valuation.fit(train)
        seconds, own = time.perf_counter() - started, time.process_time() - own
    get_reusable_executor().shutdown(wait=True)  # only then is known what the workers used
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processors = own + used.ru_utime + used.ru_stime - before
    result = valuation.result
    order = np.argsort(result.indices)
    np.savez(
        arguments.values, values=result.values[order], seconds=seconds, processors=processors,
    )  # fmt: skip


if __name__ == "__main__":
    main()
