"""Does memory stay where it is?

Closed loops one after the other over one service, requests that never repeat, and after each loop the memory that all
processes have written, pages that they share counted once. After a warm-up the last tenth of the samples may not be
above the first by 1 %, and the second half may have no slope: the lower end of the 95 % interval of a straight line
through it is not above 0, or the line gains less than 0.1 % over that half. Control: an engine that keeps 256 bytes of
every text.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from statistics import fmean

import numpy as np
from scipy import stats

from benchmarks.ceiling import Ceiling
from benchmarks.chaos.common import Options, opened, serving
from benchmarks.chaos.made import numbered, words_of
from benchmarks.machine import ROOT, origin
from benchmarks.phases import Say, Target, scratch
from benchmarks.schema import Control, Footprint, Memory, Sample
from benchmarks.server import APP
from benchmarks.texts import Counted, draw

TINY = Options(ROOT / "tests" / "data", "tiny-encoder")
LEAKY = ("benchmarks.engines", "leaky")
CLIENTS = 32
LOOPS = 40  # samples
WARM_SHARE, WARM_MIN = 0.05, 2000
CONTROL_MIN = 20_000  # requests: 5 MB kept, 3 % of all memory
NUMBER_WORDS, WORDS_MAX = 5, 40
SAMPLE_EVERY = 64
FLOOR = 0.001  # of all memory, over the second half: 1 byte a request at a million of them
GROWTH_MAX = 0.01
MIB = 2**20

Supply = Callable[[int], list[Counted]]


def measure(options: Options, tiny: int, real: int, command: Sequence[str], say: Say) -> Memory:
    """`tiny` requests of the tiny model, `real` of the model of the options, and a tenth of `tiny` with the leak.

    Raises:
        BundleError, DeviceError, ServiceError, LoadError, ValueError: with the reason.
    """
    parts = [_footprint(TINY, tiny, APP, say), _footprint(options, real, APP, say)]
    leaking = _footprint(TINY, max(tiny // 10, CONTROL_MIN), LEAKY, say)
    control = Control(
        planted="256 bytes kept of every text",
        found=f"growth {leaking.growth:.2%}, slope of the second half {leaking.slope:.2%}",
        caught=leaking.has_slope,
    )
    say(f"control: {control.found}; {'caught' if control.caught else 'MISSED'}")
    return Memory(origin=origin(command), control=control, parts=parts)


def judged(model: str, samples: Sequence[Sample], warm_up: int, not_right: int) -> Footprint:
    """What the samples after the warm-up say."""
    mib = [sample.mib for sample in samples]
    tenth = max(1, len(mib) // 10)
    first = fmean(mib[:tenth])
    half = len(mib) // 2
    asked = np.array([sample.requests for sample in samples[half:]], np.float64)
    fit = stats.linregress(asked, np.array(mib[half:]))
    span = float(asked[-1] - asked[0])
    low = fit.slope - float(stats.t.ppf(0.975, len(asked) - 2)) * fit.stderr
    slope, slope_low = float(fit.slope) * span / first, float(low) * span / first
    return Footprint(
        model=model,
        requests=samples[-1].requests,
        warm_up=warm_up,
        not_right=not_right,
        samples=list(samples),
        growth=round(fmean(mib[-tenth:]) / first - 1, 5),
        slope=round(slope, 5),
        slope_low=round(slope_low, 5),
        has_slope=slope_low > 0 and slope > FLOOR,
    )


def _footprint(options: Options, requests: int, program: Sequence[str], say: Say) -> Footprint:
    model, ceiling = opened(options)
    supply = _made(options, ceiling) if options is TINY else _prose(ceiling, model.manifest.max_tokens, requests)
    warm_up = max(int(WARM_SHARE * requests), WARM_MIN)
    samples, not_right = [], 0
    with scratch() as folder, serving(options, program=program) as service:
        target = Target(service, options.model, model.head.dimensions, ceiling, folder, sample_every=SAMPLE_EVERY)
        target.closed(supply(warm_up), CLIENTS)
        samples.append(Sample(requests=0, mib=round(service.memory_bytes() / MIB, 3)))
        for number in range(LOOPS):
            load, _ = target.closed(supply(max(CLIENTS, requests // LOOPS)), CLIENTS)
            not_right += load.not_right
            asked = samples[-1].requests + load.asked
            samples.append(Sample(requests=asked, mib=round(service.memory_bytes() / MIB, 3)))
            if number % 8 == 7:
                say(f"{options.model}: {asked} requests, {load.requests_per_s:.0f}/s, {samples[-1].mib:.1f} MiB")
    return judged(options.model, samples, warm_up, not_right)


def _made(options: Options, ceiling: Ceiling) -> Supply:
    words, rng = words_of(options.models_dir, options.model), Random(1)
    numbers = iter(range(2**62))

    def supply(count: int) -> list[Counted]:
        texts = [numbered(words, next(numbers), rng.randint(NUMBER_WORDS, WORDS_MAX)) for _ in range(count)]
        return [Counted(text, tokens) for text, tokens in zip(texts, ceiling.tokens(texts), strict=True)]

    return supply


def _prose(ceiling: Ceiling, max_tokens: int, requests: int) -> Supply:
    needed = max(int(WARM_SHARE * requests), WARM_MIN) + LOOPS * max(CLIENTS, requests // LOOPS)
    texts: Iterator[Counted] = iter(draw(ceiling.tokens, max_tokens, needed))
    return lambda count: list(islice(texts, count))
