"""How many texts a second could this machine turn into vectors if nothing but that were done?

The same model file, the same plan and the same texts as the service, tokenising and scaling to unit length included,
no HTTP and no arrival times: everything is known in advance, so texts are sorted by length and cut into batches, and
the lanes take the next batch as they become free, the longest first. The best of many ways counts.

B rows of a batch, D dimensions, n texts.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.bundle.manifest import EmbedHead, Manifest
from app.bundle.open import open_bundle
from app.bundle.store import bundle_dir, current
from app.bundle.tokenizer import load_tokenizer
from app.encoding.tokenizer import TextEncoder
from app.engine.cores import cores
from app.engine.cpu_plans import Setting
from app.engine.load import load_model
from app.engine.session import Device, choose_device
from app.tasks import embed as task
from app.types import Item, Rows, Runner
from benchmarks.ledger import latency
from benchmarks.schema import CeilingFigures, Direct, Plan

BATCHES = {"cpu": (1, 2, 4, 8, 16, 32), "cuda": (8, 16, 32, 64, 128, 256)}
FINALISTS = 2  # ways so close in the sweep that noise decides: both are run again around every load
VECTOR_BATCH = 8


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle ready for offline runs of one plan."""

    manifest: Manifest
    head: EmbedHead
    encoder: TextEncoder
    device: Device
    lane: Runner
    wide: Runner


def open_plan(models_dir: Path, model: str, plan: Setting) -> Opened:
    """The current version of `model`, with the runners that the engine would use for `plan`.

    Raises:
        BundleError, DeviceError: it cannot be run here. PlanError: not by this plan. ValueError: it does not embed.
    """
    folder = bundle_dir(models_dir / "store", model, current(models_dir / "store", model))
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    head = next((head for head in manifest.heads if isinstance(head, EmbedHead)), None)
    if head is None:
        raise ValueError(f"{model} has no embed head; name a model that embeds with --model")
    device = choose_device("auto")
    loaded = load_model(folder, device, lanes=cores(), setting=plan)
    encoder = TextEncoder(load_tokenizer(bundle.read(manifest.file("tokenizer"))), max_tokens=manifest.max_tokens)
    return Opened(manifest, head, encoder, device, loaded.lane, loaded.wide)


class Ceiling:
    """Offline runs of one plan of one bundle."""

    def __init__(self, opened: Opened) -> None:
        self._head, self._encoder = opened.head, opened.encoder
        self._lane, self._wide = opened.lane, opened.wide
        count = cores() if opened.device == "cpu" else 1
        self._shapes = [(count, 1), (count + 1, 1)]  # lanes and threads of each
        if opened.wide is not opened.lane and count > 1:
            self._shapes.append((1, count))
        self._batches = BATCHES[opened.device]

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens the model reads of each text, over-long ones cut at their end."""
        return [encoding.tokens for encoding in self._encoder.encode(texts, "end")]

    def sweep(self, texts: Sequence[str]) -> list[CeilingFigures]:
        """Every way over the texts, best first."""
        plans = [Plan(batch=batch, lanes=n, threads=m) for n, m in self._shapes for batch in self._batches]
        return sorted((self.measure(texts, plan) for plan in plans), key=lambda figures: -figures.texts_per_s)

    def best(self, texts: Sequence[str], plans: Sequence[Plan]) -> CeilingFigures:
        """The best of some ways over the texts."""
        return max((self.measure(texts, plan) for plan in plans), key=lambda figures: figures.texts_per_s)

    def measure(self, texts: Sequence[str], plan: Plan) -> CeilingFigures:
        """Time one way: texts in, unit vectors out."""
        started_s, cpu_s = time.perf_counter(), time.process_time()
        rows = sorted((encoding.ids for encoding in self._encoder.encode(texts, "end")), key=len, reverse=True)
        batches = deque(rows[start : start + plan.batch] for start in range(0, len(rows), plan.batch))
        runner = self._lane if plan.threads == 1 else self._wide
        with ThreadPoolExecutor(plan.lanes) as pool:
            done = sum(pool.map(lambda _: self._empty(batches, runner), range(plan.lanes)))
        seconds, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
        assert done == len(texts)
        return CeilingFigures(
            plan=plan,
            texts_per_s=round(len(texts) / seconds, 2),
            cpu_ms_per_text=round(1000 * cpu_s / len(texts), 4),
            waste=round(waste(rows, plan), 4),
        )

    def direct(self, texts: Sequence[str], pause_s: float = 0.0) -> Direct:
        """How long a caller in this process waits for each text, one after the other, each after a pause."""
        found = []
        for name, runner in (("lane", self._lane), ("wide", self._wide)):
            if name == "wide" and runner is self._lane:
                continue
            figures = latency(np.sort([self._seconds(text, runner, pause_s) for text in texts]))
            assert figures is not None
            found.append(Direct.model_validate({"runner": name, "latency": figures}))
        return min(found, key=lambda direct: direct.latency.p50_ms)

    def vectors(self, texts: Sequence[str]) -> Rows:
        """The unit vector of each text, float32 [n, D]: what a right answer is compared with."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors_nD = np.empty((len(texts), self._head.dimensions), np.float32)
        for start in range(0, len(order), VECTOR_BATCH):
            chosen = order[start : start + VECTOR_BATCH]
            rows = [encoding.ids for encoding in self._encoder.encode([texts[index] for index in chosen], "end")]
            vectors_nD[chosen] = self._run(rows, self._lane)
        return vectors_nD

    def _seconds(self, text: str, runner: Runner, pause_s: float) -> float:
        if pause_s:
            time.sleep(pause_s)
        started_s = time.perf_counter()
        self._run([self._encoder.encode([text], "end")[0].ids], runner)
        return time.perf_counter() - started_s

    def _run(self, rows: Sequence[Item], runner: Runner) -> Rows:
        vectors_BD = runner.run(rows)[self._head.output]
        return task.finish(vectors_BD, dimensions=self._head.dimensions, normalize=True)

    def _empty(self, batches: deque[list[Item]], runner: Runner) -> int:
        """In a lane's thread: run batches until none is left; returns the vectors made."""
        return sum(len(self._run(batch, runner)) for batch in _drain(batches))


def waste(rows: Sequence[Item], plan: Plan) -> float:
    """The share of padding when sorted rows are cut into batches."""
    lengths = [len(row) for row in rows]
    batches = [lengths[start : start + plan.batch] for start in range(0, len(rows), plan.batch)]
    return 1 - sum(lengths) / sum(len(batch) * max(batch) for batch in batches)


def _drain(batches: deque[list[Item]]) -> Iterator[list[Item]]:
    while True:
        try:
            yield batches.popleft()  # atomic: several lanes take from one deque
        except IndexError:
            return
