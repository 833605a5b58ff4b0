"""Data augmentation of Hu et al. (2019), table 1: few labels, augmentation tuned, fixed, by synonyms, and none.

    RAYDM_DATA=... python jobs/reproduce/augmenting.py sst5-low --model FOLDER --language-model FOLDER --small
    python jobs/reproduce/augmenting.py cifar10-low --small --seeds 5 --methods none fixed learned

Settings, training and trusted rows of each class: sst5-low 40 and 2, trec-low and imdb-low 40 and 5, cifar10-low 40 and
2. Each seed draws a subset of its own. Tests are the official ones, or --most-test rows of them. Synonyms are of texts.

Theirs: BERT-base-uncased as classifier and as language model, Adam 4e-5, weight decay .01, 64 tokens; 15 seeds. With
--small, for two cores: a small encoder, such as a MiniLM, and a masked model of the same tokenizer, 32 tokens, 4e-4;
ResNet-8 from scratch; 1,000 test rows. Their test accuracies on SST-5: base 33.3, fixed 34.8, tuned 37.0.

A JSON line a run: accuracy on the test set, on the worst class, on D^v; seconds. Then one for each method with mean,
standard deviation, least and greatest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from common import Row, with_deviations
from weighting import LOW, arguments_of, prepared_subset, tested

from raydm import DataAugmenter
from raydm.augmenting.methods import METHODS
from raydm.data import Prepared

ORDER = ("none", "fixed", "synonyms", "learned")


def one_seed(
    drawn: tuple[Prepared, Any], seed: int, methods: list[str], common: dict[str, Any]
) -> Iterator[Row]:  # fmt: skip
    """A row of each method, from the same initial weights."""
    prepared, train = drawn
    for method in methods:
        augmenter = DataAugmenter(method, random_state=seed, **common)
        for _ in augmenter.iterate(prepared, train):
            pass
        assert prepared.test is not None
        row = tested(augmenter.outcomes_[0].fitted, prepared.test, prepared.labels.n_outputs)
        row.pop("each")
        valid = float(augmenter.scores(prepared.valid)[0])
        yield {"method": method, "seed": seed, **row, "valid": valid, "seconds": augmenter.seconds_}


def parsed() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("setting", choices=tuple(LOW))
    made.add_argument("--methods", nargs="+", choices=METHODS, metavar="METHOD", help=f"(default: {' '.join(ORDER)}; "
                      "of images without synonyms)")  # fmt: skip
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--first-seed", type=int, default=0)
    made.add_argument("--model", help="folder or name of a text encoder (default: bert-base-uncased)")
    made.add_argument("--language-model", help="of a masked language model of its tokenizer (default: --model)")
    made.add_argument("--wordnet", help="folder with WordNet's files, for synonyms")
    made.add_argument("--predictor", help="of images (default: resnet-34, with --small resnet-8)")
    made.add_argument("--predictor-args", type=json.loads, default={}, metavar="JSON")
    made.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="of DataAugmenter, for all")
    made.add_argument("--most-test", type=int, metavar="M", help="test rows (default: all, with --small 1000)")
    made.add_argument("--small", action="store_true", help="a size for two cores")
    given = made.parse_args()
    images = given.setting.startswith("cifar10")
    given.methods = given.methods or [m for m in ORDER if m != "synonyms" or not images]
    return given


def main() -> None:
    given = parsed()
    common = arguments_of(given)
    if "text" in common:
        common |= {"language_model": given.language_model, "wordnet": given.wordnet}
    most = given.most_test or (1000 if given.small else None)
    reading = DataAugmenter(**common).reading

    def one(seed: int) -> Iterator[Row]:
        drawn = prepared_subset(given.setting, seed, reading, most)
        for row in one_seed(drawn, seed, given.methods, common):
            yield {"setting": given.setting, **row}

    with_deviations(given, one)


if __name__ == "__main__":
    main()
