"""A masked language model for `augmenting.py`, where none can be downloaded: an encoder that learns to guess words.

    RAYDM_DATA=... python jobs/reproduce/language_model.py sst5 --model FOLDER --out FOLDER --epochs 6

Texts are those of the official training parts of the named sets, of each its first --length tokens; labels are not
looked at. An encoder alone, such as a sentence encoder, gets a readout that is tied to its word embeddings. The weights
after the pass that guesses best are kept, judged by --valid texts of the first set, which are not trained on.

A JSON line an epoch: perplexity of masked training and validation tokens, seconds.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from pathlib import Path

import numpy as np

from raydm.data.downloads import find_file
from raydm.data.sets import SETS
from raydm.errors import RaydmError
from raydm.report.atomic import new_folder
from raydm.seeding import stream
from raydm.text import TextGenerator, Tokenizer, epochs_of, hub


def texts_of(name: str) -> list[str]:
    """Those of the set's official training part."""
    pool = SETS[name].read(functools.partial(find_file, folder=None)).train
    texts: list[str] = pool.take(np.arange(pool.size)).column("text").to_pylist()
    return texts


def adapt(given: argparse.Namespace) -> None:
    """Trains the model, and writes it."""
    tokenizer = Tokenizer(given.model, length=given.length)
    first = texts_of(given.sets[0])
    order = stream(given.seed, "texts").permutation(len(first))
    held_out = [first[row] for row in order[: given.valid]]
    texts = [first[row] for row in order[given.valid :][: given.most]]
    texts += [text for name in given.sets[1:] for text in texts_of(name)[: given.most]]
    generator = TextGenerator.pretrained(given.model, 1, tokenizer=tokenizer, seed=given.seed)
    done = epochs_of(
        generator, tokenizer(texts), None, seed=given.seed, epochs=given.epochs, batch_size=given.batch_size,
        lr=given.lr, schedule="linear", valid=(tokenizer(held_out), None),
    )  # fmt: skip
    for epoch in done:
        assert epoch.valid_loss is not None
        line = {"epoch": epoch.epoch, "perplexity": math.exp(epoch.loss), "valid": math.exp(epoch.valid_loss)}
        print(json.dumps(line | {"texts": len(texts), "seconds": round(epoch.seconds, 1)}), flush=True)
    with new_folder(given.out) as made:
        hub.save(generator.model, made)
        tokenizer.save(made)


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("sets", nargs="+", choices=("sst5", "sst2", "trec", "imdb"))
    made.add_argument("--model", required=True, help="folder or name of an encoder, or of a masked model")
    made.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    made.add_argument("--epochs", type=int, default=10)
    made.add_argument("--batch-size", type=int, default=32)
    made.add_argument("--lr", type=float, default=5e-4)
    made.add_argument("--length", type=int, default=32)
    made.add_argument("--valid", type=int, default=500)
    made.add_argument("--most", type=int, metavar="N", help="texts of each set (default: all)")
    made.add_argument("--seed", type=int, default=0)
    given = made.parse_args()
    if given.out.exists():
        raise SystemExit(f"{given.out}: is there already. Name another folder.")
    try:
        adapt(given)
    except RaydmError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
