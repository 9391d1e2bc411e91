"""Which texts does a benchmark send?

Docstrings of the standard library: English prose of mixed length that every Python has. Most docstrings are cut into
sentences, some into paragraphs, a few stay whole, so that lengths run from three words to a page.

Invariants: no text twice; one Python version, count and seed give one list.
"""

import ast
import random
import re
import sysconfig
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

WORDS_MIN, WORDS_MAX = 3, 170  # 170 words are some 250 tokens: about the most that sentence encoders take
SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"})
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
PARAGRAPH_END = re.compile(r"\n\s*\n")
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def corpus(count: int, seed: int) -> list[str]:
    """`count` different texts in an order that `seed` decides.

    Beyond what the docstrings hold (some 15,000), texts are two different ones of them joined.

    Raises:
        ValueError: more are asked for than there are pairs.
    """
    texts = list(_texts())
    random.Random(seed).shuffle(texts)
    return take(texts, count)


def take(texts: Sequence[str], count: int) -> list[str]:
    """The first `count` of `texts`, then pairs of them; no text twice."""
    pairs = (
        f"{first} {texts[(i + gap) % len(texts)]}" for gap in range(1, len(texts)) for i, first in enumerate(texts)
    )
    taken = list(islice(_unique(texts, pairs), count))
    if len(taken) < count:
        raise ValueError(f"{count} texts are asked for; {len(texts)} texts and their pairs make {len(taken)}")
    return taken


@cache
def _texts() -> tuple[str, ...]:
    root = Path(sysconfig.get_path("stdlib"))
    files = (path for path in sorted(root.rglob("*.py")) if not SKIPPED & set(path.relative_to(root).parts))
    return tuple(_unique(text for path in files for doc in _docstrings(path) for text in _cut(doc)))


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates that are no Python yet
        return
    for node in ast.walk(tree):
        if isinstance(node, Documented) and (doc := ast.get_docstring(node)):
            yield doc


def _cut(doc: str) -> Iterator[str]:
    """The texts of one docstring; a checksum of it decides how finely it is cut."""
    paragraphs = [" ".join(part.split()) for part in PARAGRAPH_END.split(doc) if ">>>" not in part]
    choice = zlib.crc32(doc.encode()) % 10
    if choice == 0:
        texts = [" ".join(paragraphs)]
    elif choice <= 3:
        texts = paragraphs
    else:
        texts = [sentence for paragraph in paragraphs for sentence in SENTENCE_END.split(paragraph)]
    return (text for text in texts if WORDS_MIN <= len(text.split()) <= WORDS_MAX)


def _unique(*sources: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for source in sources:
        for text in source:
            if text not in seen:
                seen.add(text)
                yield text
