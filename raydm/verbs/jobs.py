"""`raydm jobs`: the jobs of a Ray cluster."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

_COLUMNS = ("job", "status", "code", "started", "seconds", "command")


def run(arguments: Namespace) -> None:
    """Runs the verb."""
    from raydm.distributed.jobs import JobServer  # Ray takes a second to import

    server = JobServer(arguments.address, insecure=arguments.insecure)
    if arguments.action == "list":
        jobs = server.jobs()
        print(json.dumps([_line(job) for job in jobs])) if arguments.json else _show(jobs)
    elif arguments.action == "stop":
        print(json.dumps(_line(server.stop(arguments.job))))
    elif arguments.follow:
        server.follow(arguments.job, _write)
    else:
        _write(server.log(arguments.job))


def _line(job: Any) -> dict[str, Any]:
    """What is told of a job; Ray's message holds the end of its log, which `logs` prints whole."""
    told = asdict(job)
    del told["message"]
    return {"job": told.pop("id"), **told}


def _show(jobs: Sequence[Any]) -> None:
    rows = [list(_COLUMNS)]
    for job in jobs:
        line = _line(job)
        started = line["started"]
        line["started"] = None if started is None else datetime.fromtimestamp(started).strftime("%Y-%m-%d %H:%M:%S")
        rows.append(["" if line[column] is None else str(line[column]) for column in _COLUMNS])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
