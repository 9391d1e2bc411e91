"""Into which shapes do batches go on a GPU?

Small batches cost what their kernel launches cost, so they replay captured graphs, each of one shape: steps of 8 to 32
tokens, then of 7 %, which keeps the tail under 4 % in the mean. Large ones are launched kernel by kernel in shapes
close to their own. Attention with packed QKV reserves scratch for B × S slots, real or not, so B × S is bounded, and
rows of like length run together where it would not be. Pure functions.

T tokens with the tail, B sequences with dummies and empty ones, S longest length.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from app.bundle.packed import PackedSpec
from app.bundle.packing import Shape, dummies

SCRATCH_BYTES = 512 * 2**20  # of attention's workspace; the arena keeps one for all layers
QKV_COPIES_BYTES = 2 * 3 * 2  # a slot holds q, k, v twice in fp16, for each of `hidden`
RUN_TOKENS = 16_384  # a bound on memory; the token budget of the cost model stays below it
GRAPH_TOKENS = 2_048  # above, kernels take longer than their launches: 0.3 ms for 64 of them, computed for 6 layers
EAGER_STEP, SMALL_EAGER_STEP, SMALL_EAGER = (
    64,
    16,
    1_024,
)  # T is a multiple of the step; of the small one up to SMALL_EAGER
SHORT_LONGEST = 128  # most texts; attention's grid has a block for each 128 tokens of S, whether they are there or not
LONGEST_STEPS = (16, 32, 64, 128, 256, 384, 512)
GROWTH = 1.07


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may hold: T, B × S, S; and up to which T graphs are captured."""

    tokens: int
    slots: int
    longest: int
    graph_tokens: int

    @property
    def sequences(self) -> int:
        """The most sequences that any shape has."""
        return self.slots // LONGEST_STEPS[0]


def limits_for(spec: PackedSpec, *, tokens: int = RUN_TOKENS, graph_tokens: int = GRAPH_TOKENS) -> Limits:
    """The limits of a model: its longest text fits, and a batch of such."""
    longest = longest_bucket(spec.max_tokens)
    slots = max(SCRATCH_BYTES // (QKV_COPIES_BYTES * spec.hidden), 8 * longest)
    return Limits(max(tokens, longest), slots, longest, graph_tokens)


def longest_bucket(longest: int) -> int:
    """S for a batch whose longest row has `longest` tokens: a step, or a multiple of 128 above them."""
    place = bisect_left(LONGEST_STEPS, longest)
    return LONGEST_STEPS[place] if place < len(LONGEST_STEPS) else _up(longest, SHORT_LONGEST)


def graph_shapes(limits: Limits) -> list[Shape]:
    """The shapes to capture: for each T one for short rows, and one for any. Largest first: memory is reserved once."""
    shapes = set()
    for tokens in _token_steps(min(limits.graph_tokens, limits.tokens)):
        for longest, mean in ((SHORT_LONGEST, 8), (limits.longest, 16)):
            longest = min(longest, limits.longest, longest_bucket(tokens))
            sequences = min(max(4, tokens // mean), limits.slots // longest)
            shapes.add(Shape(tokens, sequences, longest))
    return sorted(shapes, reverse=True)


def eager_shape(lengths: Sequence[int]) -> Shape:
    """A shape for one run without a graph, close to what the rows need."""
    longest, total = longest_bucket(max(lengths)), sum(lengths)
    tokens = _up(total, EAGER_STEP if total > SMALL_EAGER else SMALL_EAGER_STEP)
    return Shape(tokens, len(lengths) + dummies(tokens - total, longest), longest)


def split(lengths: Sequence[int], limits: Limits) -> list[list[int]]:
    """The rows of one batch as runs within the limits, each with the places of its rows; mostly it is one run.

    Longest first, so that a run's S is that of its first row and rows of like length share a run.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    runs: list[list[int]] = []
    total = rows = 0
    for place in order:
        if not runs or total + lengths[place] > limits.tokens or len(runs[-1]) >= rows:
            longest = longest_bucket(lengths[place])
            rows = limits.slots // longest - dummies(EAGER_STEP - 1, longest)  # the tail's dummies are sequences, too
            total = 0
            runs.append([])
        runs[-1].append(place)
        total += lengths[place]
    return runs


class GraphIndex:
    """Captured shapes with their graph ids; finds the smallest that holds a batch."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = sorted((shape.tokens, shape.longest, shape, id) for id, shape in enumerate(shapes))

    def find(self, tokens: int, rows: int, longest: int) -> tuple[Shape, int] | None:
        """The shape and its id; None where no captured one fits."""
        for place in range(bisect_left(self._shapes, (tokens,)), len(self._shapes)):
            _, _, shape, id = self._shapes[place]
            if shape.holds(tokens, rows, longest):
                return shape, id
        return None


def _token_steps(most: int) -> list[int]:
    steps = [*range(8, 65, 8), *range(80, 129, 16), *range(160, 257, 32)]
    while steps[-1] < most:
        steps.append(_up(int(steps[-1] * GROWTH), 8))
    return [step for step in steps if step <= most]


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
