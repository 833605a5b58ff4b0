"""Flags of `raydm augment` and `raydm synthesize`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from raydm.flags.common import add_storage
from raydm.flags.joint import (
    IMAGE_SHAPE,
    KEEP,
    add_large_sets,
    add_looking_ahead,
    add_reading,
    add_seeds_place,
    for_texts,
    reads,
)
from raydm.flags.rules import Rule, words
from raydm.flags.verb import Verb

_AUGMENT = """Learns how to rewrite training rows so that a predictor trained on them too does best on a small trusted
validation set: noise of tables, operations on images, words of texts. Writes new rows, what was learned and the
predictor into a run directory. Prints one JSON line on stdout."""
_SYNTHESIZE = """Learns to make whole new rows of each class so that a predictor trained on them too does best on a
small trusted validation set, in tables, texts and images. Writes new rows, what was learned and the predictor into a
run directory. Prints one JSON line on stdout."""


def _augment(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-augment-TIME)")
    add_storage(parser)
    add("--method", default="learned", help="learned (default; Hu et al. 2019), and without learning fixed (images: "
        "RandAugment; tables: noise and masking; texts: the language model as fitted), synonyms (texts), none, "
        "base+valid (the trusted rows are trained on too)")  # fmt: skip
    add_large_sets(parser)
    add_reading(parser)
    add = _enlarging(parser)
    add("--copies", type=int, default=1, help="new rows of each one in a batch (default 1)")
    add("--look-ahead", default="both", help="the step looked ahead holds both (default), or augmented rows alone")
    add("--per-class", action="store_true", help="each class has an augmentation of its own (tables, images)")

    add = parser.add_argument_group("what is done to tables and images").add_argument
    add("--image-shape", type=int, nargs=3, metavar=("H", "W", "CHANNELS"), help="the features of a table are an image")
    add("--noise", type=float, default=0.1, help="tables: at the start, in deviations of a feature (default 0.1)")
    add("--masked", type=float, default=0.05, help="tables: how probable a feature is masked at the start (0.05)")
    add("--operations", nargs="+", metavar="NAME", help="images: of flip, translate_x, translate_y, rotate, shear_x, "
        "shear_y, zoom, brightness, contrast, saturation, cutout (default: all)")  # fmt: skip
    add("--probability", type=float, default=0.5, help="images: of each operation at the start (default 0.5)")
    add("--spread", type=float, default=0.3, help="images: of each magnitude at the start (default 0.3)")
    add("--randaugment-n", dest="n", type=int, default=2, metavar="N", help="images, fixed: RandAugment's N (2)")
    add("--randaugment-m", dest="magnitude", type=float, default=9, metavar="M", help="and its M of 30 (default 9)")

    add = _writing(parser)
    add("--wordnet", metavar="FOLDER", help="synonyms: with WordNet's files (default: where raydm finds them)")
    add_seeds_place(parser)
    parser.set_defaults(module="augment")


def _synthesize(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-synthesize-TIME)")
    add_storage(parser)
    add("--method", default="learned", help="learned (default): a generator fitted to the rows, then tuned; untuned: "
        "as fitted; none; base+valid (the trusted rows are trained on too)")  # fmt: skip
    add_large_sets(parser)
    add_reading(parser)
    add = _enlarging(parser)
    add("--ratio", type=float, default=1.0, help="artificial rows for each one of a batch (default 1)")
    add("--classes", default="training", help="drawn as often as in training (default), or balanced")

    add = parser.add_argument_group("the generator of tables and images").add_argument
    add("--generator", default="auto", help="prototypes; vae; auto (default): a VAE from 100 rows a class on")
    add("--image-shape", type=int, nargs=3, metavar=("H", "W", "CHANNELS"), help="the features of a table are an image")

    add = _writing(parser)
    add("--rounds", type=int, default=5, help="in which a text is written (default 5)")
    add_seeds_place(parser)
    parser.set_defaults(module="synthesize")


def _enlarging(parser: argparse.ArgumentParser) -> Any:
    """Flags of how a predictor is trained on new rows too; gives what adds to them."""
    parser.add_argument("--rows", type=int, metavar="N", help="new rows to write (default: as many as in training)")
    add = parser.add_argument_group("learning").add_argument
    add("--epochs", type=int, help="passes with new rows (default 10; of few rows, no texts, what takes 600 steps)")
    add("--warm-up", type=int, default=2, help="passes before, on the training rows alone (default 2)")
    add("--keep", default="average", help="which predictor: average (default), the mean of the latter half's "
        "parameters; best, the epoch that is best on the trusted rows; near-best, the last that is no worse there but "
        "for one standard error; last")  # fmt: skip
    add("--share", type=float, help="of new rows in the loss, in (0, 1) (default: that in the number of rows)")
    add("--learning-rate", type=float, help="of what makes them (default: one that suits it)")
    add_looking_ahead(add)
    return add


def _writing(parser: argparse.ArgumentParser) -> Any:
    """Flags of the language model; gives what adds to them."""
    add = parser.add_argument_group("the language model that writes texts").add_argument
    add("--language-model", metavar="FOLDER|NAME", help="a masked one, of --model's tokenizer (default: --model)")
    add("--fit-epochs", type=int, default=10, help="in which it learns the training texts first (default 10; 0: none)")
    add("--fit-learning-rate", type=float, default=4e-5, help="of these (default 4e-5)")
    add("--fit-label-learning-rate", type=float, help="the label embeddings' (default: the same)")
    add("--temperature", type=float, default=1.0, help="of the words' softmax (default 1)")
    add("--top-k", type=int, metavar="K", help="draw of the K likeliest words only (default: any)")
    return add


_JOINT = words("learning_rate unroll checkpoint dev_batch")
_TEXTS = words("language_model fit_epochs fit_learning_rate fit_label_learning_rate temperature top_k")
_TRAINED = words("keep share")  # on new rows
_REWRITTEN = _TRAINED | _TEXTS | words("copies image_shape noise masked operations")
_COMPOSED = _TRAINED | _TEXTS | words("ratio classes generator image_shape rounds")
_NONE = {"none": words("keep"), "base+valid": words("keep")}

_ROWS = Rule(
    words("rows"), lambda given: given.method not in _NONE,
    "is how many new rows to write, and this method makes none. Leave it out, or choose another --method.",
)  # fmt: skip

AUGMENT = Verb(
    "augment", "learn how to rewrite training rows", _AUGMENT, _augment,
    {
        "learned": _REWRITTEN | _JOINT | words("look_ahead per_class probability spread"),
        "fixed": _REWRITTEN | words("n magnitude"),
        "synonyms": _TRAINED | words("copies wordnet"),
        **_NONE,
    },
    (
        _ROWS, KEEP, IMAGE_SHAPE, for_texts(_TEXTS | words("length wordnet")),
        Rule(words("per_class"), lambda given: reads(given) != "text", "is for tables and images. Leave it out."),
        Rule(
            words("operations probability spread n magnitude"), lambda given: reads(given) == "image",
            "is for images. Name their column (--image) or --image-shape, or leave it out.",
        ),
        Rule(
            words("noise masked"), lambda given: reads(given) == "table",
            "is for tables, not for texts or images. Leave it out.",
        ),
    ),
)  # fmt: skip
SYNTHESIZE = Verb(
    "synthesize", "learn to make whole new rows", _SYNTHESIZE, _synthesize,
    {"learned": _COMPOSED | _JOINT, "untuned": _COMPOSED, **_NONE},
    (
        _ROWS, KEEP, IMAGE_SHAPE, for_texts(_TEXTS | words("length rounds")),
        Rule(words("generator"), lambda given: reads(given) != "text", "is for tables and images. Leave it out."),
    ),
)  # fmt: skip
