"""Flags that `raydm weight`, `augment` and `synthesize` share: what trains a large predictor jointly with phi."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Collection
from typing import Any

from raydm.flags.common import add_columns, add_files, add_place, add_quiet, add_sizes
from raydm.flags.rules import Rule, words
from raydm.flags.types import json_object


def add_large_sets(parser: argparse.ArgumentParser) -> None:
    """The sets, what is told beside, columns and seeds."""
    add_files(parser)
    add = parser.add_argument
    add("--compare", nargs="+", default=[], metavar="METHOD", help="other methods whose score is told beside")
    add_columns(parser)
    add_sizes(parser)
    add("--seed", type=int, default=0, help="of split and learning (default 0)")
    add("--seeds", type=int, default=1, metavar="K", help="trainings, of --seed, --seed + 1, ... (default 1)")
    add_quiet(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """The predictor, and what it sees of a row."""
    add = parser.add_argument_group("predictor and what it reads").add_argument
    add("--predictor", default="auto", help="of tables: mlp (auto), linear; of images: resnet-8 (auto), resnet-14, "
        "resnet-32, wide-resnet-28-10, resnet-18, resnet-34; of texts: text (auto)")  # fmt: skip
    add("--predictor-args", type=json_object, default={}, metavar="JSON", help="its arguments, such as "
        "'{\"batch_size\": 25, \"lr\": 1e-3, \"device\": \"cuda\", \"precision\": \"bfloat16\"}'")  # fmt: skip
    add("--text", metavar="COLUMN", help="a column of texts, which is all that is read, by the model")
    add("--model", metavar="FOLDER|NAME", help="a pretrained encoder of Hugging Face's transformers")
    add("--length", type=int, default=64, metavar="L", help="the most tokens of a text (default 64)")
    add("--image", metavar="COLUMN", help="a column of images, which is all that is read: arrays (H, W[, channels]), "
        "bytes or paths of image files")  # fmt: skip
    add("--image-size", type=int, nargs=2, metavar=("H", "W"), help="scale image files (default: they are of one size)")
    add("--metric", help="chooses the best epoch, and scores: accuracy (default), auc, expected-accuracy, "
        "log-likelihood for classes; rmse (default), mae, rmspe, r2 for targets")  # fmt: skip


def add_looking_ahead(add: Any) -> None:
    """How a step is judged; `add` adds to a group."""
    add("--unroll", type=int, default=1, metavar="T", help="steps that are looked ahead (default 1)")
    add("--checkpoint", action="store_true", help="keep sqrt(T) of them, and make them twice: less memory")
    add("--dev-batch", type=int, metavar="M", help="trusted rows that judge a step (default: all)")


def add_seeds_place(parser: argparse.ArgumentParser) -> None:
    """Where seeds are trained."""
    add_place(
        parser, "where seeds are trained", local="in this process, one by one, without Ray (default)",
        actors="N at once, on Ray",
    )  # fmt: skip


def reads(arguments: Namespace) -> str:
    """What of a row is seen: "text", "image" or "table"; known before anything is read."""
    if arguments.text is not None:
        return "text"
    return "image" if arguments.image is not None or getattr(arguments, "image_shape", None) else "table"


def for_texts(names: Collection[str]) -> Rule:
    """Flags that need a column of texts."""
    return Rule(
        names, lambda given: reads(given) == "text", "is for texts. Name their column (--text), or leave it out."
    )


IMAGE_SHAPE = Rule(
    words("image_shape"), lambda given: given.text is None and given.image is None,
    "is for tables whose features are an image. Leave it out, or --text and --image.",
)  # fmt: skip

KEEP = Rule(
    words("keep"), lambda given: given.keep == "average" or {given.method, *given.compare} != {"base+valid"},
    "is for other methods than base+valid, which keeps the last epoch, or the mean: --keep average. Leave it out.",
)  # fmt: skip
