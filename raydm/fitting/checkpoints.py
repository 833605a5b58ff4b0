"""Checkpoints of a training: safetensors and JSON, whole or refused, on any file system that Arrow knows.

A checkpoint is a folder: the tensors, and a JSON file with their checksum that says whose they are. So it does not
matter how a folder was copied to where it is, or when that ended: what is not whole is told by its checksum.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.fs
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from raydm.errors import RaydmError, RaydmWarning, RunError
from raydm.storage import place_of

FORMAT = 1
TENSORS, STATE = "state.safetensors", "state.json"
HERE, ATTEMPT = "here", "attempt-"  # of a process without Ray, and of each beginning of Ray Train's
ROWS = "rows"  # that were written as Parquet
_KEPT = 2  # checkpoints: one might be torn
_NAME = re.compile(r"epoch-(\d{6})-[0-9a-f]+$")


@dataclass(frozen=True)
class Checkpoint:
    """A training after some epochs.

    Attributes:
        epochs: how many.
        tensors: of the training, by name.
        counts: other numbers of it.
        history: a record for each epoch.
        best: the number of the best epoch, from 1; None where none is chosen.
    """

    epochs: int
    tensors: Mapping[str, Tensor]
    counts: Mapping[str, float]
    history: list[dict[str, Any]]
    best: int | None


def write(folder: Path, checkpoint: Checkpoint, identity: str) -> None:
    """Writes it into an existing folder.

    Args:
        folder: empty.
        checkpoint: what is written.
        identity: of the training: what another training's checkpoint is told by.

    Raises:
        OSError: it cannot be written.
    """
    content = save(dict(checkpoint.tensors))
    (folder / TENSORS).write_bytes(content)
    state = {
        "fit_checkpoint": FORMAT,
        "identity": identity,
        "tensors": hashlib.blake2b(content, digest_size=16).hexdigest(),
        "epochs": checkpoint.epochs,
        "counts": dict(checkpoint.counts),
        "history": checkpoint.history,
        "best": checkpoint.best,
    }
    text = json.dumps(state)
    check = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    (folder / STATE).write_text(f"{text}\n{check}\n")


def name_of(epochs: int, token: str) -> str:
    """What a checkpoint's folder is called; a token makes it unlike any that came to nothing."""
    return f"epoch-{epochs:06d}-{token}"


class Checkpoints:
    """Where checkpoints of a training lie, by folders of attempts.

    Args:
        place: a folder, or a URI that Arrow knows, such as s3://bucket/folder.

    Attributes:
        files: the file system.
        path: on it.
        remote: whether it was named by a URI.

    Raises:
        ParameterError: a URI of no storage that is known, or one that holds a password.
        RunError: it names no file system that can be reached.
    """

    def __init__(self, place: str) -> None:
        self.place, self.remote = place, "://" in place
        try:
            if self.remote:
                place_of(place)
                self.files, self.path = pyarrow.fs.FileSystem.from_uri(place)
            else:
                self.files, self.path = pyarrow.fs.LocalFileSystem(), str(Path(place).absolute())
        except RaydmError:
            raise
        except (OSError, ValueError) as error:
            raise RunError(f"{place}: no place for checkpoints ({error}). Name a folder, or another URI.") from error

    def found(self) -> list[str]:
        """The folders of checkpoints, the newest first, whole or not.

        Raises:
            RunError: the place cannot be read.
        """
        selector = pyarrow.fs.FileSelector(self.path, recursive=True, allow_not_found=True)
        try:
            every = [info.path for info in self.files.get_file_info(selector)]
        except OSError as error:
            raise RunError(f"{self.place}: checkpoints cannot be looked for ({error}).") from error
        folders = {path for path in every if _NAME.search(path)} | {path.rpartition("/")[0] for path in every}
        named = {folder: _NAME.search(folder) for folder in folders}
        return sorted((f for f, match in named.items() if match), key=lambda f: f.rpartition("/")[2], reverse=True)

    def newest(self, identity: str, *, told: bool = True) -> tuple[str, Checkpoint] | None:
        """The newest checkpoint that is whole, and its folder; None where there is none.

        Args:
            identity: of the training.
            told: warn of those that are torn.

        Raises:
            RunError: it is another training's.
        """
        for folder in self.found():
            try:
                state = self._state(folder)
                tensors = self._tensors(folder, state)
            except _TornError as error:
                if told:
                    warnings.warn(
                        f"{folder}: this checkpoint is torn ({error}), as when a machine dies while it is written. It "
                        "was left out, and what came after the one before it is done again.",
                        RaydmWarning,
                        stacklevel=2,
                    )
                continue
            if state["identity"] != identity:
                raise RunError(
                    f"{folder}: is a checkpoint of another training: of other rows, weights or settings. Give the same "
                    f"ones to go on with it, or remove {self.place} to begin again."
                )
            return folder, Checkpoint(state["epochs"], tensors, state["counts"], state["history"], state["best"])
        return None

    def add(self, checkpoint: Checkpoint, identity: str) -> None:
        """Writes another checkpoint, and takes away all but the last two.

        Raises:
            RunError: it cannot be written; those before it stay.
        """
        folder = f"{self.path}/{HERE}/{name_of(checkpoint.epochs, secrets.token_hex(4))}"
        try:
            with tempfile.TemporaryDirectory(prefix=".raydm-", dir=self._local_parent()) as name:
                made = Path(name) / "made"
                made.mkdir(mode=0o700)
                write(made, checkpoint, identity)
                if self.remote:
                    self.files.create_dir(folder)
                    pyarrow.fs.copy_files(str(made), folder, destination_filesystem=self.files)
                else:
                    made.replace(folder)
            for old in self.found()[_KEPT:]:
                self.files.delete_dir(old)
        except OSError as error:
            raise RunError(
                f"{self.place}: the checkpoint of epoch {checkpoint.epochs} cannot be written "
                f"({error.strerror or error}). Those before it are whole: make room, and go on with --resume."
            ) from error

    def _local_parent(self) -> str | None:
        """Where a folder is made before it takes its place; None: anywhere."""
        if self.remote:
            return None
        parent = Path(self.path) / HERE
        Path(self.path).mkdir(mode=0o700, parents=True, exist_ok=True)
        parent.mkdir(mode=0o700, exist_ok=True)
        return str(parent)

    def history(self) -> list[dict[str, Any]]:
        """The records of the newest checkpoint that can be read now; none before the first."""
        for folder in self.found():
            try:
                history: list[dict[str, Any]] = self._state(folder)["history"]
            except _TornError:
                continue
            return history
        return []

    def read(self, folder: str) -> Checkpoint:
        """One of those that `newest` found.

        Raises:
            RunError: it is torn.
        """
        try:
            state = self._state(folder)
            tensors = self._tensors(folder, state)
        except _TornError as error:
            raise RunError(f"{folder}: this checkpoint is torn ({error}).") from error
        return Checkpoint(state["epochs"], tensors, state["counts"], state["history"], state["best"])

    def remove(self) -> None:
        """Takes away what trainings have put here, and the folder where nothing else is in it."""
        with suppress(OSError):  # what is left over harms nobody
            selector = pyarrow.fs.FileSelector(self.path, allow_not_found=True)
            names = [info.base_name for info in self.files.get_file_info(selector)]
            own = [name for name in names if name in (HERE, ROWS) or name.startswith(ATTEMPT)]
            for name in own:
                self.files.delete_dir(f"{self.path}/{name}")
            if len(own) == len(names):
                self.files.delete_dir(self.path)

    def _state(self, folder: str) -> dict[str, Any]:
        text, _, check = self._bytes(f"{folder}/{STATE}").decode(errors="replace").rstrip("\n").rpartition("\n")
        if hashlib.blake2b(text.encode(), digest_size=16).hexdigest() != check:
            raise _TornError(f"{STATE} is not whole")
        state: dict[str, Any] = json.loads(text)
        if state.get("fit_checkpoint") != FORMAT:
            raise RunError(f"{folder}: is of another version of raydm. Remove {self.place}, and begin again.")
        return state

    def _tensors(self, folder: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
        content = self._bytes(f"{folder}/{TENSORS}")
        if hashlib.blake2b(content, digest_size=16).hexdigest() != state["tensors"]:
            raise _TornError(f"{TENSORS} is not whole")
        try:
            return load(content)
        except SafetensorError as error:
            raise _TornError(str(error)) from error

    def _bytes(self, path: str) -> bytes:
        try:
            with self.files.open_input_stream(path) as opened:
                content: bytes = opened.read()
        except OSError as error:
            raise _TornError(f"{path.rpartition('/')[2]} cannot be read") from error
        return content


class _TornError(Exception):
    """A checkpoint is not whole."""
