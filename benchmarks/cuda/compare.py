"""What is packing worth? A bundle over real texts: packed, padded, and sentence-transformers on one device."""

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from app.bundle.feeding import feeder
from app.bundle.manifest import EMBEDDING_OUTPUT
from app.bundle.open import Bundle, open_bundle
from app.bundle.packed import PACKED_FILE, read_packed
from app.bundle.scoring import unit
from app.bundle.store import bundle_dir, current
from app.bundle.tokenizer import cutting, load_tokenizer
from app.engine.cuda_buckets import limits_for
from app.engine.cuda_padded import PaddedRunner, half
from app.engine.packed import PackedRunner
from app.engine.session import create_session
from app.types import Ids, Rows, Runner
from benchmarks.corpus import corpus
from benchmarks.cuda.bench import Bench
from benchmarks.cuda.kernels import FUSED
from benchmarks.cuda.result import Row

BATCH = 256
LONG_TOKENS, LONG_ROWS = 512, (8, 16, 32)
CUDNN, CHOSEN_BY_RUNTIME = 8, 0
PEER_PACKAGE = "sentence_transformers"
PEER = "sentence-transformers/all-MiniLM-L6-v2"  # a hub id, or its copy in the cache of the hub's client


def packed_against_padded(bench: Bench) -> Iterator[Row]:
    """Real texts of mixed length in batches as they come: rates, waste, and how near the vectors are to float32."""
    bundle = minilm(bench)
    texts = corpus(bench.texts, seed=1)
    rows, tokenise_s = _encoded(bundle, texts)
    fp32 = _file(bundle, "fp32")
    padded = PaddedRunner(bundle.manifest, fp32, bench.device, "fp32")
    want = unit(_vectors(padded, rows[:BATCH]))
    yield _row("padded fp32", padded, rows, want, _padded_tokens, tokenise_s)
    halved = PaddedRunner(bundle.manifest, fp32, bench.device, "fp16")
    yield _row("padded fp16", halved, rows, want, _padded_tokens, tokenise_s)
    alike = sorted(rows, key=len)
    yield _row("padded fp16, texts sorted by length", halved, alike, None, _padded_tokens, tokenise_s)
    data = packed_graph(bundle)
    if data is None:
        yield {"engine": "packed fp16", "left_out": f"the bundle has no {PACKED_FILE}; export it again"}
    else:
        graph, spec = read_packed(data, PACKED_FILE)
        limits = limits_for(spec)
        packed = PackedRunner(
            spec, limits, lambda graphs: bench.open(graph, spec, limits, kernels=FUSED, graphs=graphs), graphs=True
        )
        yield _row("packed fp16", packed, rows, want, packed.computed_tokens, tokenise_s)
    yield _sentence_transformers(bench, texts, rows, want)


def long_batches(bench: Bench) -> Iterator[Row]:
    """Equal long texts, where padding costs nothing, by attention kernel; cuDNN compiles in a shape's first run."""
    bundle = minilm(bench)
    model = half(_file(bundle, "fp32"))
    length = min(LONG_TOKENS, bundle.manifest.max_tokens)
    feeds_of = feeder([tensor.name for tensor in bundle.manifest.inputs], bundle.manifest.pad_id)
    for kernels in (FUSED, CUDNN, CHOSEN_BY_RUNTIME):
        session = create_session(model, bench.device, cuda_options={"sdpa_kernel": kernels})
        for count in LONG_ROWS:
            feeds = feeds_of([np.full(length, 1 + bundle.manifest.pad_id, np.int32)] * count)
            started = time.perf_counter()
            session.run(None, feeds)
            first_ms = (time.perf_counter() - started) * 1e3
            yield {
                "sdpa_kernel": kernels,
                "rows": count,
                "length": length,
                "first_ms": round(first_ms, 2),
                "run_ms": bench.milliseconds(session.run, None, feeds),
            }


def minilm(bench: Bench) -> Bundle:
    """The bundle that is measured.

    Raises:
        BundleError: it is not there; `make bundles` builds it.
    """
    store = bench.models / "store"
    return open_bundle(bundle_dir(store, bench.model, current(store, bench.model)))


def packed_graph(bundle: Bundle) -> bytes | None:
    """The bundle's packed graph, if it has one."""
    file = next((file for file in bundle.manifest.files if file.path == PACKED_FILE), None)
    return None if file is None else bundle.read(file)


def _file(bundle: Bundle, precision: str) -> bytes:
    return bundle.read(next(file for file in bundle.manifest.files if file.precision == precision))


def _encoded(bundle: Bundle, texts: Sequence[str]) -> tuple[list[Ids], float]:
    """Token ids of each text, and the seconds it took."""
    manifest = bundle.manifest
    cut = cutting(load_tokenizer(bundle.read(manifest.file("tokenizer"))), manifest.max_tokens, "end")
    started = time.perf_counter()
    found = [np.asarray(encoding.ids, np.int32) for encoding in cut.encode_batch_fast(list(texts))]
    return found, time.perf_counter() - started


def _row(
    engine: str,
    runner: Runner,
    rows: Sequence[Ids],
    want: Rows | None,
    computed: Callable[[Sequence[int]], int],
    tokenise_s: float,
) -> Row:
    """All rows once, in batches, after a batch that does not count."""
    batches = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
    for batch in batches:  # every shape once: some are compiled or captured when they are first seen
        runner.run(batch)
    started = time.perf_counter()
    for batch in batches:
        runner.run(batch)
    run_s = time.perf_counter() - started
    tokens = sum(map(len, rows))
    computed_tokens = sum(computed([len(row) for row in batch]) for batch in batches)
    worst = None if want is None else float((unit(_vectors(runner, rows[:BATCH])) * want).sum(axis=1).min())
    return {
        "engine": engine,
        "texts": len(rows),
        "tokens": tokens,
        "texts_per_s": round(len(rows) / run_s, 1),
        "texts_per_s_with_tokenising": round(len(rows) / (run_s + tokenise_s), 1),
        "waste": round(1 - tokens / computed_tokens, 4),
        "min_cosine": worst,
    }


def _padded_tokens(lengths: Sequence[int]) -> int:
    return len(lengths) * max(lengths)


def _vectors(runner: Runner, rows: Sequence[Ids]) -> Rows:
    return runner.run(rows)[EMBEDDING_OUTPUT]


def _sentence_transformers(bench: Bench, texts: Sequence[str], rows: Sequence[Ids], want: Rows) -> Row:
    """The same texts through the library that most people use; it sorts by length and tokenises itself."""
    engine = "sentence-transformers fp16"
    if bench.device != "cuda" or any(importlib.util.find_spec(name) is None for name in ("torch", PEER_PACKAGE)):
        return {"engine": engine, "left_out": "needs torch with CUDA and sentence-transformers"}
    from sentence_transformers import SentenceTransformer  # not everywhere, and seconds to load

    model = SentenceTransformer(PEER, device="cuda").half()
    model.encode(list(texts), batch_size=BATCH)
    started = time.perf_counter()
    vectors = model.encode(list(texts), batch_size=BATCH)
    run_s = time.perf_counter() - started
    worst = float((unit(np.asarray(vectors[: len(want)], np.float32)) * want).sum(axis=1).min())
    return {
        "engine": engine,
        "texts": len(texts),
        "tokens": sum(map(len, rows)),
        "texts_per_s_with_tokenising": round(len(texts) / run_s, 1),
        "min_cosine": worst,
    }
