"""Which share of the machine's ceiling do requests of one text each reach, at one client and at many?

Ceiling, one client, many clients, and again: a machine that gets slower or faster meanwhile changes all three. The
ceiling of a round runs the very texts that its many clients send; the service sees each text once. Then an open loop
at two rates below what was reached: the latencies that callers who do not wait for each other would see.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from app.bundle.manifest import EmbedHead
from app.bundle.open import open_bundle
from app.bundle.store import bundle_dir, current
from app.engine.session import choose_device
from benchmarks.ceiling import FINALISTS, Ceiling
from benchmarks.generator import Job, LoadError, run
from benchmarks.machine import origin
from benchmarks.schema import LoadFigures, Medians, Phase, Plan, Round, SingleText
from benchmarks.server import Service, between, running
from benchmarks.texts import SEED, Counted, deal, describe, draw

TARGET_SHARE = 0.75
OPEN_SHARES = (0.5, 0.8)  # of the closed loop's rate
OPEN_CONNECTIONS = 128
SWEEP_TEXTS = 500  # enough to find the plans that are worth a whole phase

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What one run of the benchmark is asked for."""

    models_dir: Path
    model: str
    texts: int  # a phase
    rounds: int
    clients: int


def measure(options: Options, arguments: Sequence[str], say: Say) -> SingleText:
    """Run it all; `say` gets a line for every step.

    Raises:
        BundleError, ServiceError, LoadError, ValueError: with the reason.
    """
    store = options.models_dir / "store"
    bundle = open_bundle(bundle_dir(store, options.model, current(store, options.model)))
    head = next((head for head in bundle.manifest.heads if isinstance(head, EmbedHead)), None)
    if head is None:
        raise ValueError(f"{options.model} has no embed head; name a model that embeds with --model")
    ceiling = Ceiling(bundle, head, choose_device("auto"))
    parts = 1 + 2 * options.rounds + len(OPEN_SHARES)  # the sweep and warm-up, two a round, one each open loop
    texts = draw(ceiling.tokens, bundle.manifest.max_tokens, parts * options.texts)
    warm, *slices = deal(texts, [text.tokens for text in texts], parts, SEED)
    say(f"{parts} phases of {options.texts} texts, {fmean(text.tokens for text in texts):.1f} tokens a text")

    sweep = ceiling.sweep([text.text for text in warm[:SWEEP_TEXTS]])
    for figures in sweep[:FINALISTS]:
        say(f"ceiling {_plan(figures.plan)}: {figures.texts_per_s:.1f} texts/s")
    plans = [figures.plan for figures in sweep[:FINALISTS]]
    with running(options.models_dir) as service:
        load = Load(service, options.model, head.dimensions)
        load.closed(warm, options.clients)
        rounds = [
            _round(ceiling, plans, load, slices[2 * number : 2 * number + 2], options.clients, say)
            for number in range(options.rounds)
        ]
        medians = _medians(rounds)
        open_loop = []
        for share, part in zip(OPEN_SHARES, slices[2 * options.rounds :], strict=True):
            open_loop.append(load.open(part, share * medians.many_per_s))
            say(f"open loop, {share:.0%} of that rate: {_line(open_loop[-1].load)}")
        device = service.device()
    return SingleText(
        origin=origin(arguments),
        model=str(bundle.manifest.name),
        device=device,
        corpus=describe(texts),
        target_share=TARGET_SHARE,
        many=options.clients,
        sweep=sweep,
        rounds=rounds,
        medians=medians,
        open_loop=open_loop,
    )


@dataclass(frozen=True, slots=True)
class Load:
    """Loads on one service."""

    service: Service
    model: str
    dimensions: int

    def closed(self, texts: Sequence[Counted], clients: int) -> Phase:
        """Each text once, `clients` at a time."""
        return self._phase(self._job(texts, mode="closed", clients=clients))

    def open(self, texts: Sequence[Counted], rate_per_s: float) -> Phase:
        """Each text once, when a Poisson schedule of this rate says."""
        rate = round(rate_per_s, 2)
        return self._phase(self._job(texts, mode="poisson", clients=OPEN_CONNECTIONS, rate_per_s=rate))

    def _job(self, texts: Sequence[Counted], **kind: object) -> Job:
        return Job.model_validate(
            {
                "host": "127.0.0.1",
                "port": self.service.port,
                "model": self.model,
                "dimensions": self.dimensions,
                "texts": [text.text for text in texts],
                "tokens": [text.tokens for text in texts],
                "seed": SEED,
                **kind,
            }
        )

    def _phase(self, job: Job) -> Phase:
        before = self.service.snapshot()
        figures = run(job)
        if not figures.answered:
            raise LoadError(f"none of {figures.asked} requests was answered right: {figures.errors}")
        return Phase(load=figures, service=between(before, self.service.snapshot()))


def _round(
    ceiling: Ceiling, plans: Sequence[Plan], load: Load, slices: Sequence[Sequence[Counted]], clients: int, say: Say
) -> Round:
    alone, together = slices
    best = ceiling.best([text.text for text in together], plans)
    say(f"ceiling {_plan(best.plan)}: {best.texts_per_s:.1f} texts/s")
    one = load.closed(alone, 1)
    say(f"1 client: {_line(one.load)}")
    many = load.closed(together, clients)
    say(f"{clients} clients: {_line(many.load)}, waste {many.service.waste:.1%}, rows {many.service.rows_mean:.1f}")
    return Round(
        ceiling=best,
        one=one,
        many=many,
        share_one=round(one.load.requests_per_s / best.texts_per_s, 4),
        share_many=round(many.load.requests_per_s / best.texts_per_s, 4),
    )


def _medians(rounds: Sequence[Round]) -> Medians:
    def of(value: Callable[[Round], float]) -> float:
        return round(median(value(each) for each in rounds), 4)

    def p(phase: Phase, name: str) -> float:
        return float(getattr(phase.load.latency, name, 0.0))

    return Medians(
        ceiling_texts_per_s=of(lambda each: each.ceiling.texts_per_s),
        one_per_s=of(lambda each: each.one.load.requests_per_s),
        many_per_s=of(lambda each: each.many.load.requests_per_s),
        share_one=of(lambda each: each.share_one),
        share_many=of(lambda each: each.share_many),
        one_p50_ms=of(lambda each: p(each.one, "p50_ms")),
        many_p50_ms=of(lambda each: p(each.many, "p50_ms")),
        many_p99_ms=of(lambda each: p(each.many, "p99_ms")),
        many_waste=of(lambda each: each.many.service.waste),
        many_rows_mean=of(lambda each: each.many.service.rows_mean),
    )


def _plan(plan: Plan) -> str:
    return f"(batch {plan.batch}, {plan.lanes} lanes of {plan.threads} threads)"


def _line(figures: LoadFigures) -> str:
    latency = figures.latency
    times = f"p50 {latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms" if latency else "nothing answered"
    bad = figures.wrong + figures.failed + figures.shed
    reasons = f" {figures.errors}" if bad else ""
    return f"{figures.requests_per_s:.1f} req/s, {times}, {bad} not answered right{reasons}, {figures.unsent} unsent"
