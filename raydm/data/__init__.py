"""Data: from files and objects to encoded examples, and the named public sets."""

from raydm.data.downloads import FILES, find_file
from raydm.data.encoding import TableEncoder
from raydm.data.examples import Examples
from raydm.data.files import read_table
from raydm.data.fingerprint import fingerprint
from raydm.data.labelled import named_labels, with_labels
from raydm.data.labels import LabelEncoder
from raydm.data.noise import flip_labels
from raydm.data.prepare import Prepared, encode, prepare
from raydm.data.roles import Kind, Roles, infer_roles
from raydm.data.sets import SETS, LoadedSet, NamedSet, describe_sets, load_set
from raydm.data.subsets import load_subset
from raydm.data.tables import as_table
from raydm.data.vectors import to_array, to_matrix, vector_column

__all__ = [
    "FILES",
    "SETS",
    "Examples",
    "Kind",
    "LabelEncoder",
    "LoadedSet",
    "NamedSet",
    "Prepared",
    "Roles",
    "TableEncoder",
    "as_table",
    "describe_sets",
    "encode",
    "find_file",
    "fingerprint",
    "flip_labels",
    "infer_roles",
    "load_set",
    "load_subset",
    "named_labels",
    "prepare",
    "read_table",
    "to_array",
    "to_matrix",
    "vector_column",
    "with_labels",
]
