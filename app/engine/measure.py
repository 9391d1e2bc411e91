"""How long do runs take on this machine?

Shapes take turns, since a service never runs one shape twice in a row and OpenVINO sets its graph up again for each
new one; the best of some turns counts, since noise only adds. On a CPU the process's own seconds are counted: the wall
clock of a busy machine turns the price into nonsense. So nothing else may run in this process meanwhile.
"""

import itertools
import math
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np

from app.batching.cost import Sample, run_ms
from app.types import Clock, Cost, Item, Runner

Shape = tuple[int, int]  # rows, tokens

# Where traffic is, and what the price needs: these five give it within 4 to 6 % in the mean over rows 1 to 32 and
# lengths 8 to 256, as good as all 74 measured shapes (adr/0006).
SHAPES: Sequence[Shape] = ((1, 16), (1, 48), (4, 32), (8, 64), (2, 256))
TURNS = 4
BUDGET_S = 4.0  # a large model is timed less often, but at least once

TYPICAL: Shape = (4, 32)  # what "texts a second" is told for
SHORT: Sequence[Shape] = ((1, 8), (1, 16), (1, 32))  # what a lone request mostly is
WIDE_TURNS = 7
WIDE_GAIN = 0.9  # all cores must bring a short text at least to this share of its time on one

WARM: Sequence[Shape] = tuple(itertools.product((1, 2), range(8, 72, 8)))


def batch_of(shape: Shape, pool: Item, max_tokens: int) -> list[Item]:
    """A batch of this shape out of real tokens, or vectors."""
    rows, tokens = shape
    length = min(tokens, max_tokens)
    return [np.resize(pool[start:], (length, *pool.shape[1:])) for start in range(rows)]


def time_shapes(
    runners: Sequence[Runner], shapes: Sequence[Shape], pool: Item, *, max_tokens: int, turns: int, clock: Clock
) -> list[list[Sample]]:
    """The best time of each shape on each runner; all take turns, after one that does not count."""
    batches = [batch_of(shape, pool, max_tokens) for shape in shapes]
    best = [[math.inf] * len(batches) for _ in runners]
    until_s = time.monotonic() + BUDGET_S * len(runners)
    for turn in range(turns + 1):
        for number, runner in enumerate(runners):
            for index, batch in enumerate(batches):
                started = clock()
                runner.run(batch)
                if turn > 0:
                    best[number][index] = min(best[number][index], clock() - started)
        if turn > 0 and time.monotonic() > until_s:
            break
    return [
        [Sample(len(batch), len(batch[0]), max(s * 1e3, 1e-6)) for batch, s in zip(batches, times, strict=True)]
        for times in best
    ]


def milliseconds(samples: Sequence[Sample]) -> Mapping[str, float]:
    """The times by shape, for people."""
    return {f"{sample.rows}x{sample.length}": round(sample.ms, 3) for sample in samples}


def mean_ms(samples: Sequence[Sample]) -> float:
    """The geometric mean: each shape counts alike, however long it takes."""
    return math.exp(sum(math.log(sample.ms) for sample in samples) / len(samples))


def texts_per_s(cost: Cost, max_tokens: int) -> float:
    """What one lane does on batches of a typical shape, or of shorter rows where a model takes no more."""
    rows, tokens = TYPICAL
    return round(rows / run_ms(cost, rows, min(tokens, max_tokens)) * 1e3, 1)


def is_wide_faster(lane: Runner, wide: Runner, pool: Item, max_tokens: int) -> bool:
    """Whether a lone short text is worth all cores, by the wall clock."""
    times = time_shapes([lane, wide], SHORT, pool, max_tokens=max_tokens, turns=WIDE_TURNS, clock=time.perf_counter)
    lane_ms, wide_ms = map(mean_ms, times)
    return wide_ms <= WIDE_GAIN * lane_ms


def warm(runner: Runner, pool: Item, max_tokens: int, *, lanes: int) -> None:
    """Run common shapes on every lane at once, so that no first request pays for the kernels of its shape."""
    batches = [batch_of(shape, pool, max_tokens) for shape in WARM]
    failed: list[Exception] = []

    def run() -> None:
        try:
            for batch in batches:
                runner.run(batch)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run, name=f"warm-{number}") for number in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
