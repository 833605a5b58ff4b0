"""Flags of `raydm jobs`."""

from __future__ import annotations

import argparse

from raydm.flags.common import add_job_server
from raydm.flags.verb import Verb

_ACTIONS = {
    "list": "list them, the latest last",
    "logs": "print a job's log on stdout",
    "stop": "stop a job; what it has not written is lost, but for its journal",
}


def _jobs(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for action, told in _ACTIONS.items():
        own = actions.add_parser(action, help=told, description=told)
        if action != "list":
            own.add_argument("job", metavar="JOB", help="its id, as raydm submit and raydm jobs list tell it")
        if action == "list":
            own.add_argument("--json", action="store_true", help="as one JSON line on stdout")
        if action == "logs":
            own.add_argument("--follow", action="store_true", help="go on until the job ends")
        add_job_server(own)
        own.set_defaults(module="jobs", action=action)


JOBS = Verb("jobs", "list, follow or stop the jobs of a Ray cluster", None, _jobs)
