"""The ledger of a sweep: what was begun, seen and ended, so that a sweep that died goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raydm.errors import RunError
from raydm.records import Records
from raydm.sweep.spaces import Settings

FORMAT = 1
_FILE = "ledger"
Row = dict[str, Any]  # what a trial gave; see `raydm.sweep.results`


class Ledger:
    """An append-only file of what happened in a sweep; a context that lets others have the file.

    Args:
        folder: of the sweep's work; made for its owner alone.
        identity: what is swept, as JSON allows: settings, space, fingerprints of the data.
        resume: goes on with what is there; else there must be nothing.

    Attributes:
        ended: the rows of trials that ended, by number.
        open: the settings of those that were begun and did not end.
        reports: by trial what it reported on its way: pairs of its count of reports and the utility seen.

    Raises:
        RunError: there is one and `resume` is not said, or it is another sweep's, or it cannot be read.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = folder
        file = folder / _FILE
        if not resume and file.exists():
            raise RunError(
                f"{folder}: holds what an interrupted sweep has done. Add --resume to go on with it; or remove that "
                "folder to begin again."
            )
        self.ended: dict[int, Row] = {}
        self.open: dict[int, Settings] = {}
        self.reports: dict[int, list[tuple[float, float]]] = {}
        own = json.loads(json.dumps({"format": FORMAT, **identity}, default=str))
        self._records = Records(file)
        try:
            if self._records.spans:
                self._read(own)
            else:
                self._records.add(json.dumps(own).encode())
        except BaseException:
            self.close()
            raise

    def begin(self, number: int, settings: Settings) -> None:
        """A trial begins, with these settings from now on."""
        self.open[number] = settings
        self._add({"begun": number, "settings": settings})

    def report(self, number: int, reports: float, utility: float) -> None:
        """It saw this utility on its way."""
        self.reports.setdefault(number, []).append((reports, utility))
        self._add({"seen": number, "reports": reports, "utility": utility})

    def end(self, row: Row) -> None:
        """It ended."""
        self.ended[row["trial"]] = row
        self.open.pop(row["trial"], None)
        self._add({"ended": row["trial"], "row": row})

    def reopen(self, state: str) -> None:
        """Takes the trials that ended so for such that were begun and did not end."""
        for number in [number for number, row in self.ended.items() if row.get("state") == state]:
            self.open[number] = self.ended.pop(number)["settings"]

    def close(self) -> None:
        """Lets others have the file."""
        self._records.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _add(self, event: Mapping[str, Any]) -> None:
        self._records.add(json.dumps(event).encode())

    def _read(self, own: Mapping[str, Any]) -> None:
        try:
            there, *events = [json.loads(self._records.read(k)) for k in range(len(self._records.spans))]
            differing = sorted(key for key in {*there, *own} if there.get(key) != own.get(key))
            if not differing:
                for event in events:
                    self._take(event)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(f"{self.folder}: is no ledger of a sweep ({error!r}). Remove the folder.") from error
        if differing:
            raise RunError(
                f"{self.folder}: is the work of another sweep: it differs in {', '.join(differing)}. Give the same "
                "command and data as then; or remove the folder and begin again without --resume."
            )

    def _take(self, event: Mapping[str, Any]) -> None:
        if "begun" in event:
            self.open[int(event["begun"])] = dict(event["settings"])
        elif "seen" in event:
            self.reports.setdefault(int(event["seen"]), []).append((event["reports"], float(event["utility"])))
        else:
            self.ended[int(event["ended"])] = dict(event["row"])
            self.open.pop(int(event["ended"]), None)
