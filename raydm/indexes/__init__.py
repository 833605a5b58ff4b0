"""Indexes: exact and approximate nearest neighbours, in one piece or spread over parts."""

from raydm.indexes.approximate import Trained, make_part, spare, train
from raydm.indexes.exact import Exact
from raydm.indexes.gpu import LAYOUTS, Layout
from raydm.indexes.index import Index
from raydm.indexes.line import Line
from raydm.indexes.part import NOBODY, Candidates, Here, Part, Parts, nearest_first
from raydm.indexes.searcher import Found, LineSearcher, Searcher
from raydm.indexes.spec import GRAPH_POINTS, KINDS, TRAINING_POINTS, IndexSpec, Kind, choose, file_bytes, memory_bytes

__all__ = [
    "GRAPH_POINTS",
    "KINDS",
    "LAYOUTS",
    "NOBODY",
    "TRAINING_POINTS",
    "Candidates",
    "Exact",
    "Found",
    "Here",
    "Index",
    "IndexSpec",
    "Kind",
    "Layout",
    "Line",
    "LineSearcher",
    "Part",
    "Parts",
    "Searcher",
    "Trained",
    "choose",
    "file_bytes",
    "make_part",
    "memory_bytes",
    "nearest_first",
    "spare",
    "train",
]
