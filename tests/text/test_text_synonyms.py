"""Synonyms: from a WordNet of a few words, written here in its own format."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from raydm.errors import DataError, MissingPackageError, ParameterError
from raydm.text import Synonyms, WordNet, find_wordnet
from raydm.text.synonyms import DEBIAN

POS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
# part of speech: synsets, each its words; a word's senses are numbered in this order
SYNSETS = {
    "noun": [["film", "movie", "motion_picture", "Flick"], ["film", "coating"], ["plot", "story"]],
    "verb": [["film", "shoot"]],
    "adj": [["great", "grand"], ["alone"], ["very", "selfsame"]],
    "adv": [],
}
COUNTS = {"film": {"noun": (3, 1), "verb": (2,)}}  # how often each sense was met


def write_wordnet(folder: Path) -> Path:
    """index.*, data.*, *.exc and cntlist.rev of SYNSETS (wndb(5WN)); without lexnames, as Debian has it."""
    counts = []
    for pos, letter in POS.items():
        lines, index, offset = ["  1 a licence\n"], {}, len("  1 a licence\n")
        for words in SYNSETS[pos]:
            members = " ".join(f"{word} 0" for word in words)
            line = f"{offset:08d} 03 {letter} {len(words):02x} {members} 000 {'00 ' * (pos == 'verb')}| a gloss  \n"
            for word in words:
                index.setdefault(word.lower(), []).append(offset)
            lines.append(line)
            offset += len(line)
        (folder / f"data.{pos}").write_text("".join(lines))
        entries = [
            f"{word} {letter} {len(at)} 0 {len(at)} 0 {' '.join(f'{o:08d}' for o in at)}  \n"
            for word, at in sorted(index.items())
        ]
        (folder / f"index.{pos}").write_text("  1 a licence\n" + "".join(entries))
        (folder / f"{pos}.exc").write_text("")
        number = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}[pos]
        for word, by_pos in COUNTS.items():
            for sense, count in enumerate(by_pos.get(pos, ()), 1):
                counts.append(f"{word}%{number}:03:00:: {sense} {count}\n")
    (folder / "cntlist.rev").write_text("".join(sorted(counts)))
    return folder


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    return write_wordnet(tmp_path_factory.mktemp("wordnet"))


def test_synonyms_of_an_entry_the_commoner_first(wordnet):
    of = WordNet(wordnet)
    assert of("film")[0] in ("movie", "shoot")
    assert set(of("film")) == {"movie", "flick", "coating", "shoot"}
    assert "motionpicture" not in of("film")
    assert of("plot") == ("story",)
    assert of("alone") == of("unheard") == ()
    assert of("films") == ()  # an inflected form: its entry's synonyms would not fit the sentence


def test_replacing_keeps_case_stop_words_tokens_and_the_rest_to_the_byte(wordnet):
    synonyms = Synonyms(wordnet)
    (text,) = synonyms(["  A GREAT film's Plot -- [great] great-er do n't great"], seed=0, least=99)
    assert text == "  A GRAND film's Story -- [great] great-er do n't grand"
    assert synonyms(["The film, very alone."], seed=0)[0].split()[0] == "The"
    assert "very" in synonyms(["The film, very alone."], seed=0)[0]  # a stop word


def test_how_many_words_are_replaced(wordnet):
    synonyms = Synonyms(wordnet)

    def replaced(text, **settings):
        (new,) = synonyms([text], seed=1, **settings)
        return sum(a != b for a, b in zip(text.split(), new.split(), strict=True))

    assert replaced("great " * 6) == 2
    assert replaced("great " * 21) == 3
    assert replaced("great " + "alone " * 30) == 1  # no more have any
    assert replaced("alone alone") == replaced("") == 0
    assert replaced("great " * 6, least=1) == 1
    assert replaced("great " * 6, least=0) == 0
    assert replaced("great " * 6, share=2) == 3


def test_draws_follow_the_seed_and_the_text_s_number(wordnet):
    synonyms, texts = Synonyms(wordnet), ["the film was a great plot of a film"] * 20
    assert synonyms(texts, seed=0) == synonyms(texts, seed=0)
    assert synonyms(texts, seed=0) != synonyms(texts, seed=1)
    assert synonyms(texts[:3], seed=0) == synonyms(texts, seed=0)[:3]
    assert len(set(synonyms(texts, seed=0))) > 3


def test_the_s_th_synonym_is_drawn_with_probability_two_to_the_minus_s():
    def of(word):
        return ["first", "second", "third"] if word == "great" else []

    drawn = Synonyms(of)(["great"] * 4000, seed=0)
    shares = [drawn.count(word) / 4000 for word in ("first", "second", "third")]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.03)  # the last takes the rest


def test_where_wordnet_is_sought(wordnet, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="apt install wordnet-base"):
        find_wordnet(tmp_path)
    (tmp_path / "wordnet").symlink_to(wordnet)
    monkeypatch.setenv("RAYDM_DATA", str(tmp_path))
    assert find_wordnet() == wordnet.resolve()
    import nltk

    monkeypatch.setenv("RAYDM_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr("raydm.text.synonyms.DEBIAN", tmp_path / "nowhere")
    with pytest.raises(DataError, match="WordNet is nowhere"):
        Synonyms()


def test_a_torn_wordnet_is_told(tmp_path):
    write_wordnet(tmp_path)
    (tmp_path / "index.noun").write_text("film n two\n")
    with pytest.raises(DataError, match="cannot be read"):
        Synonyms(tmp_path)


def test_a_missing_package_is_told_with_its_extra(monkeypatch, wordnet):
    from raydm.text.synonyms import _reader

    _reader.cache_clear()
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(MissingPackageError, match=r"raydm\[text\]"):
        Synonyms(wordnet)


def test_counts_out_of_range(wordnet):
    for wrong in ({"least": -1}, {"share": 0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            Synonyms(wordnet)(["great"], seed=0, **wrong)


REAL = [p for p in (Path(os.environ.get("RAYDM_DATA", "nowhere")) / "wordnet", DEBIAN) if (p / "index.noun").is_file()]


@pytest.mark.skipif(not REAL, reason="neither RAYDM_DATA nor Debian's wordnet-base holds WordNet")
def test_the_real_wordnet():
    of = WordNet(find_wordnet(REAL[0]))
    assert of("movie")[0] in ("film", "picture")
    assert "amusing" in of("funny")
    assert of("movies") == ()
