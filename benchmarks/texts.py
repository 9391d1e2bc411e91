"""Which texts does a phase get, and how long are they for this model?"""

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.corpus import corpus
from benchmarks.ledger import percentile
from benchmarks.schema import Corpus

SEED = 1
SPARE = (1.25, 2.5, 5.0)  # texts drawn for each one needed: those that the model would cut are left out


@dataclass(frozen=True, slots=True)
class Counted:
    """A text and its length in tokens."""

    text: str
    tokens: int


def draw(count_tokens: Callable[[Sequence[str]], Sequence[int]], max_tokens: int, count: int) -> list[Counted]:
    """`count` different texts that the model takes whole; `count_tokens` cuts at `max_tokens`.

    Fewer texts are the first ones of more.

    Raises:
        ValueError: hardly any text is that short.
    """
    for spare in SPARE:
        drawn = corpus(int(count * spare), SEED)
        counted = [Counted(text, tokens) for text, tokens in zip(drawn, count_tokens(drawn), strict=True)]
        fitting = [text for text in counted if text.tokens < max_tokens]  # of those at the limit, some were cut
        if len(fitting) >= count:
            return fitting[:count]
    raise ValueError(f"only {len(fitting)} of {len(drawn)} texts have under {max_tokens} tokens; {count} are needed")


def spread(texts: Sequence[Counted], seed: int, block: int = 64) -> list[Counted]:
    """The texts in an order of which any stretch has about the lengths of all: each block has one text of every part.

    Phases of a benchmark take the next so many texts, and get different texts and yet the same work. What does not
    fill a block is left out.
    """
    rng = random.Random(seed)
    by_length = sorted(texts, key=lambda text: text.tokens)
    blocks = len(texts) // block
    parts = [by_length[start : start + blocks] for start in range(0, blocks * block, blocks)] if blocks else [[*texts]]
    for part in parts:
        rng.shuffle(part)
    ordered: list[Counted] = []
    for group in zip(*parts, strict=True):
        ordered += rng.sample(group, len(group))
    return ordered


def describe(texts: Sequence[Counted]) -> Corpus:
    """How many, which, and their lengths."""
    tokens = sorted(text.tokens for text in texts)
    return Corpus(
        texts=len(texts),
        sha256=_digest(text.text for text in texts),
        tokens_mean=round(fmean(tokens), 2),
        tokens_p50=int(percentile(tokens, 0.5)),
        tokens_p90=int(percentile(tokens, 0.9)),
        tokens_p99=int(percentile(tokens, 0.99)),
        tokens_max=tokens[-1],
    )


def _digest(texts: Iterable[str]) -> str:
    """The sha256 of the texts in their order: which corpus a result was measured on."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
