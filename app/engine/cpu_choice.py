"""Which of the plans that a bundle allows serves it on this CPU?

Each is opened, replays the golden inputs and is timed; the fastest that agrees serves, and a less exact one only if it
is worth it. One that is refused or slower is named with its reason and its figures. A lone request gets all cores where
that is faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.batching.cost import Sample, fit
from app.bundle.errors import BundleError
from app.engine.agree import Exam
from app.engine.cpu_plans import Plan
from app.engine.measure import (
    SHAPES,
    TURNS,
    is_wide_faster,
    mean_ms,
    milliseconds,
    texts_per_s,
    time_shapes,
    warm,
)
from app.types import Clock, Cost, PlanFigures, PlanStatus, Runner

OF_THE_PLAN = frozenset({"B06-graph", "B10-golden"})  # the runtime's verdicts; other rules are broken by the bundle
WORTH = 1.1  # how much faster a less exact plan must be; less than that is noise, and no reason to round


@dataclass(frozen=True, slots=True)
class Chosen:
    """The plan that serves: its runners (the same one, if all cores are no faster), its price, and why it."""

    plan: Plan
    lane: Runner
    wide: Runner
    cost: Cost
    status: PlanStatus


@dataclass(frozen=True, slots=True)
class Timed:
    """A plan that agreed, open, and what its runs took."""

    plan: Plan
    lane: Runner
    samples: Sequence[Sample]

    def speed(self, other: "Timed") -> float:
        """How many times as fast as `other` this is."""
        return mean_ms(other.samples) / mean_ms(self.samples)


class Choosing:
    """One choice under way.

    Args:
        exam: the golden rows, which are also the real tokens that are timed.
        lanes: runs side by side; as many threads as a lone run may have.
        clock: seconds that a run costs; see measure.py.
    """

    def __init__(self, exam: Exam, *, lanes: int, clock: Clock) -> None:
        self._exam, self._lanes, self._clock = exam, lanes, clock
        self._pool = exam.pool
        self._max_tokens = exam.manifest.max_tokens

    def choose(self, plans: Sequence[Plan], *, why: str = "") -> Chosen:
        """The fastest of `plans`, from the most exact to the least. `why`: the reason, if it is not the speed.

        Raises:
            BundleError: the first plan is refused, which is the reference or the one that was pinned; or the bundle is
            not what its manifest says. DeviceError: the first plan would not run where it was told to.
        """
        best = reference = self._timed(plans[0])
        figures = [self._figures(reference, "")]
        for plan in plans[1:]:
            tried = self._tried(plan)
            if isinstance(tried, PlanFigures):
                figures.append(tried)
                continue
            verdict = ""
            if tried.speed(best) >= WORTH:
                best = tried
            else:
                verdict = f"{tried.speed(best):.2f} times as fast as {best.plan.name}, which is more exact"
            figures.append(self._figures(tried, verdict))
        reason = why or _reason(best, reference, figures)
        return self._finished(best, reason, [_judged(figure, best.plan.name, reason) for figure in figures])

    def reopen(self, plan: Plan, cost: Cost, status: PlanStatus, *, is_wide: bool) -> Chosen:
        """What an earlier choice found, open again: golden inputs are replayed, nothing is timed.

        Raises:
            BundleError, DeviceError: it does not agree any more, or is not here any more.
        """
        lane = self._agreed(plan)
        wide = self._wide(plan) if is_wide else lane
        self._warm(plan, lane, wide)
        return Chosen(plan, lane, wide, cost, status)

    def _tried(self, plan: Plan) -> Timed | PlanFigures:
        if plan.missing is not None:
            return PlanFigures(plan.name, f"not here: {plan.missing}")
        try:
            return self._timed(plan)
        except BundleError as error:
            if error.rule not in OF_THE_PLAN:
                raise
            return PlanFigures(plan.name, f"refused: {error}")

    def _timed(self, plan: Plan) -> Timed:
        lane = self._agreed(plan)
        (samples,) = time_shapes(
            [lane], SHAPES, self._pool, max_tokens=self._max_tokens, turns=TURNS, clock=self._clock
        )
        return Timed(plan, lane, samples)

    def _agreed(self, plan: Plan) -> Runner:
        lane = plan.lane(self._lanes)
        self._exam.check(lane, plan.precision, plan.path)
        return lane

    def _wide(self, plan: Plan) -> Runner:
        wide = plan.wide(self._lanes)
        self._exam.check(wide, plan.precision, plan.path)
        return wide

    def _finished(self, best: Timed, reason: str, figures: Sequence[PlanFigures]) -> Chosen:
        lane = wide = best.lane
        if self._lanes > 1:
            wide = self._wide(best.plan)
            if not is_wide_faster(lane, wide, self._pool, self._max_tokens):
                wide = lane
        self._warm(best.plan, lane, wide)
        status = PlanStatus(best.plan.name, reason, figures)
        return Chosen(best.plan, lane, wide, self._cost(best), status)

    def _warm(self, plan: Plan, lane: Runner, wide: Runner) -> None:
        if plan.pad_to > 1:  # a runtime to which every new shape is dear
            warm(lane, self._pool, self._max_tokens, lanes=self._lanes)
            if wide is not lane:
                warm(wide, self._pool, self._max_tokens, lanes=1)

    def _cost(self, timed: Timed) -> Cost:
        return fit(timed.samples, lanes=self._lanes, pad_to=timed.plan.pad_to)

    def _figures(self, timed: Timed, verdict: str) -> PlanFigures:
        speed = texts_per_s(self._cost(timed), self._max_tokens)
        return PlanFigures(timed.plan.name, verdict, speed, milliseconds(timed.samples))


def _reason(best: Timed, reference: Timed, figures: Sequence[PlanFigures]) -> str:
    timed = [figure.name for figure in figures if figure.ms]
    if len(timed) == 1:
        return "the only plan that can be had here"
    if best is reference:
        return f"no other plan is {WORTH} times as fast"
    return f"the fastest that agrees, {best.speed(reference):.2f} times as fast as {reference.plan.name}"


def _judged(figure: PlanFigures, chosen: str, reason: str) -> PlanFigures:
    if figure.name == chosen:
        return replace(figure, verdict=f"serves: {reason}")
    return replace(figure, verdict=figure.verdict or f"slower than {chosen}")
