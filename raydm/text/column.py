"""The text column encoder for language models: token ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data.encoding import JSON_FILE, TableEncoder
from raydm.data.roles import Roles, check_column, is_text_type
from raydm.errors import DataError
from raydm.text.tokenizer import LENGTH, Tokenizer

Ids = npt.NDArray[np.int64]
FOLDER = "tokenizer"


class TokenColumn(TableEncoder):
    """One column of texts, as token ids (N, L); L is the longest text's of each table, at most the tokenizer's length.

    Missing texts count as empty, and are told.

    Args:
        roles: the columns' roles, the text's among them.
        tokenizer: makes the ids.
        missing: how many training texts were missing.
        notes: what was handled in fitting.
    """

    def __init__(self, roles: Roles, tokenizer: Tokenizer, missing: int = 0, notes: list[str] | None = None) -> None:
        super().__init__(roles, {}, notes or [])
        (self.column,) = roles.features
        self.tokenizer, self.missing = tokenizer, missing
        self.feature_names = [self.column]

    @classmethod
    def fit_texts(cls, table: pa.Table, roles: Roles, *, name: str, model: str, length: int = LENGTH) -> TokenColumn:
        """Looks at the training texts.

        Args:
            table: the training set.
            roles: its columns' roles; the only feature is the text.
            name: what to call the table in messages.
            model: folder or name of the model whose tokenizer it is.
            length: the most tokens of a text.

        Raises:
            DataError: the column is absent or holds no text, or there is no such model.
            MissingPackageError: transformers is not installed.
        """
        (column,) = roles.features
        where = f"{name}, column {column!r}"
        texts, missing = _texts(table, column, name)
        if missing == len(texts):
            raise DataError(f"{where}: every text is missing. Name another column.")
        notes = [f"{where}: {missing} missing texts taken as empty"] * (missing > 0)
        return cls(roles, Tokenizer(model, length=length), missing, notes)

    def transform_with_events(self, table: pa.Table, *, name: str) -> tuple[Ids, list[str]]:
        """Ids (N, L), and what to warn of."""
        texts, missing = _texts(table, self.column, name)
        told = f"{name}, column {self.column!r}: {missing} missing texts where training had none, taken as empty"
        return self.tokenizer(texts), [told] * (missing > 0 and not self.missing)

    def padded(self, ids: Ids, length: int) -> Ids:
        """The same texts with padding up to L = length."""
        more = ((0, 0), (0, max(0, length - ids.shape[1])))
        return np.pad(ids, more, constant_values=self.tokenizer.pad_id)

    def save(self, folder: Path) -> None:
        """Writes ``encoder.json`` and the tokenizer, into a folder of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        state: dict[str, Any] = {
            "text": True, "roles": self.roles.to_dict(), "length": self.tokenizer.length, "missing": self.missing,
            "notes": self.notes, "model": self.tokenizer.name,
        }  # fmt: skip
        (folder / JSON_FILE).write_text(json.dumps(state, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        self.tokenizer.save(folder / FOLDER)

    @classmethod
    def load(cls, folder: Path) -> TokenColumn:
        """The encoder that `save` wrote.

        Raises:
            DataError: it is missing, torn, or of another kind.
        """
        try:
            state = json.loads((Path(folder) / JSON_FILE).read_text(encoding="utf-8"))
            tokenizer = Tokenizer(Path(folder) / FOLDER, length=state["length"])
            return cls(Roles.from_dict(state["roles"]), tokenizer, state["missing"], state["notes"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder}: no saved text encoder ({type(error).__name__}: {error}). Fit it anew."
            ) from error


def _texts(table: pa.Table, column: str, name: str) -> tuple[list[str], int]:
    check_column(table, column, what="text", name=name)
    values = table.column(column)
    if not (is_text_type(values.type) or pa.types.is_null(values.type)):
        raise DataError(f"{name}, column {column!r}: Arrow type {values.type} where texts were expected.")
    texts = values.to_pylist()
    return [text or "" for text in texts], sum(text is None for text in texts)
