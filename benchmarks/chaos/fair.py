"""Does one greedy client make a polite one wait?

The polite client asks at a tenth of what the service can do, on a Poisson schedule and from an address of its own:
alone, beside a greedy client with 8 requests open, and beside one with 1,000, three rounds. Alone, it finds an engine
that has nothing else to do; 8 are as few as keep every lane at work, so that the step from alone to 8 is the price of a
busy engine – the batch that runs has to end first – and the step from 8 to 1,000 is the price of the queue. In all
loads the polite client asks different texts of the same lengths, in a round at the same times.
Control: 1,000 again, but from the polite client's address; the wait behind them must be seen.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

from benchmarks.chaos.common import Options, Pool, opened, pool_of, serving
from benchmarks.generator import Job, Running, run
from benchmarks.machine import origin
from benchmarks.phases import Say, line
from benchmarks.schema import Beside, Control, Fair, FairRound
from benchmarks.server import Service
from benchmarks.texts import Counted, draw

GREEDY, POLITE = "127.0.0.1", "127.0.0.2"
FEW, MANY = 8, 1000  # requests that the greedy client keeps open
GREEDY_TEXTS = 4 * MANY  # over and over: a text comes again long after it was answered
POLITE_SHARE = 0.1
ROUNDS = 3
PEAK_S = 4.0
LEAD_S = 3.0  # the greedy client begins so long before: by then all its connections are open and have asked
# A thousand requests wait 2 to 5 s on two cores. At the default limit some would be refused, and the queue be shorter.
LIMIT = "ENCODERY_ADMISSION__MAX_WAIT_MS"
LIMIT_MS = 60_000.0
RATIO_MAX = 2.0


@dataclass(frozen=True, slots=True)
class House:
    """A service, how much the polite client asks of it, and what the greedy one asks."""

    service: Service
    peak_per_s: float
    seconds: float  # of a load of the polite client
    greedy: Pool

    @property
    def rate_per_s(self) -> float:
        """Of the polite client."""
        return POLITE_SHARE * self.peak_per_s

    @property
    def requests(self) -> int:
        """Of a load of the polite client."""
        return max(1, int(self.rate_per_s * self.seconds))

    def polite_job(self, polite: Pool, seed: int) -> Job:
        """All texts of the pool, when the schedule of this seed says."""
        return polite.open(self.service, self.rate_per_s, self.seconds, source=POLITE, seed=seed)

    def greedy_job(self, clients: int, source: str) -> Job:
        """More requests than can be answered until it is told to stop."""
        requests = clients + int(2 * self.peak_per_s * (2 * LEAD_S + self.seconds))
        limit_s = 2 * LEAD_S + self.seconds + 60
        return self.greedy.job(self.service, requests, mode="closed", clients=clients, source=source, limit_s=limit_s)


def measure(options: Options, seconds: float, command: Sequence[str], say: Say, *, rounds: int = ROUNDS) -> Fair:
    """Rounds of polite loads of so many seconds each, and the control.

    Raises:
        BundleError, DeviceError, ServiceError, LoadError, ValueError: with the reason.
    """
    model, ceiling = opened(options)
    max_tokens, loads = model.manifest.max_tokens, 3 * rounds + 1
    with ExitStack() as stack:
        greedy = stack.enter_context(pool_of(model, ceiling, draw(ceiling.tokens, max_tokens, GREEDY_TEXTS)))
        service = stack.enter_context(serving(options, {LIMIT: f"{LIMIT_MS:.0f}"}))
        house = House(service, greedy.peak(service, min(PEAK_S, seconds)), seconds, greedy)
        others = draw(ceiling.tokens, max_tokens, GREEDY_TEXTS + loads * house.requests)[GREEDY_TEXTS:]
        polite = [stack.enter_context(pool_of(model, ceiling, hand)) for hand in dealt(others, loads)]
        found = [_round(house, polite[3 * number : 3 * number + 3], number, say) for number in range(rounds)]
        shared = _beside(house, house.polite_job(polite[-1], 0), MANY, POLITE)
        say(f"both at one address: {line(shared.polite)}")
    result = Fair(
        origin=origin(command),
        control=_control(shared, found[0]),
        model=options.model,
        peak_per_s=house.peak_per_s,
        rate_per_s=round(house.rate_per_s, 2),
        limit_ms=LIMIT_MS,
        rounds=found,
        shared=shared,
    )
    say(f"p99 beside {MANY}: {result.over_idle:.2f} times that alone, {result.over_busy:.2f} times that beside {FEW}")
    say(f"control: {result.control.found}; {'caught' if result.control.caught else 'MISSED'}")
    return result


def dealt(texts: Sequence[Counted], hands: int) -> list[list[Counted]]:
    """So many lists of different texts, of which the i-th ones are of like length: asked in turn, they are equal work.

    The p99 of a few hundred requests is the time of the few longest texts: lists drawn at random would differ by them.
    """
    by_length = sorted(texts, key=lambda text: text.tokens)
    count = len(texts) // hands
    order = Random(1).sample(range(count), count)
    return [[by_length[place * hands + hand] for place in order] for hand in range(hands)]


def _round(house: House, polite: Sequence[Pool], number: int, say: Say) -> FairRound:
    loads = []
    for pool, clients in zip(polite, (0, FEW, MANY), strict=True):
        loads.append(_beside(house, house.polite_job(pool, number), clients, GREEDY))
        say(f"round {number + 1}, {clients} open beside it: {line(loads[-1].polite)}")
    alone, few, many = loads
    return FairRound(alone=alone, few=few, many=many)


def _beside(house: House, job: Job, clients: int, source: str) -> Beside:
    """The polite load of `job`, and beside it a greedy client at the address `source` that keeps `clients` open."""
    if not clients:
        return Beside(greedy_open=0, polite=run(job), greedy=None)
    running = Running(house.greedy_job(clients, source))
    try:
        time.sleep(LEAD_S)
        polite = run(job)
        running.stop()
        return Beside(greedy_open=clients, polite=polite, greedy=running.result())
    except BaseException:
        running.kill()
        raise


def _control(shared: Beside, beside: FairRound) -> Control:
    """Judged against the round of the same schedule."""
    ratio = shared.p99_ms / beside.alone.p99_ms
    return Control(
        planted="both clients at one address",
        found=f"p99 is {ratio:.0f} times that alone",
        caught=ratio > RATIO_MAX,
    )
