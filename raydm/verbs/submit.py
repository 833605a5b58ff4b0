"""`raydm submit`: runs a verb on a Ray cluster, as a job; prints its JSON line, and ends with its exit code."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import uuid
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

import raydm
from raydm.errors import ClusterError, ParameterError
from raydm.verbs.upload import files_of, pack

_STOPPED = 128 + signal.SIGTERM
_INTERRUPTED = 130


def run(arguments: Namespace) -> None:
    """Runs the verb."""
    job: Namespace = arguments.job
    kept = _is_kept(job)
    files, theirs = files_of(job)
    from raydm.distributed.jobs import JobServer  # Ray takes a second to import

    server = JobServer(arguments.address, insecure=arguments.insecure)
    if not kept:
        _say("without --storage the output stays in the job's own folder on the cluster, which Ray removes")
    for path in theirs:
        if Path(path).exists():
            _say(f"{path} is an absolute path: it is read where the job runs, and not sent")
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"raydm-{arguments.verb}-{stamp}-{uuid.uuid4().hex[:6]}"
    with tempfile.TemporaryDirectory(prefix="raydm-") as folder:
        package = Path(folder) / "job.zip"
        pack(files, package, job=name)
        words = ["python", "-m", "raydm.cli", *arguments.words]
        server.submit(words, package, name=name, metadata={"raydm": raydm.__version__, "verb": arguments.verb})
    _say(f"job {name} is submitted to {server.url}, with {len(files)} files")
    if arguments.follow:
        sys.exit(_followed(server, name))
    print(json.dumps({"job": name, "address": server.url}))


def _is_kept(job: Namespace) -> bool:
    """Whether the output stays when the job's own folder goes.

    Raises:
        ParameterError: it was meant to, and would not.
    """
    storage, out = getattr(job, "storage", None), getattr(job, "out", None)
    if storage is not None and "://" not in storage and not Path(storage).is_absolute():
        raise ParameterError(
            f"--storage {storage}: is below the job's own folder, which goes with it. Give an absolute path that all "
            "machines of the cluster see, s3://... or gs://..."
        )
    return storage is not None or (out is not None and out.is_absolute())


def _followed(server: Any, name: str) -> int:
    """Follows a job to its end; its exit code."""
    log = Log()
    try:
        job = server.follow(name, log.write)
    except KeyboardInterrupt:
        _say(f"interrupted; the job goes on. `raydm jobs stop {name} --address {server.url}` ends it")
        return _INTERRUPTED
    if job.status == "SUCCEEDED":
        log.end()
        return 0
    log.end(succeeded=False)
    if job.status == "STOPPED":
        _say(f"job {name} was stopped")
        return _STOPPED
    if job.code is None:  # it never began, or its node died
        raise ClusterError(f"job {name} failed: {job.message}")
    code = job.code if 0 < job.code < 256 else 128 - job.code if -128 < job.code < 0 else 1
    if code > 128:
        _say(f"job {name} was ended by signal {code - 128}; signal 9 is often that of a machine without memory")
    return int(code)


class Log:
    """Takes a job's log: all goes to stderr as it comes, but for the last line that is JSON, which is the result."""

    def __init__(self) -> None:
        self._line: str | None = None
        self._told = True  # whether that line is on stderr, too
        self._rest = ""

    def write(self, text: str) -> None:
        """Takes the next piece, of lines or less."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._tell()
            if _is_object(line):
                self._line, self._told = line, False
            else:
                print(line, file=sys.stderr)

    def end(self, *, succeeded: bool = True) -> None:
        """There is no more; a job that failed has no result."""
        self.write("\n" if self._rest else "")
        if not succeeded:
            self._tell()
        elif self._line is not None:
            print(self._line)

    def _tell(self) -> None:
        """Puts the line where it stood in the log: more followed, or it is no result."""
        if not self._told:
            print(self._line, file=sys.stderr)
            self._told = True


def _is_object(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _say(text: str) -> None:
    print(f"raydm: {text}", file=sys.stderr)
