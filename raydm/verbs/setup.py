"""What `raydm value` and `raydm compare` do alike before anything is learned."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from raydm.data import Prepared, flip_labels, prepare
from raydm.data.labels import TaskKind
from raydm.errors import DataError, ParameterError
from raydm.estimators import DataValuator
from raydm.metrics import Metric
from raydm.utility import InProcess
from raydm.valuation import MakeUtility
from raydm.verbs.inputs import Inputs

_SAME = (
    *("predictor", "metric", "steps", "outer_batch", "rollouts", "baseline", "reward_scale", "learning_rate", "anneal"),
    *("exploration", "mean_bounds", "evidence", "start", "judge", "restarts", "policy", "temperature"),
    *("control_variate", "schedule", "threshold", "final", "task", "shard", "shared_restart"),
)


def make_valuator(arguments: Namespace, method: str, params: dict[str, object]) -> DataValuator:
    """The valuator that the flags ask for, its arguments checked."""
    valuator = DataValuator(
        **{name: getattr(arguments, name) for name in _SAME},
        method=method,
        method_params=params,
        predictor_params=arguments.predictor_args,
        utility=make_utility(arguments),
        random_state=arguments.seed,
    )
    valuator.check()
    return valuator


def check_flags(arguments: Namespace) -> None:
    """Raises ParameterError where a flag that is not the valuator's is out of its range or does not fit the others."""
    verb = f"raydm {arguments.module}"
    if not 0 <= arguments.noise < 1:
        raise ParameterError.of("noise", verb, "a number in [0, 1)", arguments.noise)
    if arguments.seed < 0:
        raise ParameterError.of("seed", verb, "an integer >= 0", arguments.seed)
    check_place(arguments)


def check_place(arguments: Namespace) -> None:
    """Raises ParameterError where actors are described, but not asked for."""
    if arguments.actors is None and (arguments.address or arguments.gpus_per_actor or arguments.cpus_per_actor != 1):
        raise ParameterError("--address, --cpus-per-actor and --gpus-per-actor place Ray actors: add --actors N.")
    if arguments.actors is None and _limits(arguments):
        raise ParameterError("--rollout-timeout and --rollout-tries are for shards on Ray actors: add --actors N.")


def make_utility(arguments: Namespace) -> MakeUtility:
    """Where rollouts run: here, or on Ray actors."""
    if arguments.actors is None:
        return InProcess
    from raydm.distributed import RayRollouts  # Ray takes a second to import; a local run does not need it

    place = arguments.actors, arguments.cpus_per_actor, arguments.gpus_per_actor, arguments.address
    return RayRollouts(*place, **_limits(arguments))


def _limits(arguments: Namespace) -> dict[str, Any]:
    """What of `RayRollouts` is given by --rollout-timeout and --rollout-tries, where the verb has them."""
    given = {name: getattr(arguments, f"rollout_{name}", None) for name in ("timeout", "tries")}
    return {name: value for name, value in given.items() if value is not None}


def prepared_of(arguments: Namespace, inputs: Inputs, *, task: TaskKind | None = None) -> Prepared:
    """The tables, checked and encoded; the task where it is not to be told by the labels or a flag."""
    return prepare(
        inputs.train,
        inputs.valid,
        inputs.test,
        label=inputs.label,
        id=arguments.id,
        features=arguments.features,
        kinds=dict(arguments.kind),
        task=task or arguments.task,
        names=inputs.names,
    )


def with_noise(arguments: Namespace, prepared: Prepared) -> tuple[Prepared, npt.NDArray[np.bool_] | None]:
    """The training labels with the wanted share flipped, and which these are (None without noise)."""
    if arguments.noise == 0:
        return prepared, None
    if prepared.labels.task != "classification":
        raise ParameterError("--noise flips classes; this is a regression. Leave it out.")
    y, flipped = flip_labels(
        prepared.train.y, arguments.noise, n_classes=prepared.labels.n_outputs, seed=arguments.seed
    )
    if flipped.all() or not flipped.any():
        which = "every" if flipped.all() else "no"
        raise ParameterError(
            f"--noise {arguments.noise:g} flips {which} label of the {len(y)} training rows, so nothing could be "
            "measured. Name a share that flips some of them."
        )
    return dataclasses.replace(prepared, train=dataclasses.replace(prepared.train, y=y)), flipped


def check_judges(metric: Metric, prepared: Prepared, inputs: Inputs, *, test: bool = True) -> None:
    """Raises DataError where the metric is not defined on the validation or test set: before, not after learning."""
    for examples, name in ((prepared.valid, inputs.names[1]), (prepared.test if test else None, inputs.names[2])):
        if examples is not None:
            try:
                metric(torch.zeros(1, len(examples), prepared.labels.n_outputs), torch.from_numpy(examples.y))
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
