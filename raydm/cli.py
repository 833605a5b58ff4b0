"""The command `raydm`: verbs with flags; results on stdout as one JSON line, all else on stderr."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raydm import __version__
from raydm.errors import RaydmError, RaydmWarning
from raydm.flags.rollouts import add_limits, add_resume

_BAD_INPUT = 2  # argparse's own exit status
_INTERRUPTED = 130
_BROKEN_PIPE = 141
_EVIDENCE = ("validation", "out-of-fold", "linear", "forest", "extra-trees", "neighbors")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns 0; 2 for bad input, with the reason on stderr; 130 when interrupted."""
    arguments = _parser().parse_args(argv)
    warnings.showwarning = _show_warning
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)  # a scheduler's polite end: clean up as for Ctrl-C
    try:
        verb = importlib.import_module(f"raydm.verbs.{arguments.module}")  # torch and ray load only when needed
        verb.run(arguments)
        sys.stdout.flush()  # here, where a reader that is gone can still be told apart
    except RaydmError as error:
        print(f"raydm: {error}", file=sys.stderr)
        return _BAD_INPUT
    except BrokenPipeError:  # who read our output stopped reading, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        print("raydm: interrupted; nothing was written.", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Our warnings are for users, without a line of our source; others' are for developers, and silent here."""
    if issubclass(category, RaydmWarning):
        print(f"raydm: warning: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raydm", description="Learns what to do with every training example.")
    parser.add_argument("--version", action="version", version=f"raydm {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _value(verbs.add_parser("value", help="value every training example", description=_VALUE))
    _compare(verbs.add_parser("compare", help="value it by several methods, side by side", description=_COMPARE))
    _score(verbs.add_parser("score", help="value new rows with a learned h_phi", description=_SCORE))
    _mix(verbs.add_parser("mix", help="interpolate training rows with their neighbours", description=_MIX))
    _weight(verbs.add_parser("weight", help="learn how much every training row counts", description=_WEIGHT))
    _augment(verbs.add_parser("augment", help="learn how to rewrite training rows", description=_AUGMENT))
    _synthesize(verbs.add_parser("synthesize", help="learn to make whole new rows", description=_SYNTHESIZE))
    _neighbors(verbs.add_parser("neighbors", help="find every row's nearest neighbours", description=_NEIGHBORS))
    data = verbs.add_parser("data", help="the data sets that are known by name").add_subparsers(
        metavar="ACTION", required=True
    )
    listing = data.add_parser("list", help="list them")
    listing.add_argument("--json", action="store_true", help="as one JSON line on stdout")
    listing.set_defaults(module="data")
    return parser


_VALUE = """Learns a value for every training row against a small trusted validation set, trains a better predictor,
and writes both with evidence into a run directory. Prints one JSON line on stdout."""
_COMPARE = """Values a training set by several methods, on the same rows and flips, and prints a table on stderr:
discovery ROC AUC, F1 of the lower of two clusters of values, recall when as many rows are inspected as are flipped,
removal gain, seconds. Each of DVRL's inputs has a row of its own. Prints one JSON line on stdout."""
_SCORE = """Values new labelled rows with the h_phi that `raydm value` learned. Writes a Parquet file with id, value,
rank and selected. Prints one JSON line on stdout."""
_MIX = """Learns which training rows to interpolate with how many of their nearest neighbours, for regression, and
writes the mixed rows, what was learned and a predictor into a run directory. With --apply RUN it mixes other rows by
what a run learned. Prints one JSON line on stdout, with the test error beside that without mixing."""
_WEIGHT = """Learns how much each training row counts, together with a predictor, against a small trusted validation
set: for rare classes and wrong labels, in tables, texts and images. Writes the weights, the predictor and evidence into
a run directory. Prints one JSON line on stdout."""
_AUGMENT = """Learns how to rewrite training rows so that a predictor trained on them too does best on a small trusted
validation set: noise of tables, operations on images, words of texts. Writes new rows, what was learned and the
predictor into a run directory. Prints one JSON line on stdout."""
_SYNTHESIZE = """Learns to make whole new rows of each class so that a predictor trained on them too does best on a
small trusted validation set, in tables, texts and images. Writes new rows, what was learned and the predictor into a
run directory. Prints one JSON line on stdout."""
_NEIGHBORS = """Finds the k nearest other rows of every row, by the distance of features or of labels, and writes a
Parquet file with id, neighbors and distances. Parquet is read in blocks, and may be larger than memory. Prints one JSON
line on stdout, with the recall that was measured."""


def _value(parser: argparse.ArgumentParser) -> None:
    _sets(parser)
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-value-TIME)")
    add_resume(parser)
    add("--method", default="dvrl", help="dvrl (default), loo, shapley, banzhaf, knn-shapley, influence, data-oob")
    add("--method-args", type=_json_object, default={}, metavar="JSON", help="settings of a method other than dvrl, "
        "such as '{\"permutations\": 100}' for shapley")  # fmt: skip
    _learning(parser)
    _place(parser)
    parser.set_defaults(module="value")


def _compare(parser: argparse.ArgumentParser) -> None:
    _sets(parser)
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE", help="new file to write the same JSON into")
    add_resume(parser)
    add("--methods", nargs="+", default=["dvrl", "knn-shapley", "data-oob"], metavar="METHOD",
        help="of dvrl, loo, shapley, banzhaf, knn-shapley, influence, data-oob (default: dvrl knn-shapley data-oob)"
    )  # fmt: skip
    add("--method-args", type=_json_object, default={}, metavar="JSON", help="settings by method, such as "
        "'{\"shapley\": {\"permutations\": 100}}'")  # fmt: skip
    _learning(parser)
    _place(parser)
    parser.set_defaults(module="compare")


def _sets(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("train", nargs="+", metavar="TRAIN|NAME", help="Parquet, CSV, TSV, Arrow files or globs; or a named set")
    add("--valid", nargs="+", metavar="V", help="the trusted validation files (a named set splits itself)")
    add("--test", nargs="+", metavar="T", help="test files, only for the evidence")
    _columns(parser)
    add("--noise", type=float, default=0.0, metavar="P", help="share of labels to flip once, for evaluation: [0, 1)")
    add("--sizes", type=int, nargs=2, metavar=("N", "M"), help="training and validation rows of a named set")
    add("--seed", type=int, default=0, help="of split, noise and learning (default 0)")
    add("--quiet", action="store_true", help="no progress bar")


def _learning(parser: argparse.ArgumentParser) -> None:
    learning = parser.add_argument_group("predictor and utility")
    add = learning.add_argument
    add("--predictor", default="auto", help="logistic (default for classes), linear (default for targets), mlp, cnn, "
        "lightgbm, xgboost, naive-bayes, random-forest, neighbors, or a scikit-learn class by its dotted name"
    )  # fmt: skip
    add("--predictor-args", type=_json_object, default={}, metavar="JSON", help="arguments of the predictor, such as "
        "'{\"hidden\": [100]}' for mlp")  # fmt: skip
    add("--metric", help="accuracy (default), auc, expected-accuracy, log-likelihood for classes; rmse (default), mae, "
        "rmspe, r2 for targets")  # fmt: skip
    add("--fresh-restart", dest="shared_restart", action="store_false",
        help="inner trainings start from weights of their own, not all from the same")  # fmt: skip
    add("--threshold", type=float, metavar="T", help="rows of at least this value are selected (default: 0.5 for dvrl "
        "and for data-oob of classes, else 0; for data-oob of targets, minus their variance)")  # fmt: skip
    add("--final", choices=("weighted", "kept", "all"), help="train the final predictor on all rows weighted by value, "
        "on the selected rows, or on all alike (default: as judged on held-out trusted rows)")  # fmt: skip

    add = parser.add_argument_group("learning, by dvrl").add_argument
    add("--evidence", nargs="+", default=_EVIDENCE, metavar="SOURCE", help="what h_phi sees: of "
        "validation, out-of-fold, linear, forest, extra-trees, neighbors (default: all)")  # fmt: skip
    add("--start", default="evidence", help="evidence (default): from the best single input; nothing: untrained")
    add("--judge", type=int, default=2, metavar="FOLDS", help="folds of the trusted rows on which what was learned is "
        "compared with its inputs (default 2); 0: return it unjudged")  # fmt: skip
    add("--restarts", type=int, default=2, help="how often a collapsed h_phi is learned again (default 2)")
    add("--steps", type=int, default=400, help="outer iterations in all (default 400); 0: the best input alone")
    add("--outer-batch", type=int, default=64, metavar="B", help="examples drawn a step (default 64)")
    add("--rollouts", type=int, default=32, metavar="R", help="inner trainings a step (default 32)")
    add("--baseline", default="leave-one-out", help="leave-one-out (default), moving-average, full-data")
    add(
        "--policy", default="bernoulli", help="bernoulli (default; score function), gumbel, straight-through (pathwise)"
    )
    add("--temperature", type=float, default=0.5, help="of gumbel and straight-through (default 0.5)")
    add("--control-variate", default="none", help="of the score function: none (default), taylor, datamodel")
    add("--reward-scale", type=_scale, default="std", metavar="C", help="a number > 0, or std (default)")
    add("--learning-rate", type=float, default=0.01, help="of Adam on h_phi (default 0.01)")
    add("--no-anneal", dest="anneal", action="store_false", help="keep it constant, instead of falling along a cosine")
    add("--exploration", type=float, default=1e3, help="weight of the exploration penalty (default 1000)")
    add("--mean-bounds", type=float, nargs=2, default=(0.3, 0.7), metavar=("LOW", "HIGH"),
        help="the mean value of a batch that it lets pass (default 0.3 0.7)")  # fmt: skip


def _mix(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("train", nargs="+", metavar="TRAIN|NAME", help="Parquet, CSV, TSV, Arrow files or globs; or a named set")
    add("--valid", nargs="+", metavar="V", help="the trusted validation files (a named set splits itself)")
    add("--test", nargs="+", metavar="T", help="test files, only for the evidence")
    add("--apply", type=Path, metavar="RUN", help="mix the rows of TRAIN by what this run learned, and learn nothing")
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-mix-TIME); with --apply a new "
        "Parquet file (default: mixed.parquet)")  # fmt: skip
    add_resume(parser)
    add("--method", default="mixrl", help="mixrl (default), none, mixup, adamixup, global-knn, c-mixup, mixrl+adamixup")
    add("--method-args", type=_json_object, default={}, metavar="JSON", help="settings of another method, such as "
        "'{\"alpha\": 2.0}' for mixup")  # fmt: skip
    _columns(parser, task=False)
    add("--sizes", type=int, nargs=2, metavar=("N", "M"), help="training and validation rows of a named set")
    add("--seed", type=int, default=0, help="of split and learning (default 0)")
    add("--quiet", action="store_true", help="no progress bar")

    add = parser.add_argument_group("predictor and utility").add_argument
    add("--predictor", default="auto", help="auto (default): an MLP 512-256 that stops early by the trusted rows; or "
        "as for raydm value")  # fmt: skip
    add("--predictor-args", type=_json_object, default={}, metavar="JSON", help="arguments of the predictor")
    add("--metric", help="rmse (default), mae, rmspe, r2")
    add("--fresh-restart", dest="shared_restart", action="store_false",
        help="inner trainings start from weights of their own, not all from the same")  # fmt: skip
    add("--test-repeats", type=int, default=5, metavar="S", help="trainings with and without mixing for the test error "
        "(default 5)")  # fmt: skip

    add = parser.add_argument_group("what may be mixed").add_argument
    add("--data-options", default="1..16", metavar="K", help="numbers of nearest neighbours by features: 1..16 "
        "(default), 10..270:10, 2^0..2^8, 1,2,4, none")  # fmt: skip
    add("--label-options", default="1..16", metavar="K", help="the same by labels (default 1..16)")
    add("--lam", type=_lam, default=0.5, metavar="L", help="lambda in [0, 1] (default 0.5); beta: Beta(alpha, alpha)")
    add("--alpha", type=float, default=1.0, help="of --lam beta (default 1)")
    add("--threshold", type=float, metavar="T", help="least h of a mixing that is done (default: chosen on the trusted "
        "rows)")  # fmt: skip
    add("--pick", metavar="OPTION", help="which option above T is taken: best (the paper's) or most (default: chosen "
        "with T; best where T is given)")  # fmt: skip
    add("--repeats", type=int, default=4, help="trainings of each candidate, where one is chosen (default 4)")

    add = parser.add_argument_group("learning, by mixrl").add_argument
    add("--steps", type=int, default=60, help="outer iterations (default 60)")
    add("--outer-batch", type=int, metavar="B", help="examples drawn a step (default: all, at most 1000)")
    add("--admit", type=float, default=0.5, metavar="SHARE", help="of the possible mixed rows, those of the least "
        "label error, that are let in (default 0.5; 1: all)")  # fmt: skip
    add("--rollouts", type=int, default=16, metavar="R", help="inner trainings a step (default 16)")
    add("--warm-start", action="store_true", help="they start from a predictor of the training rows, not from scratch")
    add("--baseline", default="leave-one-out", help="leave-one-out (default), moving-average")
    add("--reward-scale", type=_scale, default="std", metavar="C", help="a number > 0, or std (default)")
    add("--learning-rate", type=float, default=0.01, help="of Adam on h_theta (default 0.01)")
    add("--no-anneal", dest="anneal", action="store_false", help="keep it constant, instead of falling along a cosine")
    add("--exploration", type=float, default=1e3, help="weight of the exploration penalty (default 1000)")
    add("--mean-bounds", type=float, nargs=2, default=(0.1, 0.9), metavar=("LOW", "HIGH"),
        help="the mean h of a batch that it lets pass (default 0.1 0.9)")  # fmt: skip
    _place(parser)

    add = parser.add_argument_group(
        "with --apply: large Parquet files, mixed in blocks; an exact index gives the same rows"
    ).add_argument
    add("--stream", action="store_true", help="in blocks (default: with --actors, or if the rows take more than 1/8 of "
        "the memory); for runs of mixrl and global-knn")  # fmt: skip
    add("--index", metavar="KIND", help="exact, ivf-flat, ivf-pq, hnsw, auto (default), as for raydm neighbors; recall "
        "is tuned to 0.95")  # fmt: skip
    add("--memory", type=_bytes, metavar="BYTES", help="that indexes may take in all, such as 8GiB (default: half of "
        "the machine's, or of the cluster's)")  # fmt: skip
    add("--sample", type=int, metavar="S", help="rows that an index learns from (default: as many as it needs)")
    parser.set_defaults(module="mix")


def _weight(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-weight-TIME)")
    add("--method", default="weight", help="weight (default; Hu et al. 2019), ren2018, and without learning base, "
        "base+valid (the trusted rows are trained on too), proportion (inverse class frequency)")  # fmt: skip
    _large_sets(parser)
    _reading(parser)

    add = parser.add_argument_group("learning").add_argument
    add("--epochs", type=int, default=10, help="passes with weights that are learned (default 10)")
    add("--warm-up", type=int, default=2, help="passes before, with equal weights (default 2)")
    add("--keep", default="best", help="the predictor of the best epoch on the trusted rows (default), or of the last")
    add("--weights", default="free", help="free (default): a number for each row; network: of label, loss and features")
    add("--normalisation", default="linear", help="over a batch: linear (default) or softmax")
    add("--temperature", type=float, default=1.0, help="of the softmax (default 1)")
    add("--learning-rate", type=_rate, default="batch", help="of the weights: a number > 0, or batch (default)")
    add("--decay", type=float, default=10.0, help="by which a free weight is divided at each step (default 10)")
    add("--floor", type=float, default=1e-5, help="least free weight before normalising (default 1e-5)")
    add("--look-ahead", default="zero", help="where slopes are taken: at weights of zero (default), or at the weights")
    add("--through-normalisation", dest="straight", action="store_false", help="slopes go through the normalisation")
    _looking_ahead(add)

    where = parser.add_argument_group("where seeds are trained")
    place = where.add_mutually_exclusive_group()
    place.add_argument("--local", action="store_true", help="in this process, one by one, without Ray (default)")
    place.add_argument("--actors", type=int, metavar="N", help="N at once, on Ray")
    add = where.add_argument
    add("--address", help="of a running Ray cluster (default: RAY_ADDRESS, else one is started here)")
    add("--cpus-per-actor", type=float, default=1.0, metavar="C", help="that Ray reserves for each (default 1)")
    add("--gpus-per-actor", type=float, default=0.0, metavar="G", help="or a fraction of one (default 0)")
    parser.set_defaults(module="weight")


def _augment(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-augment-TIME)")
    add("--method", default="learned", help="learned (default; Hu et al. 2019), and without learning fixed (images: "
        "RandAugment; tables: noise and masking; texts: the language model as fitted), synonyms (texts), none, "
        "base+valid (the trusted rows are trained on too)")  # fmt: skip
    _large_sets(parser)
    _reading(parser)
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
    parser.set_defaults(module="augment")


def _synthesize(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-synthesize-TIME)")
    add("--method", default="learned", help="learned (default): a generator fitted to the rows, then tuned; untuned: "
        "as fitted; none; base+valid (the trusted rows are trained on too)")  # fmt: skip
    _large_sets(parser)
    _reading(parser)
    add = _enlarging(parser)
    add("--ratio", type=float, default=1.0, help="artificial rows for each one of a batch (default 1)")
    add("--classes", default="training", help="drawn as often as in training (default), or balanced")

    add = parser.add_argument_group("the generator of tables and images").add_argument
    add("--generator", default="auto", help="prototypes; vae; auto (default): a VAE from 100 rows a class on")
    add("--image-shape", type=int, nargs=3, metavar=("H", "W", "CHANNELS"), help="the features of a table are an image")

    add = _writing(parser)
    add("--rounds", type=int, default=5, help="in which a text is written (default 5)")
    parser.set_defaults(module="synthesize")


def _enlarging(parser: argparse.ArgumentParser) -> Any:
    """Flags of how a predictor is trained on new rows too; gives what adds to them."""
    parser.add_argument("--rows", type=int, metavar="N", help="new rows to write (default: as many as in training)")
    add = parser.add_argument_group("learning").add_argument
    add("--epochs", type=int, default=10, help="passes with new rows (default 10)")
    add("--warm-up", type=int, default=2, help="passes before, on the training rows alone (default 2)")
    add("--keep", default="best", help="the predictor of the best epoch on the trusted rows (default), or of the last")
    add("--share", type=float, help="of new rows in the loss, in (0, 1) (default: that in the number of rows)")
    add("--learning-rate", type=float, help="of what makes them (default: one that suits it)")
    _looking_ahead(add)
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


def _large_sets(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("train", nargs="+", metavar="TRAIN|NAME", help="Parquet, CSV, TSV, Arrow files or globs; or a named set")
    add("--valid", nargs="+", metavar="V", help="the trusted validation files (a named set splits itself)")
    add("--test", nargs="+", metavar="T", help="test files, only for the evidence")
    add("--compare", nargs="+", default=[], metavar="METHOD", help="other methods whose score is told beside")
    _columns(parser)
    add("--sizes", type=int, nargs=2, metavar=("N", "M"), help="training and validation rows of a named set")
    add("--seed", type=int, default=0, help="of split and learning (default 0)")
    add(
        "--seeds",
        type=int,
        default=1,
        metavar="K",
        help="trainings, of --seed, --seed + 1, ... (default 1)",
    )
    add("--quiet", action="store_true", help="no progress bar")


def _reading(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("predictor and what it reads").add_argument
    add("--predictor", default="auto", help="of tables: mlp (auto), linear; of images: resnet-8 (auto), resnet-14, "
        "resnet-32, wide-resnet-28-10, resnet-18, resnet-34; of texts: text (auto)")  # fmt: skip
    add("--predictor-args", type=_json_object, default={}, metavar="JSON", help="its arguments, such as "
        "'{\"batch_size\": 25, \"lr\": 1e-3, \"device\": \"cuda\", \"precision\": \"bfloat16\"}'")  # fmt: skip
    add("--text", metavar="COLUMN", help="a column of texts, which is all that is read, by the model")
    add("--model", metavar="FOLDER|NAME", help="a pretrained encoder of Hugging Face's transformers")
    add("--length", type=int, default=64, metavar="L", help="the most tokens of a text (default 64)")
    add("--image", metavar="COLUMN", help="a column of images, which is all that is read: arrays (H, W[, channels]), "
        "bytes or paths of image files")  # fmt: skip
    add("--image-size", type=int, nargs=2, metavar=("H", "W"), help="scale image files (default: they are of one size)")
    add("--metric", help="chooses the best epoch, and scores: accuracy (default), auc, expected-accuracy, "
        "log-likelihood for classes; rmse (default), mae, rmspe, r2 for targets")  # fmt: skip


def _looking_ahead(add: Any) -> None:
    add("--unroll", type=int, default=1, metavar="T", help="steps that are looked ahead (default 1)")
    add("--checkpoint", action="store_true", help="keep sqrt(T) of them, and make them twice: less memory")
    add("--dev-batch", type=int, metavar="M", help="trusted rows that judge a step (default: all)")


def _place(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("where rollouts run")
    place = where.add_mutually_exclusive_group()
    place.add_argument("--local", action="store_true", help="in this process, without Ray (default)")
    place.add_argument("--actors", type=int, metavar="N", help="on N Ray actors; the values are the same bits")
    add = where.add_argument
    add("--address", help="of a running Ray cluster (default: RAY_ADDRESS, else one is started here)")
    add("--cpus-per-actor", type=float, default=1.0, metavar="C", help="that Ray reserves for each (default 1)")
    add("--gpus-per-actor", type=float, default=0.0, metavar="G", help="or a fraction of one (default 0)")
    add("--shard", type=int, default=16, metavar="S", help="rollouts trained at once (default 16)")
    add_limits(add)


def _score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory of `raydm value`")
    parser.add_argument("data", nargs="+", metavar="DATA", help="files or globs with the columns of the training set")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="new Parquet file to write (default: values.parquet here)"
    )
    parser.add_argument("--threshold", type=float, metavar="T", help="rows of at least this value are selected "
                        "(default: the run's)")  # fmt: skip
    add = parser.add_argument_group("large Parquet files, valued in blocks; the values are the same bits").add_argument
    add("--stream", action="store_true", help="in blocks (default: if the rows take more than 1/8 of the memory)")
    add("--actors", type=int, default=0, metavar="N", help="by N Ray actors (default 0: in this process)")
    add("--address", help="of a running Ray cluster (default: RAY_ADDRESS, else one is started here)")
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(module="score")


def _neighbors(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", nargs="+", metavar="DATA", help="Parquet files or globs (or CSV, TSV, Arrow, which are read whole)")
    add("--k", type=int, default=16, help="neighbours of each row (default 16)")
    add("--by", default="data", help="the distance: of the features (data, the default) or of the labels (label)")
    add("--out", type=Path, metavar="FILE", help="new Parquet file to write (default: neighbors.parquet here)")
    add("--label", action="append", metavar="COLUMN",
        help="a label column, which is no feature (default: label, y or target, if there is one; repeatable)"
    )  # fmt: skip
    add("--id", metavar="COLUMN", help="the id column (default: id, if there is one; else row numbers)")
    add("--features", nargs="+", metavar="COLUMN", help="the feature columns (default: all others)")
    add("--kind", action="append", default=[], type=_kind, metavar="COLUMN=KIND",
        help="overrides what a column's type says: numeric, categorical, vector, text (repeatable)")  # fmt: skip
    add("--quiet", action="store_true", help="no progress bar")

    add = parser.add_argument_group("index").add_argument
    add("--index", default="auto", metavar="KIND", help="exact, ivf-flat, ivf-pq, hnsw; auto (default): exact where "
        "that takes seconds, else ivf-flat, else ivf-pq, as memory allows")  # fmt: skip
    add("--recall", type=float, default=0.95, metavar="R", help="choose nprobe or efSearch for this recall, as "
        "measured on a sample (default 0.95)")  # fmt: skip
    add("--nprobe", type=int, metavar="P", help="inverted lists that a query looks into (default: by --recall)")
    add("--nlist", type=int, metavar="L", help="inverted lists (default: 4 sqrt(rows))")
    add("--ef-search", type=int, metavar="E", help="candidates of an hnsw search (default: by --recall)")
    add("--refine", action="store_true", help="ivf-pq: rank candidates by true distances, from a file on local disk")
    add("--memory", type=_bytes, metavar="BYTES", help="that the index may take in all, such as 8GiB (default: half of "
        "the machine's, or of the cluster's)")  # fmt: skip
    add(
        "--sample",
        type=int,
        metavar="S",
        help="rows that encoders and index learn from (default: as many as they need)",
    )
    add("--seed", type=int, default=0, help="of the sample and of the index (default 0)")

    add = parser.add_argument_group("where it runs; the neighbours are the same").add_argument
    add("--actors", type=int, metavar="N", help="Ray actors that the rows are spread over (default: 2 with --address, "
        "else 0: in this process)")  # fmt: skip
    add("--address", help="of a running Ray cluster (default: RAY_ADDRESS, else one is started here)")
    add("--cpus-per-actor", type=float, default=1.0, metavar="C", help="that Ray reserves for each (default 1)")
    add("--gpus-per-actor", type=float, default=0.0, metavar="G", help="or a fraction of one (default 0)")
    add("--gpu", default="auto", help="GPUs that FAISS sees: replicate or shard the index, off, or auto (default)")
    parser.set_defaults(module="neighbors")


def _columns(parser: argparse.ArgumentParser, *, task: bool = True) -> None:
    add = parser.add_argument
    add("--label", action="append", metavar="COLUMN",
        help="the label column (default: label, y or target, if there is one); repeatable for several targets, in "
        "verbs that take them")  # fmt: skip
    add("--id", metavar="COLUMN", help="the id column (default: id, if there is one; else row numbers)")
    add("--features", nargs="+", metavar="COLUMN", help="the feature columns (default: all others)")
    add("--kind", action="append", default=[], type=_kind, metavar="COLUMN=KIND",
        help="overrides what a column's type says: numeric, categorical, vector, text (repeatable)")  # fmt: skip
    if task:
        add("--task", choices=("classification", "regression"), help="(default: told by the labels)")


def _kind(text: str) -> tuple[str, str]:
    column, sign, kind = text.rpartition("=")
    if not sign or not column:
        raise argparse.ArgumentTypeError(f"expected COLUMN=KIND, got {text!r}")
    return column, kind


def _bytes(text: str) -> int:
    number, unit = text.rstrip("KMGTiB"), text[len(text.rstrip("KMGTiB")) :]
    powers = {"": 0, "B": 0, **{f"{letter}iB": power for power, letter in enumerate("KMGT", 1)}}
    try:
        return int(float(number) * 1024 ** powers[unit])
    except (KeyError, ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"expected bytes, such as 500MiB or 8GiB, got {text!r}") from error


def _lam(text: str) -> float | str:
    try:
        return text if text == "beta" else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1] or beta, got {text!r}") from error


def _scale(text: str) -> float | str:
    try:
        return text if text == "std" else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a number > 0 or std, got {text!r}") from error


def _rate(text: str) -> float | str:
    try:
        return text if text == "batch" else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a number > 0 or batch, got {text!r}") from error


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
