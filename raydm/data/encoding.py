"""The table encoder: a table's features as one float32 matrix, by what the training set showed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from raydm.data.columns import Categorical, ColumnEncoder, Numeric, Vector
from raydm.data.roles import Roles, check_column
from raydm.data.text import Text
from raydm.errors import DataError, RaydmWarning

ENCODERS: tuple[Any, ...] = (Numeric, Categorical, Vector, Text)
FORMAT = 1
JSON_FILE, TENSOR_FILE = "encoder.json", "encoder.safetensors"


class TableEncoder:
    """Encodes tables as the training set taught it.

    Numeric columns are standardised (missing: the mean and an indicator), categorical ones one-hot, vectors scaled by
    one mean and one deviation, texts reduced to at most 64 directions of their TF-IDF. Made by ``fit`` or ``load``.

    Args:
        roles: the columns' roles.
        columns: the fitted encoder of every feature column, in the order of ``roles.features``.
        notes: what was handled in fitting.

    Attributes:
        roles: the columns' roles.
        columns: the fitted encoder of every feature column.
        notes: what was handled in fitting: constant columns dropped, missing values imputed, with column and count.
        feature_names: the names of the D encoded features, in order.
    """

    def __init__(self, roles: Roles, columns: Mapping[str, ColumnEncoder], notes: list[str]) -> None:
        self.roles, self.columns, self.notes = roles, dict(columns), list(notes)
        self.feature_names: list[str] = [name for column, encoder in columns.items() for name in encoder.names(column)]

    @classmethod
    def fit(cls, table: pa.Table, roles: Roles, *, name: str = "train") -> TableEncoder:
        """Learns from the training set.

        Args:
            table: the training set, at least one row.
            roles: its columns' roles.
            name: what to call the table in messages and notes.

        Raises:
            DataError: a column is absent, of a type that does not fit its kind, or holds an infinite value; or no
                feature is left once constant columns are dropped.
        """
        by_kind = {encoder.kind: encoder for encoder in ENCODERS}
        columns: dict[str, ColumnEncoder] = {}
        notes: list[str] = []
        if table.num_rows == 0:
            raise DataError(f"{name}: no rows. At least one is needed to fit an encoder.")
        for column, kind in roles.features.items():
            check_column(table, column, what="feature", name=name)
            columns[column], remarks = by_kind[kind].fit(table.column(column), f"{name}, column {column!r}")
            notes += remarks
        if not sum(encoder.width for encoder in columns.values()):
            raise DataError(f"{name}: every feature column is constant, so nothing can be learned. {'; '.join(notes)}.")
        return cls(roles, columns, notes)

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """(H, W, C) where the only feature is one 3-D array per row, so that x is (N, H * W * C) in C order."""
        only = list(self.columns.values())
        if len(only) == 1 and isinstance(only[0], Vector) and len(only[0].shape) == 3:
            return only[0].shape
        return None

    def transform(self, table: pa.Table, *, name: str) -> npt.NDArray[Any]:
        """Encodes a table.

        Args:
            table: N rows that have every feature column.
            name: what to call the table in messages.

        Returns:
            (N, D) float32, finite.

        Raises:
            DataError: a column is absent, of another type than in training, or holds an infinite value.

        Warns:
            RaydmWarning: once, of categories that training lacks and of missing values where training had none.
        """
        x, events = self.transform_with_events(table, name=name)
        if events:
            warnings.warn(warning_of(events), RaydmWarning, stacklevel=2)
        return x

    def transform_with_events(self, table: pa.Table, *, name: str) -> tuple[npt.NDArray[Any], list[str]]:
        """As ``transform``, but hands back what it would warn of, one line per column."""
        shape = (table.num_rows, len(self.feature_names))
        # Of many columns each is written in one piece, and then all are turned at once: twice as fast
        x = np.empty(shape[::-1], np.float32).T if len(self.columns) > 1 else np.empty(shape, np.float32)
        events: list[str] = []
        start = 0
        for column, encoder in self.columns.items():
            check_column(table, column, what="feature", name=name)
            part, remarks = encoder.encode(table.column(column), f"{name}, column {column!r}")
            x[:, start : start + encoder.width] = part
            start += encoder.width
            events += remarks
        return torch.from_numpy(x).contiguous().numpy(), events

    def save(self, folder: Path) -> None:
        """Writes ``encoder.json`` and ``encoder.safetensors`` into a folder, which is made if it is absent."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, npt.NDArray[Any]] = {}
        columns = []
        for place, (column, encoder) in enumerate(self.columns.items()):
            state = encoder.state()
            arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
            tensors |= {f"{place}.{key}": np.ascontiguousarray(value) for key, value in arrays.items()}
            plain = {key: value for key, value in state.items() if key not in arrays}
            columns.append({"column": column, "kind": encoder.kind, "state": plain, "tensors": sorted(arrays)})
        head = {"format": FORMAT, "roles": self.roles.to_dict(), "notes": self.notes, "columns": columns}
        (folder / JSON_FILE).write_text(json.dumps(head, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        save_file(tensors, folder / TENSOR_FILE)

    @classmethod
    def load(cls, folder: Path) -> TableEncoder:
        """The encoder that ``save`` wrote; its ``transform`` gives the same bits.

        Raises:
            DataError: a file is missing, torn, or of another format.
        """
        folder = Path(folder)
        by_kind = {encoder.kind: encoder for encoder in ENCODERS}
        try:
            head = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
            if head["format"] != FORMAT:
                raise DataError(
                    f"{folder / JSON_FILE}: format {head['format']}, this raydm reads {FORMAT}. Fit it anew."
                )
            tensors = load_file(folder / TENSOR_FILE)
            columns: dict[str, ColumnEncoder] = {
                entry["column"]: by_kind[entry["kind"]].from_state(
                    entry["state"] | {key: tensors[f"{place}.{key}"] for key in entry["tensors"]}
                )
                for place, entry in enumerate(head["columns"])
            }
            return cls(Roles.from_dict(head["roles"]), columns, head["notes"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{folder}: no whole saved encoder ({type(error).__name__}: {error}). Fit it anew."
            ) from error


def warning_of(events: list[str]) -> str:
    """One warning's text for all events of a table."""
    return "; ".join(events) + ". The values were still encoded; check that the data come from the same source."
