"""One Ray, and two pools of actors, for the whole folder: an actor takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raydm.data import Examples
from raydm.data.task import Task
from raydm.distributed import Connection, RayRollouts, RayUtility, connect
from raydm.metrics import METRICS
from raydm.predictors import make_predictor
from raydm.utility import Problem

TASK = Task("classification", 3)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Connection]:
    """A Ray of its own: temporary folder and ports of its own, no dashboard, twelve places on any machine."""
    connection = connect(num_cpus=12)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def problem(digits_small: tuple[Examples, Examples]) -> Problem:
    return Problem(make_predictor("mlp"), digits_small[1], TASK, METRICS["log-likelihood"], seed=3, shard=4)


@pytest.fixture(scope="session")
def pools(cluster: Connection, problem: Problem) -> Iterator[dict[int, RayUtility]]:
    """Actors by their number."""
    made = {n: RayRollouts(actors=n)(problem) for n in (1, 4)}
    yield made
    for utility in made.values():
        utility.close()
