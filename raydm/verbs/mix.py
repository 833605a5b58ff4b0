"""`raydm mix`: learns what to interpolate, writes the mixed rows and their worth; or applies what was learned."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from raydm.checks import check_integer
from raydm.data import Prepared, fingerprint
from raydm.errors import ParameterError
from raydm.estimators import DataMixer
from raydm.metrics import metric_for
from raydm.mixing.method import MakeUtility
from raydm.mixing.scores import gains, mixed_score
from raydm.mixing.tables import check_mixable, mixed_table
from raydm.report.atomic import check_free, new_folder
from raydm.report.linearity import linearity_evidence
from raydm.report.mix_run import write_mix_run
from raydm.report.mixing import mixing_evidence, plot_mixing
from raydm.storage import output
from raydm.verbs.inputs import Inputs, read_inputs
from raydm.verbs.line import prints_line
from raydm.verbs.mix_apply import apply
from raydm.verbs.resume import check_resume, journal_of
from raydm.verbs.setup import check_judges, check_place, make_utility, prepared_of

_SAME = (
    *("method", "predictor", "metric", "data_options", "label_options", "alpha", "admit", "steps", "outer_batch"),
    *("rollouts", "baseline", "reward_scale", "learning_rate", "anneal", "exploration", "mean_bounds", "threshold"),
    *("thresholds", "pick", "repeats", "warm_start", "schedule", "shard", "shared_restart"),
)
_SHOWN = ("utility", "mean_h", "loss")  # of the history, beside the progress bar


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    check_integer("raydm mix", "seed", arguments.seed, 0)
    check_integer("raydm mix", "test_repeats", arguments.test_repeats, 1)
    check_place(arguments)
    if arguments.apply:
        return apply(arguments)
    check_resume(arguments)
    mixer = make_mixer(arguments, make_utility(arguments))
    inputs = read_inputs(arguments)
    name = f"{inputs.name}-mix-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"
    out = output(arguments.storage, arguments.out, Path("runs") / name)
    check_free(out)
    prepared = prepared_to_mix(arguments, inputs)
    for note in prepared.encoder.notes:  # of its other notes prepare has warned
        _say(note)
    with journal_of(arguments, inputs) as journal:
        mixer.utility = journal.over(mixer.utility)
        _learn(mixer, prepared, quiet=arguments.quiet)
        judge, name = (prepared.test, "test") if prepared.test is not None else (prepared.valid, "validation")
        figures = gains(mixer.problem_, prepared.train, mixer.pairs_, judge, arguments.test_repeats)
        evidence = mixing_evidence(
            mixer.mixer_, mixer.pairs_, prepared.train, mixer.candidates_, figures, name,
            linearity_evidence(mixer.problem_, prepared.train, mixer.pairs_),
        )  # fmt: skip
        with journal.writing(), new_folder(out) as folder:
            write_mix_run(
                folder,
                config=_config(arguments, inputs, mixer),
                mixed=mixed_table(inputs.train, prepared.roles, mixer.pairs_, prepared.train.ids),
                history=mixer.history_,
                evidence=evidence,
                mixer=mixer.mixer_,
                task=mixer.problem_.task,
                n_features=prepared.train.x.shape[1],
                predictor=mixer.predictor_,
                roles=prepared.roles,
            )
            plot_mixing(evidence, folder / "mixing.png", f"{inputs.name}: {arguments.method}")
    if name == "validation":
        _say("the figures are of the validation set, on which the settings were chosen: give --test for a fair judge")
    _say(f"the run is in {out}")
    return {
        "run": str(out),
        "method": arguments.method,
        "rows": len(prepared.train),
        "mixed_rows": len(mixer.pairs_),
        "seconds": round(mixer.seconds_, 3),
        **figures,
        "judge": name,
        "valid_score": mixed_score(mixer.problem_, prepared.train, mixer.pairs_, arguments.repeats),
        "chosen": mixer.chosen_,
    }


def make_mixer(arguments: Namespace, utility: MakeUtility) -> DataMixer:
    """The mixer that the flags ask for, its arguments checked."""
    mixer = DataMixer(
        **{name: getattr(arguments, name) for name in _SAME},
        lam=None if arguments.lam == "beta" else arguments.lam,
        method_params=arguments.method_args,
        predictor_params=arguments.predictor_args,
        utility=utility,
        random_state=arguments.seed,
    )
    mixer.check()
    return mixer


def prepared_to_mix(arguments: Namespace, inputs: Inputs) -> Prepared:
    """The tables, checked and encoded.

    Raises:
        ParameterError: the labels are classes, or a column cannot be interpolated.
        DataError: data that cannot be used, or a metric that is not defined on it.
    """
    if inputs.task == "classification":
        raise ParameterError(f"raydm mix interpolates targets, and the labels of {inputs.name!r} are classes.")
    prepared = prepared_of(arguments, inputs, task="regression")
    check_mixable(prepared.roles, inputs.names[0])
    check_judges(metric_for(arguments.metric, "regression"), prepared, inputs, test=False)  # whose metrics are fixed
    return prepared


def _learn(mixer: DataMixer, prepared: Prepared, *, quiet: bool) -> None:
    steps = mixer.iterate(prepared)
    with tqdm(steps, desc=mixer.method, unit="step", file=sys.stderr, disable=quiet) as bar:
        for _ in bar:
            bar.total = mixer.total_
            last = {k: v for k, v in mixer.history_[-1].items() if k in _SHOWN}
            bar.set_postfix({k: f"{v:.4g}" for k, v in last.items()}, refresh=False)


def _config(arguments: Namespace, inputs: Inputs, mixer: DataMixer) -> dict[str, Any]:
    given = {k: v for k, v in vars(arguments).items() if k not in {"module", "out", "resume", "quiet", "kind", "apply"}}
    tables = {"train": inputs.train, "valid": inputs.valid, "test": inputs.test}
    return {
        "method": arguments.method,
        "arguments": given | {"kind": dict(arguments.kind)},
        "predictor": mixer.problem_.predictor.config(),
        "metric": mixer.problem_.metric.name,
        "chosen": mixer.chosen_,
        "fingerprints": {name: fingerprint(table) for name, table in tables.items() if table is not None},
        "rows": {name: table.num_rows for name, table in tables.items() if table is not None},
        "notes": mixer.prepared_.notes,
        "seconds": mixer.seconds_,
    }


def _say(text: str) -> None:
    print(f"raydm: {text}", file=sys.stderr)
