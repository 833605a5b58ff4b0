"""Texts to token ids and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raydm.checks import check_integer
from raydm.errors import DataError
from raydm.text import hub

LENGTH = 64  # of Hu et al. (2019)


class Tokenizer:
    """Texts to int64 ids (N, L): ``[CLS] tokens [SEP]`` and padding, cut at ``length``.

    Args:
        name: a local folder, or a name on the hub.
        length: the most tokens of a text, both special ones among them, >= 3.

    Attributes:
        pad_id: the id of padding.
        mask_id: the id that stands for a token to be guessed; None where the model knows none.
        special_ids: ids that are no word: padding, unknown, ``[CLS]`` and the like; sorted.
        size: how many tokens it knows.

    Raises:
        DataError: there is no such tokenizer, or it has no padding.
        MissingPackageError: transformers is not installed.
    """

    def __init__(self, name: str | Path, *, length: int = LENGTH) -> None:
        check_integer("Tokenizer", "length", length, 3)
        self.name, self.length = str(name), int(length)
        self._tokenizer: Any = hub.load_tokenizer(name)
        if self._tokenizer.pad_token_id is None:
            raise DataError(f"{name}: its tokenizer has no padding. Name an encoder's, such as BERT's.")
        self.pad_id = int(self._tokenizer.pad_token_id)
        mask = self._tokenizer.mask_token_id
        self.mask_id = None if mask is None else int(mask)
        self.special_ids: tuple[int, ...] = tuple(sorted(int(i) for i in self._tokenizer.all_special_ids))
        self.size = len(self._tokenizer)

    def __call__(self, texts: Sequence[str], *, full: bool = False) -> npt.NDArray[np.int64]:
        """The ids of N texts: (N, L), L the longest text's length, or ``length`` where ``full``.

        Raises:
            DataError: one of them is no text.
        """
        for row, text in enumerate(texts, 1):
            if not isinstance(text, str):
                raise DataError(f"row {row}: {text!r} where a text was expected. Fill it in or drop the row.")
        if not len(texts):
            return np.empty((0, self.length if full else 2), np.int64)
        encoded = self._tokenizer(list(texts), truncation=True, max_length=self.length, add_special_tokens=True)
        rows = encoded["input_ids"]
        ids = np.full((len(rows), self.length if full else max(map(len, rows))), self.pad_id, np.int64)
        for place, tokens in enumerate(rows):
            ids[place, : len(tokens)] = tokens
        return ids

    def decode(self, ids: npt.ArrayLike) -> list[str]:
        """The texts of ids (N, L), without special tokens."""
        rows = np.asarray(ids).tolist()  # of which transformers takes none for one empty text
        decoded: list[str] = self._tokenizer.batch_decode(rows, skip_special_tokens=True) if rows else []
        return decoded

    def save(self, folder: Path) -> None:
        """Writes the tokenizer's JSON files, from which ``Tokenizer(folder)`` is made again."""
        self._tokenizer.save_pretrained(str(folder))
