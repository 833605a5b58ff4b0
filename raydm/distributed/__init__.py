"""Everything that imports ray: rollouts on actors, and the cluster that they run on."""

from raydm.distributed.cluster import Connection, connect, require
from raydm.distributed.rollouts import RayRollouts, RayUtility

__all__ = ["Connection", "RayRollouts", "RayUtility", "connect", "require"]
