"""The journal of a run: what its utilities answered, so that a run that died goes on where it was.

Everything that a method does follows from the seed and from what the utility answers. So the journal holds the answers
alone: a run that is resumed is begun again, and is given them, without any training, until there are no more. Policies,
optimizers and baselines are then what they were, to the bit.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch
from safetensors import SafetensorError
from torch import Tensor

from raydm.errors import RunError
from raydm.predictors import TrainingSets
from raydm.records import Records
from raydm.utility import Problem, Redrawn, Utility, per_rollout

FORMAT = 1
_FILE = "answers"
Arrays = list[npt.NDArray[Any]]


class Journal:
    """The answers of a run, in the order of its questions; a context that lets others have the file.

    Args:
        folder: of the journal; made with the first answer, for its owner alone.
        identity: what the run is, as JSON allows: its settings, and fingerprints of its data.
        resume: goes on with what is there; else there must be nothing.

    Attributes:
        kept: how many answers were found.
        given: how many of these were given again.

    Raises:
        RunError: there is a journal and `resume` is not said, or it is another run's, or it cannot be read.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any] | None = None, *, resume: bool = False) -> None:
        self.folder = folder
        self._identity = json.loads(json.dumps({**_writer(), **(identity or {})}, default=str))
        if not resume and (folder / _FILE).exists():
            raise RunError(
                f"{folder}: holds what an interrupted run has done. Add --resume to go on with it; or remove that "
                "folder to begin again."
            )
        self._records = Records(folder / _FILE)
        self.kept, self.given = max(0, len(self._records.spans) - 1), 0
        self._begun = bool(self._records.spans)
        try:
            if self._begun:
                self._check_identity()
        except BaseException:
            self.close()
            raise

    def over(self, make_utility: Callable[[Problem], Utility]) -> Journaled:
        """Makes utilities whose answers are kept here."""
        return Journaled(make_utility, self)

    @property
    def left(self) -> int:
        """How many answers are still to be given again."""
        return self.kept - self.given

    def next(self, question: bytes, where: str) -> Arrays | None:
        """The answer to the question that is asked now; None where there are no more.

        Args:
            question: its digest.
            where: names it in messages.

        Raises:
            RunError: another question was asked here.
        """
        if not self.left:
            return None
        try:
            found = safetensors.numpy.load(self._records.read(1 + self.given))
            same = found.pop("question").tobytes() == question
            answer = [np.array(found[str(k)]) for k in range(len(found))]  # copies, which may be written
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise RunError(f"{self.folder}: answer {self.given} is no record of a journal ({error!r}).") from error
        if not same:
            raise RunError(
                f"{self.folder}: at {where} (answer {self.given}) something else is asked than when the journal was "
                "written, so its answers do not fit. Were packages, files or the machine changed? Undo that, or remove "
                "the folder and begin again without --resume."
            )
        self.given += 1
        return answer

    def add(self, question: bytes, answer: Sequence[npt.NDArray[Any]]) -> None:
        """Keeps an answer.

        Raises:
            RunError: it cannot be written; the answers before it are kept.
        """
        if not self._begun:
            self._records.add(json.dumps(self._identity).encode())
            self._begun = True
        arrays = {str(k): np.ascontiguousarray(array) for k, array in enumerate(answer)}
        arrays["question"] = np.frombuffer(question, dtype=np.uint8)
        self._records.add(safetensors.numpy.save(arrays))

    def remove(self) -> None:
        """Takes the journal away, once what the run was made for is written."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Lets others have the file."""
        self._records.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _check_identity(self) -> None:
        try:
            there = json.loads(self._records.read(0))
            differing = _differences(there, self._identity)
        except (ValueError, RecursionError, AttributeError) as error:
            raise RunError(f"{self.folder}: does not begin as a journal does ({error!r}). Remove it.") from error
        if differing:
            raise RunError(
                f"{self.folder}: is the journal of another run: {'; '.join(differing)}. Give the same command and data "
                "as then, under the same versions; or remove the folder and begin again without --resume."
            )


class Journaled:
    """Makes a problem's utility, and keeps what it answers: pass it as `DataValuator(utility=Journaled(...))`.

    Args:
        make_utility: maps a problem to its utility, here or on a cluster, which is made once it has to answer. It must
            not be one that owns a predictor in training, such as `raydm.joint.Joint`.
        journal: of the run; it may have several utilities, one after the other.
    """

    def __init__(self, make_utility: Callable[[Problem], Utility], journal: Journal) -> None:
        self.make_utility, self.journal = make_utility, journal

    def __call__(self, problem: Problem) -> Utility:
        """A utility that answers from the journal first."""
        return _JournaledUtility(self.make_utility, self.journal, problem)


class _JournaledUtility:
    def __init__(self, make_utility: Callable[[Problem], Utility], journal: Journal, problem: Problem) -> None:
        self._make, self._journal = make_utility, journal
        self._utility: Utility | None = None
        self.turn_to(problem)
        if not journal.left:  # what cannot be placed is refused before any work
            self._live()

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """The utilities u (R,), with the slopes that were wanted."""
        sets = per_rollout(sets)
        wanted = [t for t in (sets.x, sets.y, sets.w) if t.requires_grad]
        question = self._question("u", sets, step, [np.array([t.requires_grad for t in (sets.x, sets.y, sets.w)])])
        answer = self._journal.next(question, f"step {step}")
        if answer is None:
            u = self._live()(sets, step=step)
            slopes = torch.autograd.grad(u.sum(), wanted, retain_graph=True) if wanted else ()
            self._journal.add(question, [t.detach().cpu().numpy() for t in (u, *slopes)])
            return u
        u = torch.from_numpy(answer[0])
        for tensor, slope in zip(wanted, answer[1:], strict=True):
            u = u + ((tensor - tensor.detach()) * torch.from_numpy(slope).to(tensor)).flatten(1).sum(-1)
        return u

    def predictions(self, sets: TrainingSets, x: Tensor, *, step: int) -> Tensor:
        """Of rows x (M, D): (R, M, C)."""
        question = self._question("predictions", sets, step, [_array(x)])
        answer = self._journal.next(question, f"step {step}")
        if answer is None:
            said = self._live().predictions(sets, x, step=step)
            self._journal.add(question, [_array(said)])
            return said
        return torch.from_numpy(answer[0])

    def carry(self, redrawn: Redrawn, *, step: int) -> None:
        """As the utility itself does."""
        if self._utility is not None:
            self._utility.carry(redrawn, step=step)

    def turn_to(self, problem: Problem) -> None:
        """Works on another problem from now on."""
        self._problem = problem
        said = (problem.seed, problem.shared_restart, problem.shard, problem.metric.name, _name(problem.predictor))
        self._about = _digest(str(said).encode(), [problem.valid.x, problem.valid.y])
        if self._utility is not None:
            self._utility.turn_to(problem)

    def close(self) -> None:
        """Gives back what the utility holds."""
        if self._utility is not None:
            self._utility.close()

    def _live(self) -> Utility:
        if self._utility is None:
            self._utility = self._make(self._problem)
        return self._utility

    def _question(self, what: str, sets: TrainingSets, step: int, more: Arrays) -> bytes:
        arrays = [_array(sets.x), _array(sets.y), _array(sets.w), *more]
        return _digest(f"{what} {step} ".encode() + self._about, arrays)


def _name(predictor: Any) -> str:
    """A predictor's settings; of the user's own that it is one, for what it is made of may have no name that lasts."""
    config = predictor.config() if hasattr(predictor, "config") else {"name": "custom"}
    return "custom" if config["name"] == "custom" else repr(config)


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _digest(what: bytes, arrays: Arrays) -> bytes:
    found = hashlib.blake2b(what, digest_size=16)
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.digest()


def _writer() -> dict[str, Any]:
    """What decides the bits beside settings and data."""
    found: dict[str, Any] = {"format": FORMAT}
    for name in ("raydm", "torch", "numpy"):
        with suppress(PackageNotFoundError):  # run from a source tree
            found[name] = version(name)
    return found


def _differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Each entry that differs, with both values, by its path."""
    if isinstance(there, dict) and isinstance(here, dict):
        found = []
        for key in sorted({*there, *here}):
            found += _differences(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
        return found
    return [] if there == here else [f"{name or 'it'} is {_brief(there)} there and {_brief(here)} here"]


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "..."
