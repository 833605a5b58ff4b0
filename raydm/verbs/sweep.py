"""`raydm sweep`: trains a verb with many settings; writes what they gave, and the best as a config that runs."""

from __future__ import annotations

import shutil
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from raydm.data import fingerprint
from raydm.errors import ParameterError, RaydmError, RunError
from raydm.report.atomic import check_free, new_folder
from raydm.report.run import dump, versions
from raydm.report.sweep import plot_sweep
from raydm.storage import Place, output
from raydm.sweep.ledger import Ledger, Row
from raydm.sweep.progress import Progress
from raydm.sweep.results import FAILED, FINISHED, STOPPED, best, config_of, config_text, failed, table
from raydm.sweep.search import Search, make_search, replay
from raydm.sweep.spaces import Dimension
from raydm.verbs.inputs import Inputs, read_inputs
from raydm.verbs.line import prints_line, say
from raydm.verbs.sweep_checks import PLACES, base_of, check_sweep, check_trials, space_of
from raydm.verbs.trials import Trainer, Where

FORMAT = 1


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    started = time.perf_counter()
    check_sweep(arguments)
    space, thresholds = space_of(arguments)
    search = make_search(arguments.search, space, arguments.samples, arguments.search_seed)
    base = base_of(arguments.given)
    inputs = read_inputs(arguments)
    trainer = Trainer(arguments.swept, arguments.make, base, inputs, thresholds)
    check_trials(trainer, space)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    out = output(arguments.storage, arguments.out, Path("runs") / f"{inputs.name}-sweep-{arguments.swept}-{stamp}")
    check_free(out)
    with _placed(arguments) as sweep, _ledger(arguments, out, base, inputs) as ledger:
        ledger.reopen(FAILED)  # a resumed sweep begins them again: what they failed by may be mended
        utilities = {number: (row["settings"], row.get("utility")) for number, row in ledger.ended.items()}
        replay(search, utilities, ledger.open)
        if arguments.resume and not arguments.quiet:
            say(f"going on after {len(utilities)} of {search.total} trials" if utilities or ledger.open else
                "nothing to resume: beginning")  # fmt: skip
        progress = Progress([d.name for d in space], search.total - len(utilities), quiet=arguments.quiet)
        if sweep is None:
            _run_here(trainer, search, ledger, progress, arguments.tries)
        else:
            sweep.run(
                trainer, _where, search, space, ledger, progress, scheduler=arguments.scheduler, grace=arguments.grace,
                reduction=arguments.reduction, tries=arguments.tries, seed=arguments.search_seed,
            )  # fmt: skip
        rows = [ledger.ended[number] for number in sorted(ledger.ended)]
        line = _write(arguments, out, space, base, inputs, rows, time.perf_counter() - started)
    shutil.rmtree(ledger.folder, ignore_errors=True)
    say(f"the sweep is in {out}; its best trial runs again by: raydm {arguments.swept} --config {out / 'best.yaml'}")
    return line


@contextmanager
def _placed(arguments: Namespace) -> Iterator[Any]:
    """Where trials run: on Ray, or here (None)."""
    if arguments.local:
        yield None
        return
    from raydm.distributed.places import Places
    from raydm.distributed.sweep import RaySweep  # Ray Tune takes seconds to import; a local sweep does not need it

    given = {name.removeprefix("trials_"): getattr(arguments, name) for name in PLACES}
    given |= {name: getattr(arguments, f"rollout_{name}", None) for name in ("timeout", "tries")}
    places = Places(**{name: value for name, value in given.items() if value is not None})
    with RaySweep(places, arguments.address) as sweep:
        yield sweep


def _where(utility: Any, run: Any) -> Where:
    return Where(**{name: value for name, value in (("utility", utility), ("run", run)) if value is not None})


@contextmanager
def _ledger(arguments: Namespace, out: Place, base: Mapping[str, Any], inputs: Inputs) -> Iterator[Ledger]:
    tables = {"train": inputs.train, "valid": inputs.valid, "test": inputs.test}
    identity = {
        "verb": arguments.swept,
        "flags": {name: value for name, value in base.items() if name not in tables},
        "fingerprints": {name: fingerprint(table) for name, table in tables.items() if table is not None},
        **{name: getattr(arguments, name) for name in ("space", "thresholds", "search", "samples", "search_seed")},
        **{name: getattr(arguments, name) for name in ("scheduler", "grace", "reduction")},
        "packages": {name: version for name, version in versions().items() if name not in {"ray", "pyarrow"}},
    }
    beside = out.parent if isinstance(out, Path) else Path()  # a store appends to nothing
    ledger = Ledger(beside / f".{out.name}.sweep", identity, resume=arguments.resume)
    try:
        with ledger:
            yield ledger
    except BaseException:
        if ledger.ended or ledger.open:
            again = f"--out {_named(arguments, out)} --resume"
            say(f"what was done is kept in {ledger.folder}; the same command with {again} goes on with it")
        else:
            shutil.rmtree(ledger.folder, ignore_errors=True)
        raise


def _named(arguments: Namespace, out: Place) -> str:
    """What --out says of a place."""
    return out.name if arguments.storage is not None and arguments.out is None else str(arguments.out or out)


def _run_here(trainer: Trainer, search: Search, ledger: Ledger, progress: Progress, tries: int) -> None:
    """One trial after the other, in this process."""
    while (proposal := search.propose()) is not None:
        number, settings = proposal.number, proposal.settings
        ledger.begin(number, settings)

        def report(step: int, share: float, utility: float, number: int = number) -> None:
            progress.seen(number, share, utility)

        for attempt in range(1, tries + 1):
            try:
                found = trainer(settings, Where(), report, ledger.folder / f"trial-{number:05d}")
                row: Row = {"trial": number, **found, "tries": attempt}
                break
            except RaydmError as error:
                row = failed(number, settings, str(error), attempt)
                if isinstance(error, ParameterError):
                    break
        search.tell(number, row.get("utility"))
        ledger.end(row)
        progress.ended(row)


def _write(
    arguments: Namespace, out: Place, space: Sequence[Dimension], base: Mapping[str, Any], inputs: Inputs,
    rows: Sequence[Row], seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Writes the folder; its JSON line."""
    top = best(rows)
    config = config_of(arguments.swept, base, top)
    counts = {state: sum(row["state"] == state for row in rows) for state in (FINISHED, STOPPED, FAILED)}
    if counts[FAILED]:
        say(f"{counts[FAILED]} of {len(rows)} trials failed; trials.parquet says why")
    told = {
        "verb": arguments.swept, "search": arguments.search, "scheduler": arguments.scheduler, "trials": len(rows),
        **counts, "metric": top["metric"],
        "best": {name: top[name] for name in ("trial", "settings", "chosen", "utility", "valid_score", "test_score")},
        "seconds": round(seconds, 3),
    }  # fmt: skip
    tables = {"train": inputs.train, "valid": inputs.valid, "test": inputs.test}
    try:
        with new_folder(out) as folder:
            (folder / "best.yaml").write_text(config_text(config, top, len(rows)))
            pq.write_table(table(rows), folder / "trials.parquet")
            dump(folder / "sweep.json", {
                "sweep_format": FORMAT, **told, "flags": dict(base), "space": [asdict(d) for d in space],
                "thresholds": arguments.thresholds, "rows": list(rows), "packages": versions(),
                "fingerprints": {name: fingerprint(t) for name, t in tables.items() if t is not None},
            })  # fmt: skip
            plot_sweep(rows, [d.name for d in space], folder, f"{inputs.name}: raydm {arguments.swept}")
    except RunError as error:
        raise RunError(f"{error} Nothing is lost: --resume writes it once there is room.") from error
    return {"run": str(out), **told, "config": str(out / "best.yaml")}
