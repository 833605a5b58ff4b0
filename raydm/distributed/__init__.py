"""Everything that imports ray: rollouts on actors, and the cluster that they run on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raydm.distributed.cluster import Connection, connect, require

if TYPE_CHECKING:
    from raydm.distributed.rollouts import RayRollouts, RayUtility

__all__ = ["Connection", "RayRollouts", "RayUtility", "connect", "require"]


def __getattr__(name: str) -> Any:
    """What trains loads on first use, for jobs and clusters need no torch."""
    if name in ("RayRollouts", "RayUtility"):
        from raydm.distributed import rollouts

        return getattr(rollouts, name)
    raise AttributeError(f"module 'raydm.distributed' has no attribute {name!r}")
