"""Jobs on a Ray cluster, through the job server of its dashboard: submitted, followed, listed, stopped."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from raydm.distributed.access import MODE, turn_on_tokens
from raydm.errors import ClusterError, MissingPackageError, ParameterError

ADDRESS = "RAY_API_SERVER_ADDRESS"
USUAL = "http://127.0.0.1:8265"
_PATIENCE = (10.0, 30.0)  # seconds: to connect, to answer
_TRIES = 6  # to reach a server that was there
_PAUSE_S = 2.0
_BUSY = re.compile(r"status code (500|502|503|504)")
_STOPPING_S = 60.0  # in which a job that is stopped should end; Ray kills it after 3
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True)
class Job:
    """A job, as its server tells of it.

    Attributes:
        id: of the job.
        status: PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED.
        code: the exit code of its process; None where it did not end by itself, or never began.
        command: what is run.
        started: seconds since 1970; None before that.
        seconds: that it runs or ran.
        message: what Ray says of it.
    """

    id: str
    status: str
    code: int | None
    command: str
    started: float | None
    seconds: float | None
    message: str

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.status in _ENDED


class JobServer:
    """The job server of a cluster.

    Args:
        address: "http://host:port" of the dashboard; None: RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265.
        insecure: one on another machine need not ask for a token.

    Raises:
        ParameterError: the address is none of a dashboard.
        ClusterError: nothing answers there, it asks for another token, or for none where it should.
        MissingPackageError: Ray's client for jobs is not installed.
    """

    def __init__(self, address: str | None = None, *, insecure: bool = False) -> None:
        self.url = url_of(address or os.environ.get(ADDRESS) or USUAL)
        try:
            import aiohttp  # noqa: F401 - what follows logs
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise MissingPackageError.of("ray[default]", "Submitting jobs", "pip install 'ray[default]'") from error
        for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)  # they tell of each step
        tokens, asks = turn_on_tokens(), self._asks()
        if not asks and not insecure and not is_loopback(self.url):
            raise ClusterError(
                f"{self.url}: asks nobody for a token, so whoever reaches it can run code on it, and read what you "
                f"send. Start the cluster with {MODE}=token; or say --insecure, to submit all the same."
            )
        if asks and not tokens:
            raise ClusterError(f"{self.url}: asks for a token, and {MODE} here says to have none. Set {MODE}=token.")
        with self._told(), _only(self.url):
            # A server that asks for no token is not shown one: a header that is there is not replaced by Ray
            self._client = JobSubmissionClient(self.url, headers=None if asks else {"Authorization": ""})

    def submit(self, words: Sequence[str], package: Path, *, name: str, metadata: Mapping[str, str]) -> None:
        """Starts a command in a folder of its own that holds what the package (.zip) does, as the job `name`."""
        for left in reversed(range(_TRIES)):
            try:
                with self._told():
                    self._client.submit_job(
                        entrypoint=shlex.join(words),
                        runtime_env={"working_dir": str(package)},
                        submission_id=name,
                        metadata=dict(metadata),
                    )
                return
            except ClusterError as error:  # a busy head answers too late, having taken the job or not
                if not left or not _BUSY.search(str(error)):
                    raise
                time.sleep(_PAUSE_S)
                with suppress(ClusterError):
                    self.job(name)
                    return

    def job(self, job: str) -> Job:
        """What is known of a job."""
        with self._told(job):
            return _job(self._client.get_job_info(job))

    def jobs(self) -> list[Job]:
        """All that were submitted, the latest last."""
        with self._told():
            found = [_job(info) for info in self._client.list_jobs() if info.submission_id is not None]
        return sorted(found, key=lambda job: job.started or float("inf"))

    def log(self, job: str) -> str:
        """What a job has written so far, on stdout and stderr."""
        with self._told(job):
            return str(self._client.get_job_logs(job))

    def follow(self, job: str, write: Callable[[str], None]) -> Job:
        """Hands on what a job writes, until it ends; how it ended."""
        seen, tries = 0, 0
        while True:
            try:
                before = seen
                seen = asyncio.run(self._tail(job, seen, write))
                tries = 0 if seen > before else tries
                if (found := self.job(job)).ended:
                    return found
            except ClusterError:
                raise
            except Exception as error:  # aiohttp's, asyncio's and Ray's: the connection broke, or never was
                tries += 1
                if tries >= _TRIES:
                    raise ClusterError(
                        f"{self.url}: the connection broke ({error!r}). The job {job} goes on: "
                        f"raydm jobs logs {job} --follow --address {self.url}"
                    ) from error
                time.sleep(_PAUSE_S * tries)

    def stop(self, job: str) -> Job:
        """Stops a job, and waits until it ended; how it ended."""
        with self._told(job):
            self._client.stop_job(job)
        until = time.monotonic() + _STOPPING_S
        while not (found := self.job(job)).ended:
            if time.monotonic() > until:
                raise ClusterError(f"{self.url}: the job {job} was told to stop, and still is {found.status}.")
            time.sleep(0.2)
        return found

    async def _tail(self, job: str, seen: int, write: Callable[[str], None]) -> int:
        """Hands on what stands behind the first `seen` characters; how many there are now."""
        read = 0
        async for piece in self._client.tail_job_logs(job):
            read += len(piece)
            if read > seen:
                write(piece[len(piece) - (read - seen) :])
                seen = read
        return seen

    def _asks(self) -> bool:
        """Whether it asks for a token, which is not shown to it here."""
        import requests

        try:
            answer = requests.get(f"{self.url}/api/jobs/", timeout=_PATIENCE, allow_redirects=False)
        except requests.RequestException as error:
            raise ClusterError(
                f"{self.url}: no job server of Ray answers there ({_reason(error)}). Name the address of the cluster's "
                "dashboard, such as http://127.0.0.1:8265 where a tunnel of `ray dashboard` or `ssh -L` begins."
            ) from error
        if answer.status_code not in (200, 401):
            raise ClusterError(
                f"{self.url}: answers, but not as a job server of Ray does (HTTP {answer.status_code}). Name the "
                "address of the cluster's dashboard; a cluster needs ray[default] to have one."
            )
        return bool(answer.status_code == 401)

    @contextmanager
    def _told(self, job: str | None = None) -> Iterator[None]:
        """What Ray's client raises, as a ClusterError; none of its messages holds the token."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise ClusterError(
                f"{self.url}: refused the token (or there is none here). Set RAY_AUTH_TOKEN_PATH to the file with that "
                "of the cluster, or RAY_AUTH_TOKEN to the token itself."
            ) from error
        except (RuntimeError, OSError, ValueError) as error:
            if job is not None and "status code 404" in str(error):
                raise ClusterError(f"{self.url}: has no job {job!r}. See `raydm jobs list`.") from error
            raise ClusterError(f"{self.url}: {_brief(error)}") from error


def url_of(address: str) -> str:
    """The address with its scheme.

    Raises:
        ParameterError: it is none of a dashboard.
    """
    url = address if "://" in address else f"http://{address}"
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ParameterError("--address holds a password, which logs would keep. Use the cluster's token.")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.hostname.isdigit():  # a port alone
        raise ParameterError(
            f"--address {address}: jobs go to the cluster's dashboard, such as http://127.0.0.1:8265; not to its GCS "
            "(port 6379) or its client (ray://)."
        )
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine alone."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@contextmanager
def _only(url: str) -> Iterator[None]:
    """Ray's client would rather go where RAY_API_SERVER_ADDRESS or RAY_ADDRESS point to than where it is told to."""
    before = os.environ.get(ADDRESS)
    os.environ[ADDRESS] = url
    try:
        yield
    finally:
        os.environ.pop(ADDRESS) if before is None else os.environ.update({ADDRESS: before})


def _job(info: Any) -> Job:
    started = None if info.start_time is None else info.start_time / 1000
    until = time.time() if info.end_time is None else info.end_time / 1000
    seconds = None if started is None else round(max(0.0, until - started), 3)
    code = info.driver_exit_code
    return Job(str(info.submission_id), str(info.status), code, info.entrypoint, started, seconds, info.message or "")


def _reason(error: BaseException) -> str:
    """What the system said, beneath what libraries made of it."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    return type(error).__name__


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or repr(error)
