"""Text: tokens, a classifier of hard and soft texts, a label-conditional generator, synonyms (extra raydm[text])."""

from raydm.text.classifier import MakeTextClassifier, TextClassifier
from raydm.text.fitting import Epoch, epochs_of, fit, masked_loss
from raydm.text.generator import TextGenerator, gumbel
from raydm.text.masking import mask_positions
from raydm.text.soft import SoftTokens, joined
from raydm.text.synonyms import Synonyms, WordNet, find_wordnet
from raydm.text.tokenizer import Tokenizer
from raydm.text.writing import compose

__all__ = [
    "Epoch",
    "MakeTextClassifier",
    "SoftTokens",
    "Synonyms",
    "TextClassifier",
    "TextGenerator",
    "Tokenizer",
    "WordNet",
    "compose",
    "epochs_of",
    "find_wordnet",
    "fit",
    "gumbel",
    "joined",
    "mask_positions",
    "masked_loss",
]
