"""Which rule for forming batches comes nearest to the ceiling? A simulation, exact and free of noise.

A closed loop of callers with texts of mixed length, lanes that run what the queue of app/batching gives them, and the
measured cost of a run (`overhead + padded tokens * ms_per_token`). HTTP and the front end cost nothing here, so a
share is what the rule alone allows. The first-come rule takes the oldest rows that fit the budget.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from app.batching.cost import MAX_ROWS, budget_tokens, join_tokens
from app.batching.queue import LengthQueue, Waiting
from app.bundle.open import open_bundle
from app.bundle.store import bundle_dir, current
from app.bundle.tokenizer import cutting, load_tokenizer
from app.engine.load import load_model
from app.engine.session import choose_device, lanes_for
from app.types import ANYONE, Cost
from benchmarks.ledger import percentile
from benchmarks.machine import origin
from benchmarks.schema import Schedule, Simulated
from benchmarks.texts import describe, draw

CLIENTS = (8, 32, 128)
BUDGETS = (128, 256, 512, 1024)
JOIN_SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 1.0)  # of a run's overhead, in tokens
CEILING_ROWS = (1, 2, 4, 8, 16, 32)

Row = Waiting[float]  # the payload is when its caller asked
Push = Callable[[Row], object]
Take = Callable[[], list[Row]]


@dataclass(slots=True)
class FirstCome:
    """A queue in order of arrival."""

    budget_tokens: int
    rows: deque[Row] = field(default_factory=deque)

    def push(self, row: Row) -> None:
        """Add a row."""
        self.rows.append(row)

    def take(self) -> list[Row]:
        """The oldest rows that fit the budget together; one row always does."""
        batch: list[Row] = []
        while self.rows and len(batch) < MAX_ROWS:
            longest = max(row.tokens for row in [*batch, self.rows[0]])
            if batch and longest * (len(batch) + 1) > self.budget_tokens:
                break
            batch.append(self.rows.popleft())
        return batch


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to form batches."""

    name: Literal["first come", "like lengths"]
    budget_tokens: int
    join_tokens: float = math.inf  # of "like lengths": padding that a row may add

    def queue(self) -> tuple[Push, Take]:
        """How a fresh queue takes rows and gives batches."""
        if self.name == "first come":
            first_come = FirstCome(self.budget_tokens)
            return first_come.push, first_come.take
        queue: LengthQueue[float] = LengthQueue()
        take = partial(queue.take, budget_tokens=self.budget_tokens, max_rows=MAX_ROWS, join_tokens=self.join_tokens)
        return queue.push, take


def run_ms(batch: Sequence[int], cost: Cost) -> float:
    """What a batch of these lengths costs."""
    return cost.overhead_ms + len(batch) * max(batch) * cost.ms_per_token


def ceiling(lengths: Sequence[int], cost: Cost) -> float:
    """Texts a second when all are known in advance: sorted, in batches of the best size, every lane busy."""

    def total_ms(rows: int) -> float:
        ordered = sorted(lengths)
        return sum(run_ms(ordered[start : start + rows], cost) for start in range(0, len(ordered), rows))

    return 1000 * len(lengths) * cost.lanes / min(total_ms(rows) for rows in CEILING_ROWS)


def simulate(lengths: Sequence[int], clients: int, cost: Cost, rule: Rule) -> Simulated:
    """Answer every length once; each caller asks again at the moment it is answered."""
    push, take = rule.queue()
    now_ms, free, padded, batches = 0.0, cost.lanes, 0, 0
    left, order = iter(lengths), itertools.count()
    running: list[tuple[float, int, list[Row]]] = []
    waits_ms: list[float] = []
    for tokens in itertools.islice(left, clients):
        push(Waiting(tokens, 0.0, ANYONE, 0.0))
    while True:
        while free and (batch := take()):
            free, batches = free - 1, batches + 1
            padded += len(batch) * max(row.tokens for row in batch)
            end_ms = now_ms + run_ms([row.tokens for row in batch], cost)
            heapq.heappush(running, (end_ms, next(order), batch))
        if not running:
            break
        now_ms, _, batch = heapq.heappop(running)
        free += 1
        waits_ms += [now_ms - row.payload for row in batch]
        for tokens in itertools.islice(left, len(batch)):
            push(Waiting(tokens, now_ms, ANYONE, now_ms))
    waits_ms.sort()
    return Simulated(
        rule=rule.name,
        clients=clients,
        budget_tokens=rule.budget_tokens,
        join_tokens=None if math.isinf(rule.join_tokens) else round(rule.join_tokens, 2),
        share=round(1000 * len(waits_ms) / now_ms / ceiling(lengths, cost), 4),
        waste=round(1 - sum(lengths) / padded, 4),
        rows_mean=round(len(waits_ms) / batches, 2),
        p50_ms=round(percentile(waits_ms, 0.5), 2),
        p99_ms=round(percentile(waits_ms, 0.99), 2),
    )


def measure(models_dir: Path, model: str, texts: int, arguments: Sequence[str]) -> Schedule:
    """Time runs of the bundle here as the engine does at load, and simulate every rule.

    Raises:
        BundleError, ValueError: with the reason.
    """
    store = models_dir / "store"
    folder = bundle_dir(store, model, current(store, model))
    bundle = open_bundle(folder)
    device = choose_device("auto")
    cost = load_model(folder, device, lanes=lanes_for(device, None)).status.cost
    limit = bundle.manifest.max_tokens
    tokenizer = cutting(load_tokenizer(bundle.read(bundle.manifest.file("tokenizer"))), limit, "end")
    drawn = draw(lambda texts: [len(one.ids) for one in tokenizer.encode_batch_fast(list(texts))], limit, texts)
    lengths = [text.tokens for text in drawn]
    budget, per_overhead = budget_tokens(cost), cost.overhead_ms / cost.ms_per_token
    rules = [Rule("first come", size) for size in BUDGETS] + [Rule("like lengths", size) for size in BUDGETS]
    rules += [Rule("like lengths", budget, share * per_overhead) for share in JOIN_SHARES]
    return Schedule(
        origin=origin(arguments),
        model=model,
        corpus=describe(drawn),
        overhead_ms=round(cost.overhead_ms, 4),
        ms_per_token=round(cost.ms_per_token, 5),
        lanes=cost.lanes,
        service_budget_tokens=budget,
        service_join_tokens=round(join_tokens(cost), 2),
        ceiling_texts_per_s=round(ceiling(lengths, cost), 2),
        simulated=[simulate(lengths, clients, cost, rule) for clients in CLIENTS for rule in rules],
    )
