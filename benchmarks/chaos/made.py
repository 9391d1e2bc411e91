"""Texts that are made up: as many different ones as wanted, of known length, for models that need no prose."""

from collections.abc import Sequence
from pathlib import Path

from app.bundle.open import open_bundle
from app.bundle.store import bundle_dir, current
from app.bundle.tokenizer import load_tokenizer


def words_of(models_dir: Path, model: str) -> list[str]:
    """Whole words that are one token each for `model`, sorted."""
    store = models_dir / "store"
    bundle = open_bundle(bundle_dir(store, model, current(store, model)))
    tokenizer = load_tokenizer(bundle.read(bundle.manifest.file("tokenizer")))
    return sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)


def numbered(words: Sequence[str], number: int, length: int) -> str:
    """A text of `length` words that no other number has: the number, written in words as digits."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(words))
        digits.append(words[digit])
    if number:
        raise ValueError(f"{length} of {len(words)} words do not hold so large a number")
    return " ".join(digits)
