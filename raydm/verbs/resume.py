"""What `--resume` goes on with: the journal beside a run's place."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from raydm.data import fingerprint
from raydm.errors import DataError, ParameterError, RunError
from raydm.journal import Journal
from raydm.report.run import versions
from raydm.storage import output
from raydm.utility import Problem, Utility
from raydm.verbs.inputs import Inputs
from raydm.verbs.line import say

# Where it runs and what it is called decides no number; of files, the fingerprints tell
_FREE = {
    *("out", "resume", "quiet", "local", "actors", "address", "cpus_per_actor", "gpus_per_actor", "rollout_timeout"),
    *("rollout_tries", "storage", "train", "valid", "test"),
}
MakeUtility = Callable[[Problem], Utility]


class Keeps(Protocol):
    """What keeps a run's answers, as a context in which they are asked for."""

    def over(self, make_utility: MakeUtility) -> MakeUtility:
        """Makes utilities whose answers are kept."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """A context in which the run is written: then what was kept goes; or it stays, and the error says so."""
        ...

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: object) -> None: ...


class _Kept(Journal):
    @contextmanager
    def writing(self) -> Iterator[None]:
        try:
            yield
        except RunError as error:
            raise RunError(
                f"{error} Nothing that was computed is lost: it is in {self.folder}, and --resume goes on with it, "
                "once there is room."
            ) from error
        self.remove()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if error[1] is None:
            return
        if isinstance(error[1], (ParameterError, DataError)) and not self.kept:  # it would only fail again
            self.remove()
        elif not isinstance(error[1], RunError) and self.folder.exists():
            say(f"what was computed is kept in {self.folder}; the same command with --resume goes on with it")


class _KeepsNothing:
    def over(self, make_utility: MakeUtility) -> MakeUtility:
        return make_utility

    def writing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def __enter__(self) -> _KeepsNothing:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def journal_of(arguments: Namespace, inputs: Inputs) -> Keeps:
    """The journal of a run: .NAME.journal beside --out, or here where that is in a store; without --out, none.

    Raises:
        RunError: there is one, and --resume is not given; or it is another run's, or torn.
    """
    check_resume(arguments)
    if arguments.out is None:
        return _KeepsNothing()
    out = output(arguments.storage, arguments.out, arguments.out)
    given = {name: value for name, value in vars(arguments).items() if name not in _FREE}
    tables = {"train": inputs.train, "valid": inputs.valid, "test": inputs.test}
    identity = {
        "arguments": given | {"kind": dict(arguments.kind)},
        "fingerprints": {name: fingerprint(table) for name, table in tables.items() if table is not None},
        "packages": {name: version for name, version in versions().items() if name not in {"ray", "pyarrow"}},
    }
    beside = out.parent if isinstance(out, Path) else Path()  # a store appends to nothing
    journal = _Kept(beside / f".{out.name}.journal", identity, resume=arguments.resume)
    if arguments.resume and not arguments.quiet:
        say(f"going on after {journal.kept} answers of the journal" if journal.kept else "nothing to resume: beginning")
    return journal


def check_resume(arguments: Namespace) -> None:
    """Raises ParameterError where there is no --out to resume."""
    if arguments.resume and arguments.out is None:
        raise ParameterError("--resume goes on with an interrupted run of the same --out: add --out, as it had.")
