"""Indexes on GPUs: a copy on each, or a part on each; on one machine.

Written after FAISS's documentation and run by the tests against stand-ins for its GPU functions: no GPU was at hand.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

from raydm.errors import ParameterError, RaydmWarning, one_of

Layout = Literal["auto", "off", "replicate", "shard"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

MOST_NEIGHBORS = 2048  # that FAISS finds on a GPU, and lists that it probes there
_SHARE = 0.6  # of one GPU's memory, up to which an index is copied to each


def on_gpus(faiss: Any, index: Any, layout: Layout, size: int) -> Any | None:
    """The index on all GPUs that FAISS sees; None where there are none, or they have no form or no room for it.

    The one on the CPU stays as it is: it keeps the vectors that decide the order of candidates.

    Args:
        faiss: the module.
        index: trained and filled.
        layout: "replicate": a copy on each, which share the queries; "shard": a part of the points on each, and each
            query goes to all; "auto": replicate, if the index fits into .6 of a GPU's memory; "off": None.
        size: bytes of the index.

    Raises:
        ParameterError: an unknown layout.

    Warns:
        RaydmWarning: GPUs have no form or no room for it.
    """
    if layout not in LAYOUTS:
        raise ParameterError.of("gpu", "the index", one_of(LAYOUTS), layout)
    if layout == "off" or faiss.get_num_gpus() == 0 or isinstance(index, faiss.IndexHNSW):
        return None
    options = faiss.GpuMultipleClonerOptions()
    options.shard = faiss.get_num_gpus() > 1 and (
        layout == "shard" or (layout == "auto" and size > _SHARE * _memory_of_one())
    )
    inverted = isinstance(index, faiss.IndexIVF)
    if inverted:
        index.set_direct_map_type(faiss.DirectMap.NoMap)  # which FAISS cannot split
    try:
        return faiss.index_cpu_to_all_gpus(index, co=options)
    except RuntimeError as error:  # of ivf-pq GPUs know some sizes alone: 8 bits, certain m that fit in shared memory
        reason = str(error).splitlines()[-1]
        warnings.warn(
            f"FAISS cannot put the index on GPUs, so it is searched on the CPU ({reason}).", RaydmWarning, stacklevel=2
        )
        return None
    finally:
        if inverted:
            index.set_direct_map_type(faiss.DirectMap.Array)


def _memory_of_one() -> float:
    import torch

    if not torch.cuda.is_available():  # FAISS sees a GPU that torch was not built for
        return float("inf")
    return float(min(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())))


def set_probes(faiss: Any, clone: Any, nprobe: int) -> None:
    """Sets nprobe of an index on GPUs, also where there is one on each."""
    faiss.GpuParameterSpace().set_index_parameter(clone, "nprobe", nprobe)
