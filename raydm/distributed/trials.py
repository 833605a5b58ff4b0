"""What Ray Tune runs: one trial of a sweep in a process of its own."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from raydm.distributed.cluster import hide_gpus
from raydm.distributed.population import Line, copy_member, load_line
from raydm.errors import DataError, MissingPackageError, ParameterError
from raydm.sweep.results import failed
from raydm.sweep.spaces import Settings

PARTS = 20  # of a training, by which a scheduler counts
ROW = "row"  # the key of a finished trial's row, in its last report

Train = Callable[..., dict[str, Any]]  # settings, where, report, journal -> row


@dataclass(frozen=True)
class Job:
    """What all trials of a sweep share.

    Attributes:
        train: trains one: of settings, where, report and a journal's folder (or None).
        where: trainings run.
        folder: of the sweep's work, on the node that has it.
        node: the id of that node.
        numbers: of a population, by the place in Tune's own count; empty where a config tells the number.
    """

    train: Train
    where: Any
    folder: Path
    node: str
    numbers: tuple[int, ...] = ()

    def place(self, number: int) -> Path | None:
        """A folder that outlives the trial's process; None on another node."""
        here: bool = ray.get_runtime_context().get_node_id() == self.node
        return self.folder / f"trial-{number:05d}" if here else None

    def row(self, number: int, settings: Settings, report: Any, journal: Path | None) -> dict[str, Any]:
        """Trains; what no other try would better is a row, and whatever else is raised is tried again."""
        torch.set_num_threads(1)  # small stacks are fastest so
        hide_gpus()
        try:
            return {"trial": number, **self.train(settings, self.where, report, journal)}
        except (ParameterError, DataError, MissingPackageError) as error:
            return failed(number, settings, str(error), 1)


def run_trial(config: dict[str, Any], *, job: Job) -> None:
    """A trial that begins and ends with the same settings."""
    number, settings = config["number"], config["settings"]
    last = float("nan")

    def report(step: int, share: float, utility: float) -> None:
        nonlocal last
        last = utility
        tune.report({"parts": int(share * PARTS + 1e-9), "share": share, "seen": utility, "utility": utility})

    _end(job.row(number, settings, report, job.place(number)), last)


def run_member(config: dict[str, Any], *, job: Job) -> None:
    """A trial whose settings, and whose past, the scheduler may change."""
    number = number_of(tune.get_context().get_trial_id(), job.numbers)
    kept = job.place(number)
    folder = kept or Path(tempfile.mkdtemp(prefix="raydm-"))
    try:
        if (checkpoint := tune.get_checkpoint()) is not None:
            with checkpoint.as_directory() as source:
                copy_member(Path(source), folder)
        line = load_line(folder) or Line(dict(config["settings"]))
        line.turn(config["settings"])
        line.save(folder)  # before any answer that follows from it
        past, last = line.step, float("nan")

        def report(step: int, share: float, utility: float) -> None:
            nonlocal last
            last = utility
            if step <= past:  # the journal's answers: reported long ago
                return
            line.step = step
            line.save(folder)
            with tempfile.TemporaryDirectory(prefix="raydm-") as copy:
                copy_member(folder, Path(copy))
                tune.report(
                    {"parts": int(share * PARTS + 1e-9), "share": share, "seen": utility, "utility": utility},
                    checkpoint=tune.Checkpoint.from_directory(copy),
                )

        _end(job.row(number, line.training(), report, folder), last)
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)


def number_of(trial_id: str, numbers: tuple[int, ...]) -> int:
    """The number of a member; Tune counts them at the end of its ids."""
    return numbers[int(trial_id.rpartition("_")[2])]


def _end(row: dict[str, Any], seen: float) -> None:
    utility = row.get("utility", float("nan"))
    tune.report({"parts": PARTS, "share": 1.0, "seen": seen, "utility": utility, ROW: json.dumps(row)})
