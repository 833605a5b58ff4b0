"""What an index is made of: its kind and sizes, by rules from N and D; what it takes of memory; which kind to choose.

Axes: N points, D features, K neighbours. The words are those of FAISS and of the papers: inverted lists (IVF) and the
lists probed per query, product quantization (PQ: Jegou, Douze, Schmid 2011), and the graph of Malkov and Yashunin
(HNSW, 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from raydm.errors import ParameterError, one_of

Kind = Literal["exact", "ivf-flat", "ivf-pq", "hnsw"]
KINDS: tuple[Kind, ...] = get_args(Kind)

TRAINING_POINTS = 50  # sampled points a list; FAISS warns below 39
EXACT_WORK = 10**12  # multiplications up to which every distance is computed: some 20 s on one core
_LEAST_WORK = 64  # of a pair: to choose the nearest costs as much as so many
_FEW = 8, 256  # fewer features are compared without matrix products, which costs as much as so many
GRAPH_POINTS = 2**18  # of one HNSW graph: fixed, so that graphs do not depend on how many machines hold them
_BITS = 8
_GROWTH = 1.5  # inverted lists grow by doubling, so half of the last doubling is unused on average
_WORKSPACE = 2**28  # of a search: blocks of queries, candidates and their vectors
_TABLE_LIMIT = 2**31  # FAISS precomputes no PQ tables beyond this


@dataclass(frozen=True)
class IndexSpec:
    """The kind of an index and its sizes; `sized` fills in what is None.

    Attributes:
        kind: "exact" compares a query with every point; "ivf-flat" with those of the nprobe nearest of nlist inverted
            lists; "ivf-pq" with the same points in m codes of some bits; "hnsw" walks a graph.
        nlist: inverted lists, >= 1.
        nprobe: lists that a query looks into, in [1, nlist].
        m: codes a point (PQ); divides D.
        bits: of a code, in [4, 12].
        M: links a point and layer (HNSW), >= 2.
        efConstruction: candidates while the graph is built, >= 1.
        efSearch: candidates while it is searched, >= 1.
        refine: ivf-pq keeps the vectors in a temporary file, and ranks candidates by true distances from there.
    """

    kind: Kind
    nlist: int | None = None
    nprobe: int | None = None
    m: int | None = None
    bits: int | None = None
    M: int | None = None
    efConstruction: int | None = None  # noqa: N815  # FAISS's and the paper's name
    efSearch: int | None = None  # noqa: N815
    refine: bool = False

    def sized(self, n: int, d: int, k: int = 16) -> IndexSpec:
        """With every size that the kind needs, for N points in D features and K neighbours.

        - nlist: 4 sqrt(N), at most N / 50 so that each list can be learned from 50 points or more.
        - nprobe: nlist / 16, at least 8. `raydm neighbors` measures recall and replaces it.
        - m: a code for every two features (for as many as divide D, up to 4; else one each), of 8 bits.
        - M 32, efConstruction 80, efSearch max(64, 4 K).

        Raises:
            ParameterError: a size is out of its range.
        """
        spec = self
        if self.kind in ("ivf-flat", "ivf-pq"):
            usual = max(1, min(round(4 * math.sqrt(n)), n // TRAINING_POINTS))
            nlist = usual if self.nlist is None else self.nlist
            nprobe = min(nlist, max(8, nlist // 16)) if self.nprobe is None else self.nprobe
            spec = replace(spec, nlist=nlist, nprobe=nprobe)
        if self.kind == "ivf-pq":
            spec = replace(
                spec, m=_codes(d, 2) if self.m is None else self.m, bits=_BITS if self.bits is None else self.bits
            )
        if self.kind == "hnsw":
            spec = replace(
                spec,
                M=32 if self.M is None else self.M,
                efConstruction=80 if self.efConstruction is None else self.efConstruction,
                efSearch=max(64, 4 * k) if self.efSearch is None else self.efSearch,
            )
        spec._check(n, d)
        return spec

    @property
    def effort(self) -> int | None:
        """How much of the index a query sees: nprobe or efSearch; None where it sees everything."""
        return self.nprobe if self.nlist is not None else self.efSearch

    @property
    def is_proven(self) -> bool:
        """Whether parts give bounds by which an answer is proven: among the points that a query may see."""
        return self.kind in ("exact", "ivf-flat")

    def with_effort(self, effort: int) -> IndexSpec:
        """With another nprobe or efSearch."""
        return replace(self, nprobe=effort) if self.nlist is not None else replace(self, efSearch=effort)

    def _check(self, n: int, d: int) -> None:
        if self.kind not in KINDS:
            raise ParameterError.of("kind", "IndexSpec", one_of(KINDS), self.kind)
        limits = {
            "nlist": (1, n),
            "nprobe": (1, self.nlist or 1),
            "m": (1, d),
            "bits": (4, 12),
            "M": (2, 512),
            "efConstruction": (1, n),
            "efSearch": (1, 2**20),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ParameterError.of(name, "IndexSpec", f"an integer in [{low}, {high}]", value)
        if self.m is not None and d % self.m:
            raise ParameterError.of("m", "IndexSpec", f"a divisor of the {d} features", self.m)
        if self.bits is not None and n < 2**self.bits:
            raise ParameterError(
                f"kind='ivf-pq' learns {2**self.bits} codes of each part of a vector, and there are {n} points. Choose "
                "another kind: so few fit into memory."
            )
        if self.refine and self.kind != "ivf-pq":
            raise ParameterError.of("refine", "IndexSpec", "False: only ivf-pq keeps codes for vectors", self.refine)


def _codes(d: int, features: int) -> int:
    """PQ codes a point: one for so many features, or for the next number up to 4 that divides D; else one each."""
    return next((d // each for each in range(features, 5) if d % each == 0), d)


def file_bytes(spec: IndexSpec, n: int, d: int) -> int:
    """Bytes of the index file of N points in D features; the spec is sized."""
    ids = 8
    if spec.kind == "exact":
        return n * (4 * d + ids)
    if spec.kind == "hnsw":
        m = cast(int, spec.M)
        # Level 0 has 2 M links of 4 bytes. A point reaches level l with probability M^-l, and has M links on each.
        links = 4 * (2 * m + m / (m - 1))
        return round(n * (4 * d + ids + links + 8 + 4))  # and where its links begin, and its levels
    code = 4 * d if spec.kind == "ivf-flat" else _code_bytes(spec)
    centres = cast(int, spec.nlist) * 4 * d
    return n * (code + 3 * ids) + centres + _codebooks(spec, d)  # ids: ours, in the lists, and where it lies


def memory_bytes(spec: IndexSpec, n: int, d: int, k: int) -> int:
    """Bytes that the index of N points in D features takes while it answers queries for K neighbours; spec is sized.

    Temporary files of `refine` are not counted.
    """
    search = _WORKSPACE + 2**13 * (k + 17) * 32
    if spec.kind == "exact":
        return n * (8 * d + 8) + search  # the vectors, and again in FAISS, centred
    size = file_bytes(spec, n, d)
    if spec.kind == "hnsw":
        return size + search
    nlist, tables = cast(int, spec.nlist), 0
    growing = size - n * 16 - nlist * 4 * d - _codebooks(spec, d)
    if spec.kind == "ivf-pq":
        full = nlist * cast(int, spec.m) * 2 ** cast(int, spec.bits) * 4
        tables = full if full <= _TABLE_LIMIT else 0
    return round(size + (_GROWTH - 1) * growing) + tables + search


def choose(n: int, d: int, k: int, memory: int, *, refine: bool = False) -> IndexSpec:
    """The kind for a neighbour table of N points in D features: every point is asked once.

    - exact, while N * N * max(D, 64) <= 10^12 (some 20 s on one core; 256 for D < 8) and it fits into memory;
    - else ivf-flat, where it fits. (Never hnsw: to build its graph costs about as much as to ask every point, which a
      table that asks once cannot win back. Name it, where one index is asked often.)
    - else ivf-pq with the most codes a point that fit, down to one for 8 features.

    Args:
        n: N, >= 2.
        d: D, >= 1.
        k: K, >= 1.
        memory: bytes that the index may take.
        refine: of ivf-pq, see `IndexSpec`.

    Returns:
        The spec, sized.

    Raises:
        ParameterError: not even that fits.
    """
    exact, flat = IndexSpec("exact"), IndexSpec("ivf-flat").sized(n, d, k)
    work = _FEW[1] if d < _FEW[0] else max(d, _LEAST_WORK)
    if n * n * work <= EXACT_WORK and memory_bytes(exact, n, d, k) <= memory:
        return exact
    if memory_bytes(flat, n, d, k) <= memory:
        return flat
    for each in range(2, 9):
        if d % each == 0 and n >= 2**_BITS:
            spec = IndexSpec("ivf-pq", m=d // each, refine=refine).sized(n, d, k)
            if memory_bytes(spec, n, d, k) <= memory:
                return spec
    least = min(memory_bytes(s, n, d, k) for s in (exact, flat))
    raise ParameterError(
        f"No index of {n} points in {d} features fits into memory={memory} bytes; the uncompressed ones take from "
        f"{least}. Allow more memory, or spread the points over more machines."
    )


def _code_bytes(spec: IndexSpec) -> int:
    return (cast(int, spec.m) * cast(int, spec.bits) + 7) // 8


def _codebooks(spec: IndexSpec, d: int) -> int:
    return 0 if spec.bits is None else 2**spec.bits * 4 * d
