"""What each trial of a sweep reserves on a cluster, and whether it ever can."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from raydm.checks import check_integer
from raydm.distributed.cluster import autoscales, node_resources
from raydm.distributed.rollouts import RayRollouts
from raydm.errors import ClusterError, ParameterError

_MEMORY = 2**20  # bytes that Ray reserves for a trial whose rollouts run on a pool: a place needs something


@dataclass(frozen=True)
class Places:
    """What each trial reserves.

    Attributes:
        at_once: trials at most; None: as many as there is room for.
        cpus_per_trial: of a trial that trains in its own process.
        gpus_per_trial: or a fraction of one.
        actors_per_trial: that each trial holds, placed with it; 0: none.
        pool: actors that all share; 0: none.
        cpus_per_actor: of one of these.
        gpus_per_actor: or a fraction of one.
        timeout: seconds that a shard may train on an actor; None: the usual.
        tries: of a shard; None: the usual.
    """

    at_once: int | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    actors_per_trial: int = 0
    pool: int = 0
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    timeout: float | None = None
    tries: int | None = None

    def __post_init__(self) -> None:
        if self.at_once is not None:
            check_integer("raydm sweep", "trials_at_once", self.at_once, 1)
        for name in ("cpus_per_trial", "gpus_per_trial", "cpus_per_actor", "gpus_per_actor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0) or (value == 0 and name.startswith("cpus")):
                least = "> 0" if name.startswith("cpus") else ">= 0"
                raise ParameterError.of(name, "raydm sweep", f"a number {least}", value)

    @property
    def actor(self) -> dict[str, float]:
        """What an actor reserves."""
        return {"CPU": self.cpus_per_actor, "GPU": self.gpus_per_actor}

    @property
    def bundles(self) -> list[dict[str, float]]:
        """What a trial reserves: its own process, then its actors."""
        if self.actors_per_trial:
            return [{}, *[self.actor] * self.actors_per_trial]
        if self.pool:
            return [{"memory": _MEMORY}]
        return [{"CPU": self.cpus_per_trial, "GPU": self.gpus_per_trial}]

    def rollouts(self, actors: int) -> RayRollouts:
        """So many actors."""
        given = {"timeout": self.timeout, "tries": self.tries}
        limits = {name: value for name, value in given.items() if value is not None}
        return RayRollouts(actors, self.cpus_per_actor, self.gpus_per_actor, **limits)  # type: ignore[arg-type]

    def check(self) -> None:
        """Refuses what the connected cluster can never place; Tune itself would wait for ever.

        Raises:
            ClusterError: not one trial, or not the pool, can be placed on the nodes taken empty.
        """
        if self.pool:
            self._check_count(self.pool, self.actor, f"A pool of {self.pool} rollout actors", "actor", "--pool")
        elif self.actors_per_trial:
            what = f"A trial with {self.actors_per_trial} rollout actors"
            self._check_count(self.actors_per_trial, self.actor, what, "actor", "--actors-per-trial")
        else:
            self._check_count(1, self.bundles[0], "A trial", "trial", None)

    def _check_count(self, count: int, each: Mapping[str, float], what: str, flag: str, fewer: str | None) -> None:
        nodes = node_resources()
        units = {name: round(value * 1e4) for name, value in each.items() if value > 0}  # as Ray counts
        fits = sum(min(round(node.get(k, 0.0) * 1e4) // v for k, v in units.items()) for node in nodes)
        if fits >= count or autoscales():
            return
        needs = ", ".join(f"{each[name]:g} {name}" for name in units)
        offers = ", ".join(f"{sum(node.get(k, 0.0) for node in nodes):g} {k}" for k in dict.fromkeys(["CPU", *units]))
        less = f"for less each (--cpus-per-{flag}, --gpus-per-{flag})"
        ask = f"for fewer ({fewer}), {less}" if fewer else less
        raise ClusterError(
            f"{what}, of {needs}{' each' * (count > 1)}, can never be placed: the cluster's {len(nodes)} node(s) "
            f"offer {offers} and hold {fits} of them. Ask {ask}, or add nodes."
        )
