"""Sweeps on Ray Tune: where trials are placed, which are stopped or changed, and what is noted of them."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray

from raydm.distributed.cluster import Connection, connect
from raydm.distributed.places import Places
from raydm.distributed.pool import SharedRollouts, end_pool, make_pool
from raydm.distributed.rollouts import RayRollouts
from raydm.distributed.seeds import RaySeeds
from raydm.errors import ClusterError, MissingPackageError
from raydm.sweep.ledger import Ledger
from raydm.sweep.progress import Progress
from raydm.sweep.results import STOPPED, failed
from raydm.sweep.search import Search
from raydm.sweep.spaces import Dimension

try:
    from ray import tune
    from ray.tune.search import Searcher
except ImportError as error:
    raise MissingPackageError.of(
        error.name or "ray[tune]", "raydm sweep on Ray", 'pip install "raydm[tune]"'
    ) from error

from raydm.distributed.population import Line, load_line
from raydm.distributed.schedules import asha, pbt
from raydm.distributed.trials import ROW, Job, Train, number_of, run_member, run_trial


class RaySweep:
    """A sweep on a Ray cluster; a context that leaves the cluster as it was.

    Args:
        places: what trials reserve.
        address: of a running cluster; None: RAY_ADDRESS, else one is started here.

    Raises:
        ClusterError: no cluster, or one that can never place a trial.
    """

    def __init__(self, places: Places, address: str | None = None) -> None:
        self._places = places
        self._connection: Connection = connect(address)
        try:
            client: Any = ray.util.client.ray
            if client.is_connected():  # Tune would move to the cluster, and the ledger is here
                raise ClusterError(
                    "A sweep is led from a machine of its cluster, and ray:// joins one from outside. Give the address "
                    "host:port of the cluster on one of its machines, or run it there: raydm submit sweep ..."
                )
            places.check()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> RaySweep:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def run(
        self,
        train: Train,
        make_where: Any,
        search: Search,
        space: Sequence[Dimension],
        ledger: Ledger,
        progress: Progress,
        *,
        scheduler: str,
        grace: int,
        reduction: float,
        tries: int,
        seed: int,
    ) -> None:
        """Runs the trials that are left; what comes out stands in the ledger.

        Args:
            train: trains one, see `raydm.distributed.trials.Job`.
            make_where: maps a utility and a run (see `raydm.estimators`) to where trainings run; None: in the process.
            search: proposes settings.
            space: that it searches.
            ledger: of the sweep.
            progress: is told.
            scheduler: "none", "asha" or "pbt".
            grace: parts of a training, of `PARTS`, before a trial may be stopped, or changed again.
            reduction: of so many trials, asha lets one go on.
            tries: how often a trial is begun.
            seed: of a population's changes.
        """
        left = search.total - len(ledger.ended)
        if left <= 0:
            return
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is told in the table
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        places, pool = self._places, None
        utility: RayRollouts | SharedRollouts | None = None
        run = None
        if places.actors_per_trial:
            utility = places.rollouts(places.actors_per_trial)
            run = RaySeeds(places.actors_per_trial, places.cpus_per_actor, places.gpus_per_actor)
        elif places.pool:
            utility = pool = make_pool(places.rollouts(places.pool))
        node = ray.get_runtime_context().get_node_id()
        job = Job(train, make_where(utility, run), ledger.folder.absolute(), node)
        try:
            if scheduler == "pbt":
                self._grow(job, search, space, ledger, progress, grace, tries, seed)
            else:
                self._search(job, search, ledger, progress, scheduler, grace, reduction, tries, left)
        finally:
            if pool is not None:
                end_pool(pool)

    def _search(
        self, job: Job, search: Search, ledger: Ledger, progress: Progress, scheduler: str, grace: int,
        reduction: float, tries: int, left: int,
    ) -> None:  # fmt: skip
        stops = asha(grace, reduction, ledger) if scheduler == "asha" else None
        at_once = self._places.at_once or (self._places.pool or None)
        config = tune.TuneConfig(
            search_alg=_Proposals(search), num_samples=left, scheduler=stops, max_concurrent_trials=at_once or 0,
            reuse_actors=stops is None,
        )  # fmt: skip
        watch = _Watch(ledger, progress, lambda trial: trial.config["number"])
        self._fit(run_trial, job, config, {}, watch, tries)

    def _grow(
        self, job: Job, search: Search, space: Sequence[Dimension], ledger: Ledger, progress: Progress, grace: int,
        tries: int, seed: int,
    ) -> None:  # fmt: skip
        """All members at once; where there is no room for all, they take turns."""
        members: list[tuple[int, dict[str, Any]]] = []
        while (proposal := search.propose()) is not None:
            line = load_line(ledger.folder / f"trial-{proposal.number:05d}") or Line(proposal.settings)
            members.append((proposal.number, line.current))
        numbers = tuple(number for number, _ in members)
        job = Job(job.train, job.where, job.folder, job.node, numbers)
        config = tune.TuneConfig(num_samples=1, scheduler=pbt(space, grace, seed))
        watch = _Watch(ledger, progress, lambda trial: number_of(trial.trial_id, numbers))
        settings = tune.grid_search([dict(settings) for _, settings in members])
        self._fit(run_member, job, config, {"settings": settings}, watch, tries)

    def _fit(
        self, function: Any, job: Job, config: tune.TuneConfig, space: dict[str, Any], watch: _Watch, tries: int
    ) -> None:
        trainable = tune.with_resources(
            tune.with_parameters(function, job=job), tune.PlacementGroupFactory(self._places.bundles)
        )
        run = tune.RunConfig(
            name="trials", storage_path=str(job.folder / "tune"), verbose=0, callbacks=[watch],
            failure_config=tune.FailureConfig(max_failures=tries - 1),
        )  # fmt: skip
        tune.Tuner(trainable, param_space=space, tune_config=config, run_config=run).fit()


class _Proposals(Searcher):
    """A search, as Tune asks it."""

    def __init__(self, search: Search) -> None:
        super().__init__(metric="utility", mode="max")
        self._search = search
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        proposal = self._search.propose()
        if proposal is None:
            return Searcher.FINISHED
        self._numbers[trial_id] = proposal.number
        return {"number": proposal.number, "settings": proposal.settings}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        utility = None if error or result is None else result.get("utility")
        known = utility is not None and math.isfinite(utility)
        self._search.tell(self._numbers.pop(trial_id), utility if known else None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing is restored from Tune's files."""


class _Watch(tune.Callback):
    """Writes what Tune tells into the ledger, and shows it."""

    def __init__(self, ledger: Ledger, progress: Progress, number: Any) -> None:
        self._ledger, self._progress, self._number = ledger, progress, number

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, settings = self._number(trial), trial.config["settings"]
        if number not in self._ledger.ended and self._ledger.open.get(number) != settings:
            self._ledger.begin(number, settings)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        number = self._number(trial)
        if number in self._ledger.ended:
            return
        if ROW in result:
            row = json.loads(result[ROW])
            self._end({**row, "tries": _failures(trial) + 1})
        else:
            self._ledger.report(number, result["parts"], result["seen"])
            self._progress.seen(number, result["share"], result["seen"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, last = self._number(trial), trial.last_result
        if number not in self._ledger.ended:
            self._end({
                "trial": number, "state": STOPPED, "settings": trial.config["settings"], "utility": last.get("seen"),
                "seconds": round(last.get("time_total_s", 0.0), 3), "tries": _failures(trial) + 1,
                "share": last.get("share"),
            })  # fmt: skip

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = self._number(trial)
        if number not in self._ledger.ended:
            self._end(failed(number, trial.config["settings"], _reason(trial), _failures(trial)))

    def _end(self, row: dict[str, Any]) -> None:
        self._ledger.end(row)
        self._progress.ended(row)


def _failures(trial: Any) -> int:
    return int(getattr(trial.run_metadata, "num_failures", 0))


def _reason(trial: Any) -> str:
    """The last line of what it raised."""
    with suppress(Exception):
        lines = [line.strip() for line in str(trial.get_error()).splitlines() if line.strip()]
        return lines[-1]
    return "Its process died."


_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger has all of it
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is the command's own
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}
