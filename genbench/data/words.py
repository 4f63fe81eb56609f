"""Captions as words and numbers: the vocabulary of any set of texts."""

import difflib
import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from genbench.spec import ConfigError

__all__ = ["decode", "encode", "split", "vocabulary"]

# a word may hold apostrophes and hyphens; every other sign stands alone
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")
_SPACE_BEFORE = re.compile(r" ([,.:;!?%)\]])")


def split(text: str) -> list[str]:
    """The words of a text in lower case, punctuation marks as words of their own."""
    return _WORD.findall(text.lower())


def vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """Every word of the texts, sorted, after "" for the padding."""
    return ("", *sorted({word for text in texts for word in split(text)}))


def encode(texts: Iterable[str], words: Sequence[str], length: int) -> Tensor:
    """int64 (N, length), the place of each word in `words`; 0 after the last one.

    Args:
        texts: Captions.
        words: The vocabulary, "" first.
        length: Most words of a caption.

    Raises:
        ConfigError: For a caption without words, with unknown ones (with the nearest), and for one
            that is too long.
    """
    places = {word: place for place, word in enumerate(words)}
    rows = []
    for text in texts:
        found = split(text)
        if not found:
            raise ConfigError(f"caption {text!r} holds no word; write what the image shows")
        if unknown := [word for word in dict.fromkeys(found) if word not in places]:
            raise _unknown(text, unknown, words)
        if len(found) > length:
            raise ConfigError(
                f"caption {text!r} has {len(found)} words, punctuation included; "
                f"{length} is the most"
            )
        rows.append([places[word] for word in found] + [0] * (length - len(found)))
    return torch.tensor(rows, dtype=torch.int64).view(-1, length)


def decode(tokens: Tensor, words: Sequence[str]) -> list[str]:
    """The captions of int64 (N, L) tokens: words with one space between, punctuation attached.

    Raises:
        ConfigError: For a token that stands for no word.
    """
    texts = []
    for row in tokens.tolist():
        if wrong := [token for token in row if not 0 <= token < len(words)]:
            raise ConfigError(f"token {wrong[0]} is no word; the last one is {len(words) - 1}")
        texts.append(_SPACE_BEFORE.sub(r"\1", " ".join(words[token] for token in row if token)))
    return texts


def _unknown(text: str, unknown: list[str], words: Sequence[str]) -> ConfigError:
    listed = ", ".join(repr(word) for word in unknown)
    close = [difflib.get_close_matches(word, words, n=1, cutoff=0.5) for word in unknown]
    hints = ", ".join(repr(found[0]) for found in close if found)
    hint = f"did you mean {hints}? " if hints else ""
    return ConfigError(
        f"caption {text!r} has unknown words: {listed}; {hint}"
        f"the vocabulary has {len(words) - 1} words"
    )
