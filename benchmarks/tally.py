"""What came of the requests of one load?

Invariant: answered + wrong + shed + failed == asked, once `figures` has counted what never came back as failed.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson

from benchmarks.connection import Reply
from benchmarks.schema import Latency

Verdict = Literal["answered", "wrong", "shed", "failed"]


@dataclass(frozen=True, slots=True)
class Question:
    """One request as bytes, and what a right answer holds: one vector of `dimensions`, made of `tokens` tokens."""

    request: bytes
    dimensions: int
    tokens: int


@dataclass(slots=True)
class Tally:
    """Counts and latencies of one load, filled as answers come in."""

    asked: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)

    def add(self, question: Question, reply: Reply, latency_s: float) -> None:
        """Judge an answer; only right ones have a latency."""
        verdict, reason = judge(question, reply)
        self.verdicts[verdict] += 1
        if verdict == "answered":
            self.latencies_s.append(latency_s)
        else:
            self.errors[reason] += 1

    def add_failure(self, error: Exception) -> None:
        """Count a request whose connection failed."""
        self.verdicts["failed"] += 1
        self.errors[str(error)] += 1

    def close(self) -> None:
        """Count as failed what was asked and never came back."""
        if lost := self.asked - self.verdicts.total():
            self.verdicts["failed"] += lost
            self.errors["no answer within the time limit"] += lost


def judge(question: Question, reply: Reply) -> tuple[Verdict, str]:
    """Whether the answer is right, and why not. The token count tells the answer to this text from another's."""
    if reply.status == 429:
        return "shed", "429"
    if reply.status != 200:
        return "failed", str(reply.status)
    try:
        answer = orjson.loads(reply.body)
        vectors, tokens = answer["embeddings"], answer["usage"]["tokens"]
        if len(vectors) != 1 or len(vectors[0]) != question.dimensions:
            return "wrong", f"not one vector of {question.dimensions} values"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "wrong", "not an answer of /embed"
    return ("answered", "") if tokens == question.tokens else ("wrong", "the answer to another text")


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the (ordered, not empty) values do not exceed."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def latency(latencies_s: Sequence[float]) -> Latency | None:
    """Percentiles in milliseconds; None without values."""
    if not latencies_s:
        return None
    ordered = sorted(1000 * seconds for seconds in latencies_s)
    p50, p90, p99, p999 = (round(percentile(ordered, share), 3) for share in (0.5, 0.9, 0.99, 0.999))
    return Latency(p50_ms=p50, p90_ms=p90, p99_ms=p99, p999_ms=p999, max_ms=round(ordered[-1], 3))
