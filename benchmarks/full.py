"""How do length, texts a request and format change what the service reaches?

Every cell is a closed loop that keeps about 64 texts in the house, beside the ceiling for texts of that length. Formats
that the service does not offer are left out by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.encoding.tokenizer import SPECIAL_TOKENS
from app.engine.cpu_plans import Setting
from benchmarks.ceiling import FINALISTS, Ceiling, open_plan
from benchmarks.corpus import corpus
from benchmarks.generator import LoadError
from benchmarks.judge import Format
from benchmarks.machine import origin
from benchmarks.models import alone
from benchmarks.phases import Say, Target, line, scratch
from benchmarks.schema import CeilingFigures, Cell, Full
from benchmarks.server import pinned, running
from benchmarks.texts import SEED, Counted

TOKENS = (8, 16, 32, 64, 128, 250)
TEXTS = (1, 8, 32)
FORMATS: tuple[Format, ...] = ("json", "base64", "bytes")
TOLERANCE = 0.1  # of the length asked for
IN_HOUSE = 64  # texts
WARM_TEXTS, SWEEP_TEXTS = 64, 128
DRAWN = 60_000
SAMPLE_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Options:
    """What one run is asked for."""

    models_dir: Path
    model: str
    plan: Setting
    seconds: float  # of a cell, about
    tokens: Sequence[int]
    texts: Sequence[int]


def measure(options: Options, command: Sequence[str], say: Say) -> Full:
    """Every cell.

    Raises:
        BundleError, DeviceError, ServiceError, ValueError: with the reason.
    """
    opened = open_plan(options.models_dir, options.model, options.plan)
    ceiling = Ceiling(opened)
    drawn = corpus(DRAWN, SEED)
    cells: list[Cell] = []
    limit = opened.manifest.max_tokens
    models = alone(options.models_dir, options.model)
    with scratch() as folder, running(models, pinned(options.plan)) as service:
        target = Target(service, options.model, opened.head.dimensions, ceiling, folder)
        left_out = _not_offered(target, of_length(ceiling, drawn, options.tokens[0], limit)[:WARM_TEXTS])
        for reason in left_out.values():
            say(f"left out: {reason}")
        for tokens in options.tokens:
            texts = of_length(ceiling, drawn, tokens, limit)
            best = _ceiling(ceiling, texts, options.seconds)
            say(f"{tokens} tokens: ceiling {best.texts_per_s:.0f} texts/s at batch {best.plan.batch}")
            for count in options.texts:
                chosen = texts[: max(2 * count, int(options.seconds * best.texts_per_s))]
                for form in (form for form in FORMATS if form not in left_out):
                    cell = _cell(target, chosen, tokens, count, form, best)
                    share = cell.load.texts_per_s / best.texts_per_s
                    say(f"  {count} texts a request, {form}: {line(cell.load)}; {share:.2f} of the ceiling")
                    cells.append(cell)
        plan_name = service.plan(options.model)
    return Full(
        plan=options.plan,
        plan_name=plan_name,
        origin=origin(command),
        model=options.model,
        cells=cells,
        left_out=list(left_out.values()),
    )


def _not_offered(target: Target, texts: Sequence[Counted]) -> dict[Format, str]:
    """The formats in which no request is answered right, with the reason."""
    reasons: dict[Format, str] = {}
    for form in FORMATS:
        try:
            target.asking(form).closed(texts, 8)
        except LoadError as error:
            reasons[form] = f"{form}: {error}"
    return reasons


def of_length(ceiling: Ceiling, drawn: Sequence[str], tokens: int, max_tokens: int) -> list[Counted]:
    """Different texts of `tokens` tokens, give or take `TOLERANCE`, taken whole by the model: prose cut after some
    number of words.

    Raises:
        ValueError: the model takes no text of that length.
    """
    least = int(tokens * (1 - TOLERANCE))
    most = min(int(tokens * (1 + TOLERANCE)), max_tokens - 1)  # counted at the limit, some were cut
    words = [word for text in drawn for word in text.split()]
    tokens_a_word = sum(ceiling.tokens(words[:SAMPLE_WORDS])) / SAMPLE_WORDS - SPECIAL_TOKENS
    size = max(1, int((tokens - SPECIAL_TOKENS) / tokens_a_word))  # words
    pieces = [" ".join(words[start : start + size]) for start in range(0, len(words) - size, size)]
    unique = list(dict.fromkeys(pieces))[: 12 * 4096]
    counted = zip(unique, ceiling.tokens(unique), strict=True)
    fitting = [Counted(text, count) for text, count in counted if least <= count <= most]
    if not fitting:
        raise ValueError(f"no text has {tokens} tokens; the model may take fewer")
    return fitting


def _ceiling(ceiling: Ceiling, texts: Sequence[Counted], seconds: float) -> CeilingFigures:
    plain = [text.text for text in texts]
    sweep = ceiling.sweep(plain[:SWEEP_TEXTS])
    chosen = plain[: max(SWEEP_TEXTS, int(seconds * sweep[0].texts_per_s))]
    return ceiling.best(chosen, [each.plan for each in sweep[:FINALISTS]])


def _cell(
    target: Target, texts: Sequence[Counted], tokens: int, count: int, form: Format, ceiling: CeilingFigures
) -> Cell:
    clients = max(2, IN_HOUSE // count)
    load, service = target.asking(form, count).closed(texts, clients)
    return Cell(tokens=tokens, texts_a_request=count, format=form, ceiling=ceiling, load=load, service=service)
