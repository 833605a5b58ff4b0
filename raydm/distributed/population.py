"""A member of a population based training: its line of settings, and what a checkpoint of it is.

All that a training does follows from its settings and from what its rollouts answered. So a checkpoint is the settings
since the beginning (a schedule) and the journal of answers; who goes on from another's takes both, is given the answers
again without any training, and changes settings at the next step.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raydm.errors import RunError
from raydm.sweep.spaces import Settings

_LINE, ANSWERS = "line.json", "answers"


@dataclass
class Line:
    """The settings of a member, since the beginning.

    Attributes:
        root: with which the line began.
        schedule: changes, by the step from which they hold.
        step: how many steps were done when it last reported.
    """

    root: Settings
    schedule: dict[int, Settings] = field(default_factory=dict)
    step: int = 0

    @property
    def current(self) -> Settings:
        """The settings that hold now."""
        found = dict(self.root)
        for _, changes in sorted(self.schedule.items()):
            found |= changes
        return found

    def turn(self, settings: Mapping[str, Any]) -> None:
        """Has these from the next step on."""
        changes = {name: value for name, value in settings.items() if self.current[name] != value}
        if changes and self.step:
            self.schedule[self.step] = {**self.schedule.get(self.step, {}), **changes}
        else:
            self.root |= changes

    def training(self) -> Settings:
        """The settings as a run of its own takes them."""
        schedule = {str(step): changes for step, changes in sorted(self.schedule.items())}
        return {**self.root, "schedule": schedule} if schedule else dict(self.root)

    def save(self, folder: Path) -> None:
        """Writes it; whole, or as it was."""
        content = {"root": self.root, "schedule": sorted(self.schedule.items()), "step": self.step}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = folder / f".{_LINE}"
        temporary.write_text(json.dumps(content))
        temporary.replace(folder / _LINE)


def load_line(folder: Path) -> Line | None:
    """What `Line.save` wrote; None where there is none.

    Raises:
        RunError: it cannot be read.
    """
    try:
        content = json.loads((folder / _LINE).read_text())
        schedule = {int(step): dict(changes) for step, changes in content["schedule"]}
        return Line(dict(content["root"]), schedule, int(content["step"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(
            f"{folder / _LINE}: cannot be read ({error!r}). Remove the sweep's work to begin again."
        ) from error


def copy_member(source: Path, target: Path) -> None:
    """A member's files, in the place of those that another has."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (_LINE, ANSWERS):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)
