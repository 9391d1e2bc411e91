"""Does the service stay useful when it is asked for far more than it can do?

Thirty seconds at three times what the real engine can do – front end, engine and load generator then fight for the
same cores – and at ten times what an engine of set price and no CPU can do, where only waiting is scarce.
Control: the same engine with a limit on the wait that never refuses; the answers must be seen to come too late.
"""

from collections.abc import Mapping, Sequence

from benchmarks.ceiling import Ceiling, Opened
from benchmarks.chaos.common import POOL, Options, Pool, opened, pool_of, serving
from benchmarks.chaos.made import numbered, words_of
from benchmarks.engines.fixed import FixedRunner
from benchmarks.generator import run
from benchmarks.machine import ROOT, origin
from benchmarks.phases import Say, line
from benchmarks.schema import Control, Overload, Overloaded
from benchmarks.server import APP
from benchmarks.texts import Counted

LIMIT_MS = 2000.0
LIMIT = "ENCODERY_ADMISSION__MAX_WAIT_MS"
FIXED = ("benchmarks.engines", "fixed")
TINY = Options(ROOT / "tests" / "data", "tiny-encoder")
REAL_TIMES, FIXED_TIMES = 3.0, 10.0
FIXED_WORDS = 8  # and two special tokens: 31 ms a text
PEAK_S, CONTROL_S = 5.0, 4.0
ACCEPTED_MAX = 1.2  # p99 of accepted, of the limit


def measure(options: Options, seconds: float, command: Sequence[str], say: Say) -> Overload:
    """Both engines, and the control.

    Raises:
        BundleError, DeviceError, ServiceError, LoadError, ValueError: with the reason.
    """
    limit = {LIMIT: f"{LIMIT_MS:.0f}"}
    model, ceiling = opened(options)
    with pool_of(model, ceiling) as pool:
        real = _overloaded(options, pool, "real", REAL_TIMES, seconds, limit)
    say(f"real engine: {_line(real)}")
    with pool_of(*fixed_model()) as pool:
        fixed = _overloaded(TINY, pool, "fixed", FIXED_TIMES, seconds, limit)
        say(f"fixed engine: {_line(fixed)}")
        # Every request is let in, so that the last waits for as long as all before it take.
        blind = _overloaded(TINY, pool, "fixed", FIXED_TIMES, min(CONTROL_S, seconds), {LIMIT: "600000"})
    share = accepted_share(blind)
    control = Control(
        planted="a limit on the wait of ten minutes",
        found=f"p99 of accepted is {share:.1f} times the limit of {LIMIT_MS:.0f} ms",
        caught=share > ACCEPTED_MAX,
    )
    say(f"control: {control.found}; {'caught' if control.caught else 'MISSED'}")
    return Overload(origin=origin(command), control=control, parts=[real, fixed])


def accepted_share(part: Overloaded) -> float:
    """p99 of the requests that were let in and answered right, of the limit on the wait."""
    return part.load.latency.p99_ms / LIMIT_MS if part.load.latency else float("inf")


def fixed_model() -> tuple[Opened, Ceiling, list[Counted]]:
    """The tiny model as the fixed engine answers for it, without the wait; and texts of like length."""
    model, _ = opened(TINY)
    width = {model.head.output: model.head.dimensions}
    runner = FixedRunner(width, overhead_ms=0.0, ms_per_token=0.0)
    ceiling = Ceiling(Opened(model.manifest, model.head, model.encoder, model.device, runner, runner))
    words = words_of(TINY.models_dir, TINY.model)
    texts = [numbered(words, number, FIXED_WORDS) for number in range(POOL)]
    return model, ceiling, [Counted(text, tokens) for text, tokens in zip(texts, ceiling.tokens(texts), strict=True)]


def _overloaded(
    options: Options, pool: Pool, engine: str, times: float, seconds: float, environ: Mapping[str, str]
) -> Overloaded:
    with serving(options, environ, FIXED if engine == "fixed" else APP) as service:
        peak = pool.peak(service, min(PEAK_S, seconds))
        before = service.snapshot()
        load = run(pool.open(service, times * peak, seconds))
        after = service.snapshot()
    codes = {code: count - before.codes.get(code, 0) for code, count in after.codes.items()}
    agree = codes.get("200", 0) == load.answered + load.wrong and codes.get("429", 0) + codes.get("503", 0) == load.shed
    values = {"engine": engine, "times": times, "peak_per_s": peak, "limit_ms": LIMIT_MS}
    return Overloaded.model_validate(values | {"load": load, "counts_agree": agree})


def _line(part: Overloaded) -> str:
    shed = part.load.shed_latency
    refusals = f"{part.load.shed} refused, p99 {shed.p99_ms:.1f} ms" if shed else "none refused"
    return (
        f"peak {part.peak_per_s:.0f}/s, {part.times:.0f} times offered: {line(part.load)}; goodput "
        f"{part.goodput_share:.2f} of the peak; p99 of accepted {accepted_share(part):.2f} of the limit; {refusals}; "
        f"{part.load.shed_without_retry_after} of them without Retry-After; counts agree: {part.counts_agree}"
    )
