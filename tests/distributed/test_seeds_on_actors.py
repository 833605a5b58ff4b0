"""Several seeds of a joint training on Ray are those of one process; what a training raises comes through."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_classification

from raydm import DataAugmenter, DataSynthesizer, DataWeighter
from raydm.distributed.seeds import RaySeeds
from raydm.errors import ClusterError, ParameterError, RolloutError

pytestmark = pytest.mark.usefixtures("cluster")
QUICK = {"epochs": 1, "warm_up": 1, "predictor_params": {"device": "cpu"}, "seeds": 2}


@pytest.fixture(scope="module")
def rows():
    x, y = make_classification(80, 6, random_state=0)
    return x[:60], y[:60], {"X_valid": x[60:], "y_valid": y[60:]}


def test_the_numbers_are_those_of_one_process(rows):
    x, y, valid = rows
    here = DataWeighter(**QUICK).fit(x, y, **valid)
    there = DataWeighter(**QUICK, run=RaySeeds(actors=2)).fit(x, y, **valid)
    np.testing.assert_array_equal(there.weights_, here.weights_)
    np.testing.assert_array_equal(there.predict_proba(x), here.predict_proba(x))
    assert [o.seed for o in there.outcomes_] == [0, 1]


@pytest.mark.parametrize("cls", [DataAugmenter, DataSynthesizer])
def test_new_rows_are_those_of_one_process(rows, cls):
    x, y, valid = rows
    here = cls(**QUICK).fit(x, y, **valid)
    there = cls(**QUICK, run=RaySeeds(actors=2)).fit(x, y, **valid)
    assert there.table(70).equals(here.table(70))
    np.testing.assert_array_equal(there.predict_proba(x), here.predict_proba(x))
    np.testing.assert_array_equal(there.scores(there.prepared_.valid), here.scores(here.prepared_.valid))
    assert there.summary_ == here.summary_
    assert there.curve_ == here.curve_
    kept = [{k: v for k, v in step.items() if k != "seconds"} for step in here.history_]
    np.testing.assert_equal(there.history_, kept)  # the utility of a first pass without any is NaN
    assert there.total_ == 0


def test_what_can_never_be_placed_is_refused(rows):
    x, y, valid = rows
    with pytest.raises(ClusterError, match="trainings of 1000 CPU"):
        DataWeighter(**QUICK, run=RaySeeds(actors=1, cpus_per_actor=1000)).fit(x, y, **valid)
    with pytest.raises(ParameterError, match="actors"):
        RaySeeds(actors=0)


def test_what_a_training_raises_comes_through(rows):
    x, y, valid = rows
    diverging = {**QUICK, "epochs": 3, "predictor_params": {"device": "cpu", "lr": 1e30}}
    with pytest.raises(RolloutError, match="learning rate"):
        DataAugmenter(**diverging, run=RaySeeds(actors=2)).fit(x, y, **valid)
