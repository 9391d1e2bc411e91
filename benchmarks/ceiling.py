"""How many texts a second could this machine turn into vectors if nothing but that were done?

The same graph and the same texts as the service, tokenising and scaling to unit length included, no HTTP and no
arrival times: everything is known in advance, so texts are sorted by length and cut into batches, and the lanes take
the next batch as they become free, the longest first. The best of many plans counts.

B rows of a batch, D dimensions.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import onnxruntime as ort

from app.bundle.manifest import EmbedHead, Manifest
from app.bundle.open import Bundle
from app.bundle.tokenizer import load_tokenizer
from app.encoding.tokenizer import TextEncoder
from app.engine.runner import OrtRunner, pad
from app.engine.session import Device, lanes_for
from app.tasks import embed as task
from app.types import Ids, Rows, Runner
from benchmarks.schema import CeilingFigures, Plan

BATCHES = {"cpu": (1, 2, 4, 8, 16, 32), "cuda": (8, 16, 32, 64, 128, 256)}
FINALISTS = 3  # plans so close in the sweep that noise decides: each is run again in every round


class WideRunner:
    """One run at a time on several threads of the CPU: the way of a lane is `OrtRunner`'s."""

    def __init__(self, manifest: Manifest, model: bytes, threads: int) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._inputs = [tensor.name for tensor in manifest.inputs]
        self._outputs = [tensor.name for tensor in manifest.outputs]
        self._pad_id = manifest.pad_id

    def run(self, rows: Sequence[Ids]) -> Mapping[str, Rows]:
        """Each graph output as float32 [B, D], row i for `rows[i]`."""
        outputs = self._session.run(self._outputs, pad(rows, self._pad_id, self._inputs))
        return dict(zip(self._outputs, outputs, strict=True))


class Ceiling:
    """One bundle, opened for offline runs."""

    def __init__(self, bundle: Bundle, head: EmbedHead, device: Device) -> None:
        manifest = bundle.manifest
        file = manifest.model_file("fp32")
        assert file is not None  # the manifest's own validator guarantees it
        model = bundle.read(file)
        self._head = head
        self._encoder = TextEncoder(
            load_tokenizer(bundle.read(manifest.file("tokenizer"))), max_tokens=manifest.max_tokens
        )
        self._runners: dict[int, Runner] = {1: OrtRunner(manifest, model, device)}
        lanes = lanes_for(device, None)
        self._shapes = [(lanes, 1)]  # lanes and threads of each
        if device == "cpu" and lanes > 1:
            self._runners[lanes] = WideRunner(manifest, model, lanes)
            self._shapes.append((1, lanes))
        self._batches = BATCHES[device]

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens the model reads of each text, over-long ones cut at their end."""
        return [encoding.tokens for encoding in self._encoder.encode(texts, "end")]

    def sweep(self, texts: Sequence[str]) -> list[CeilingFigures]:
        """Every plan over the texts, best first."""
        plans = [Plan(batch=batch, lanes=n, threads=m) for n, m in self._shapes for batch in self._batches]
        return sorted((self.measure(texts, plan) for plan in plans), key=lambda figures: -figures.texts_per_s)

    def best(self, texts: Sequence[str], plans: Sequence[Plan]) -> CeilingFigures:
        """The best of some plans over the texts."""
        return max((self.measure(texts, plan) for plan in plans), key=lambda figures: figures.texts_per_s)

    def measure(self, texts: Sequence[str], plan: Plan) -> CeilingFigures:
        """Time one plan: texts in, unit vectors out."""
        started_s, cpu_s = time.perf_counter(), time.process_time()
        rows = sorted((encoding.ids for encoding in self._encoder.encode(texts, "end")), key=len, reverse=True)
        batches = deque(rows[start : start + plan.batch] for start in range(0, len(rows), plan.batch))
        with ThreadPoolExecutor(plan.lanes) as pool:
            done = sum(pool.map(lambda _: self._empty(batches, self._runners[plan.threads]), range(plan.lanes)))
        seconds, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
        assert done == len(texts)
        return CeilingFigures(
            plan=plan,
            texts_per_s=round(len(texts) / seconds, 2),
            cpu_ms_per_text=round(1000 * cpu_s / len(texts), 3),
            waste=round(waste(rows, plan), 4),
        )

    def _empty(self, batches: deque[list[Ids]], runner: Runner) -> int:
        """In a lane's thread: run batches until none is left; returns the vectors made."""
        made = 0
        for batch in _drain(batches):
            vectors_BD = runner.run(batch)[self._head.output]
            made += len(task.finish(vectors_BD, dimensions=self._head.dimensions, normalize=True))
        return made


def waste(rows: Sequence[Ids], plan: Plan) -> float:
    """The share of padding when sorted rows are cut into batches."""
    lengths = [len(row) for row in rows]
    batches = [lengths[start : start + plan.batch] for start in range(0, len(rows), plan.batch)]
    return 1 - sum(lengths) / sum(len(batch) * max(batch) for batch in batches)


def _drain(batches: deque[list[Ids]]) -> Iterator[list[Ids]]:
    while True:
        try:
            yield batches.popleft()  # atomic: several lanes take from one deque
        except IndexError:
            return
