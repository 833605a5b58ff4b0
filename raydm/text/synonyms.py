"""Synonym replacement: words for others of the same meaning, by WordNet (Miller 1995) through NLTK."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from raydm.checks import check_integer
from raydm.data.downloads import FOLDER_VARIABLE
from raydm.errors import DataError, MissingPackageError
from raydm.seeding import stream
from raydm.text.hub import INSTALL

Thesaurus = Callable[[str], Sequence[str]]

DEBIAN = Path("/usr/share/wordnet")  # where Debian's package wordnet-base puts it

# Words of letters that are no part of something else: not of "do n't", of "[SEP]" or of "&amp;"
_WORD = re.compile(r"(?<![\w'\u2019<\[&/@#-])[A-Za-z]{2,}(?![\w'\u2019>\];/@-])")

# The lexicographers' files, lexnames(5WN): Debian leaves the list out, and NLTK reads it
_LEXNAMES = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object "
    "noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape "
    "noun.state noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession "
    "verb.social verb.stative verb.weather adj.ppl"
)


class Synonyms:
    """Replaces some of a text's words by synonyms.

    max(n // 7, 2) of a text's n words, as the generator rewrites tokens, or all that have a synonym where these are
    fewer. Of a word's synonyms, its commoner meanings' first, the s-th is taken with probability 2^-s (Zhang, Zhao,
    LeCun 2015). Case is kept; stop words, names of special tokens and inflected forms (which WordNet lists under
    another word) stay. The text is otherwise as it was, to the byte.

    Args:
        wordnet: a folder with WordNet's files (``index.noun``, ``data.noun`` ...); by default the first that is there:
            ``wordnet`` in the folder that ``RAYDM_DATA`` names, NLTK's own data, Debian's ``/usr/share/wordnet``.
            Or a function from a lower-case word to its synonyms, the best first.

    Raises:
        DataError: there is no such folder, or it does not hold WordNet.
        MissingPackageError: NLTK is not installed.
    """

    def __init__(self, wordnet: str | Path | Thesaurus | None = None) -> None:
        self._of = wordnet if callable(wordnet) else WordNet(find_wordnet(wordnet))

    def __call__(self, texts: Sequence[str], *, seed: int, least: int = 2, share: int = 7) -> list[str]:
        """The texts with synonyms; each draw depends on the seed and on the text's number alone.

        Args:
            texts: N texts.
            seed: the run's seed, >= 0.
            least: the least words to replace, where so many have synonyms, >= 0.
            share: one word in so many is replaced, >= 1.
        """
        check_integer("Synonyms", "least", least, 0)
        check_integer("Synonyms", "share", share, 1)
        return [self._replaced(text, stream(seed, "synonyms", row), least, share) for row, text in enumerate(texts)]

    def _replaced(self, text: str, rng: np.random.Generator, least: int, share: int) -> str:
        stop = _stop_words()
        found = [(m, self._of(m[0].lower())) for m in _WORD.finditer(text) if m[0].lower() not in stop]
        found = [(word, synonyms) for word, synonyms in found if synonyms]
        count = min(max(len(text.split()) // share, least), len(found))
        pieces, end = [], 0
        for place in np.sort(rng.permutation(len(found))[:count]):
            word, synonyms = found[place]
            chosen = synonyms[min(int(rng.geometric(0.5)) - 1, len(synonyms) - 1)]
            pieces += [text[end : word.start()], _cased(chosen, word[0])]
            end = word.end()
        return "".join([*pieces, text[end:]])


class WordNet:
    """The synonyms of a word that is itself an entry, single words, those of its commoner meanings first.

    Args:
        folder: WordNet's files.

    Raises:
        DataError: the folder does not hold WordNet.
        MissingPackageError: NLTK is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._reader = folder, _reader(folder)
        self._known: dict[str, tuple[str, ...]] = {}

    def __call__(self, word: str) -> tuple[str, ...]:
        """The synonyms, in lower case; none where the word is no entry, or is alone."""
        if word not in self._known:
            # Of all parts of speech, for a text does not tell: by sense number, then by how often the sense was met
            senses = [lemma for lemma in self._reader.lemmas(word) if lemma.name().lower() == word]
            senses.sort(key=lambda lemma: -lemma.count())
            names = [name.lower() for lemma in senses for name in lemma.synset().lemma_names()]
            own = dict.fromkeys(name for name in names if name != word and name.isalpha())
            self._known[word] = tuple(own)
        return self._known[word]

    def __reduce__(self) -> tuple[Any, ...]:
        return WordNet, (self.folder,)  # NLTK's reader holds open files


def find_wordnet(folder: str | Path | None = None) -> Path:
    """The folder with WordNet's files; see `Synonyms`.

    Raises:
        DataError: it does not exist, or none was found.
    """
    if folder is not None:
        path = Path(folder).expanduser()
        if not (path / "index.noun").is_file():
            raise DataError(f"{path}: no WordNet, whose files are index.noun, data.noun and so on. {_REMEDY}")
        return path.resolve()
    places = [Path(os.environ[FOLDER_VARIABLE]).expanduser() / "wordnet"] if os.environ.get(FOLDER_VARIABLE) else []
    places += [Path(root) / "corpora" / "wordnet" for root in _nltk().data.path if root]
    for path in [*places, DEBIAN]:
        if (path / "index.noun").is_file():
            return path.resolve()
    raise DataError(f"WordNet is nowhere: neither {places[0]} nor {DEBIAN} holds index.noun. {_REMEDY}")


_REMEDY = (
    "Get it by `apt install wordnet-base` (Debian), by `python -m nltk.downloader wordnet` and unpacking wordnet.zip "
    f"beside itself, or put its files into the folder wordnet of the one that {FOLDER_VARIABLE} names."
)


def _nltk() -> Any:
    try:
        import nltk
    except ImportError as error:
        raise MissingPackageError.of("nltk", "Synonym replacement", INSTALL) from error
    return nltk


@cache
def _reader(folder: Path) -> Any:
    """NLTK's reader, of a folder that need not be NLTK's."""
    nltk = _nltk()
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        def open(self, file: str) -> Any:
            if file == "lexnames" and not (folder / file).is_file():
                return io.StringIO("".join(f"{i:02d}\t{name}\t0\n" for i, name in enumerate(_LEXNAMES.split())))
            return super().open(file)

        def map_wn(self, version: str = "wordnet") -> None:
            """Other WordNets' numbers, which synonyms need not: for them NLTK would want data of its own."""

    if str(folder) not in nltk.data.path:
        nltk.data.path.append(str(folder))  # how NLTK is told of a place that it may read from
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions are not available")
        try:
            return Reader(str(folder), None)
        except (OSError, ValueError, AssertionError, LookupError, nltk.corpus.reader.wordnet.WordNetError) as error:
            raise DataError(f"{folder}: WordNet cannot be read: {error}. {_REMEDY}") from error


@cache
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


def _cased(word: str, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word
