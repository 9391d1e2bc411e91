"""Which texts does a benchmark send?

Docstrings of the standard library and of four packages that `make setup` installs: English prose of mixed length. Most
docstrings are cut into sentences, some into paragraphs, a few stay whole, so that lengths run from three words to a
page; for the tokenizer of all-MiniLM-L6-v2 they have 34 tokens on average.

Invariants: no text twice; one set of versions, count and seed give one list. What was cut once is kept under build/,
by versions, for reading 5,000 Python files takes ten seconds.
"""

import ast
import hashlib
import importlib.util
import os
import platform
import random
import re
import sysconfig
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import metadata
from itertools import islice
from pathlib import Path

import orjson

from benchmarks.machine import ROOT

WORDS_MIN, WORDS_MAX = 3, 170  # 170 words are some 250 tokens: about the most that sentence encoders take
PACKAGES = {"numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "pandas": "pandas"}  # module: distribution
SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"})
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
PARAGRAPH_END = re.compile(r"\n\s*\n")
KEPT = ROOT / "build" / "benchmarks"
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def corpus(count: int, seed: int) -> list[str]:
    """`count` different texts in an order that `seed` decides.

    Beyond what the docstrings hold (some 79,000), texts are two different ones of them joined.

    Raises:
        ValueError: more are asked for than there are pairs, or a package is not installed.
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
    versions = [platform.python_version(), *(f"{name} {metadata.version(name)}" for name in PACKAGES.values())]
    rules = Path(__file__).read_bytes()  # other rules cut other texts
    kept = KEPT / f"corpus-{hashlib.sha256(' '.join(versions).encode() + rules).hexdigest()[:16]}.json"
    if kept.exists():
        return tuple(orjson.loads(kept.read_bytes()))
    docs = (doc for root in _roots() for path in _sources(root) for doc in _docstrings(path))
    texts = tuple(_unique(text for doc in docs for text in _cut(doc)))
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}")  # two benchmarks may do this at once
    partial.write_bytes(orjson.dumps(texts))
    partial.rename(kept)
    return texts


def _roots() -> Iterator[Path]:
    yield Path(sysconfig.get_path("stdlib"))
    for module in PACKAGES:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ValueError(f"{module} is not installed; `make setup` installs it")
        yield Path(spec.origin).parent


def _sources(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*.py")) if not SKIPPED & set(path.relative_to(root).parts))


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
    elif choice <= 4:
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
