"""Flags that would have no part in a run are refused, before anything is read: what takes them, and what to do."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
from cli_kit import Call

from raydm.augmenting.methods import METHODS as AUGMENT
from raydm.cli import VERBS
from raydm.flags.rules import written
from raydm.mixing.methods import METHODS as MIX
from raydm.synthesizing.methods import METHODS as SYNTHESIZE
from raydm.weighting.methods import METHODS as WEIGHT

WITH_METHODS = {"mix": MIX, "weight": WEIGHT, "augment": AUGMENT, "synthesize": SYNTHESIZE}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_rule_is_of_a_method_and_a_flag_that_there_are(verb) -> None:
    assert set(verb.takes) == set(WITH_METHODS.get(verb.name, ()))
    parser = ArgumentParser()
    verb.add(parser)
    told = parser.format_help().split()
    for name in {name for flags in verb.takes.values() for name in flags} | {n for r in verb.rules for n in r.flags}:
        assert written(name) in told, name
        assert name in vars(parser.parse_args(["list" if verb.name == "data" else "train.csv"]))


REFUSED = [
    # a method's flags beside another method
    ("mix --method c-mixup --admit .5", "--admit is for --method mixrl or mixrl+adamixup; it has no part in c-mixup."),
    ("mix --method mixup --steps 60", "--steps is for --method mixrl"),  # its default, but it was given
    ("mix --method mixup --ste 60", "--steps is for --method mixrl"),
    ("mix --method none --repeats 2", "--repeats is for --method mixrl, mixup, global-knn, c-mixup or mixrl+adamixup;"),
    ("mix --method adamixup --data-options 1..4", "--data-options is for --method mixrl, global-knn or mixrl+adamixup"),
    ("mix --method global-knn --no-anneal", "--no-anneal is for"),
    ("mix --method c-mixup --fresh-restart", "--fresh-restart is for"),
    ("mix --method mixup --mean-bounds .1 .9", "--mean-bounds is for"),
    ("mix --method mixrl+adamixup --lam .3", "--lam is for --method mixrl or global-knn"),
    ("weight --method base --decay 2", "--decay is for --method weight; it has no part in base. Leave it out"),
    ("weight --method ren2018 --normalisation softmax", "--normalisation is for --method weight"),
    ("weight --method ren2018 --unroll 2", "--unroll is for"),
    ("weight --method base --temperature 2", "--temperature is for --method weight"),
    ("weight --method base --through-normalisation", "--through-normalisation is for"),
    ("weight --method base+valid --keep last", "--keep is for"),
    ("weight --method base --compare proportion --dev-batch 5", "--dev-batch is for --method weight or ren2018; it has"
     " no part in base or proportion"),
    ("augment --method fixed --learning-rate .1", "--learning-rate is for --method learned"),
    ("augment --method fixed --per-class", "--per-class is for"),
    ("augment --method none --copies 2", "--copies is for --method learned, fixed or synonyms"),
    ("augment --method base+valid --share .5", "--share is for"),
    ("synthesize --method base+valid --keep best", "--keep is for"),
    ("augment --image x --randaugment-n 3", "--randaugment-n is for --method fixed"),
    ("augment --image x --method fixed --spread .3", "--spread is for --method learned"),
    ("augment --text x --method fixed --wordnet w", "--wordnet is for --method synonyms"),
    ("synthesize --method untuned --unroll 2", "--unroll is for --method learned"),
    ("synthesize --method none --ratio 2", "--ratio is for --method learned or untuned"),
    # flags that need others
    ("mix --alpha 2", "--alpha is of --lam beta"),
    ("mix --index exact", "--index is of streams of rows"),
    ("mix --apply run --steps 5", "--steps is for learning"),
    ("mix --apply run --method mixup", "--method is for learning"),
    ("weight --weights network --floor .1", "--floor is for --weights free"),
    ("weight --temperature 2", "--temperature is of the softmax"),
    ("weight --length 8", "--length is for texts"),
    ("augment --length 8", "--length is for texts"),
    ("augment --top-k 8", "--top-k is for texts"),
    ("augment --operations flip", "--operations is for images"),
    ("augment --image x --noise .2", "--noise is for tables"),
    ("augment --image-shape 8 8 1 --masked .2", "--masked is for tables"),
    ("augment --text x --image-shape 8 8 1", "--image-shape is for tables whose features are an image"),
    ("augment --text x --model m --per-class", "--per-class is for tables and images"),
    ("augment --method none --rows 5", "--rows is how many new rows to write"),
    ("augment --method none --compare fixed --rows 5", "--rows is how many new rows to write"),
    ("synthesize --rounds 3", "--rounds is for texts"),
    ("synthesize --text x --generator vae", "--generator is for tables and images"),
    ("synthesize --image x --image-shape 8 8 1", "--image-shape is for tables"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "told"), REFUSED, ids=[words for words, _ in REFUSED])
def test_a_flag_without_a_part_is_refused_before_anything_is_read(call: Call, words: str, told: str) -> None:
    verb, *flags = words.split()
    done = call(verb, "absent.csv", *(() if "--apply" in flags else ("--valid", "absent.csv")), *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"raydm: {told}")
    assert done.err.count("\n") == 1
    assert list(Path().iterdir()) == []


ALLOWED = [
    "mix --method mixrl+adamixup --steps 5",
    "mix --lam beta --alpha 2",
    "mix --method global-knn --lam beta --alpha 2 --label-options none",
    "weight --method base --compare weight --decay 2",  # the other one takes it
    "weight --method base+valid --compare base --keep last",
    "weight --method base+valid --keep average",
    "weight --around nothing --normalisation softmax --temperature 2",
    "augment --method fixed --noise .2",
    "augment --method none --compare learned --learning-rate .1",
    "augment --image-shape 8 8 1 --operations flip",
    "augment --image x --method fixed --randaugment-m 3",
    "augment --per-class --look-ahead augmented",
    "synthesize --generator vae --ratio 2",
    "synthesize --text x --model m --rounds 3 --fit-label-learning-rate 1e-3",
]


@pytest.mark.parametrize("words", ALLOWED)
def test_a_flag_with_a_part_is_not_refused(call: Call, words: str) -> None:
    verb, *flags = words.split()
    done = call(verb, "absent.csv", "--valid", "absent.csv", *flags)
    assert "raydm: absent.csv: no such file" in done.err


def test_a_method_that_there_is_not_is_told_as_such(call: Call) -> None:
    done = call("mix", "absent.csv", "--valid", "absent.csv", "--method", "magic", "--admit", "1")
    assert "'method'" in done.err
