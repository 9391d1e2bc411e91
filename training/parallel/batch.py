"""How does a batch become one step of several processes?

B rows of a rank, N of all, X any further dimensions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from training.parallel.group import GROUP, from_each, together


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank has of a batch.

    `rows` are its own, `everyone` those that its loss compares; what it gives counts `weight` times, and the weights of
    all ranks are 1 together.
    """

    rows: Sequence[int]
    everyone: Sequence[int]
    weight: float


@dataclass(slots=True)
class _Current:
    """The step that is under way; None between steps, and where each rank works on the whole batch."""

    share: Share | None = None


_current = _Current()


@contextmanager
def sharing(rows: Sequence[int]) -> Iterator[Share]:
    """While this lasts, this rank works on its share of the batch `rows`: as many as the others, or one more. Where
    there are fewer rows than ranks, each takes them all and counts a part.
    """
    world, rank = GROUP.world, GROUP.rank
    if len(rows) < world:
        share = Share(rows, rows, 1 / world)
    else:
        own = rows[len(rows) * rank // world : len(rows) * (rank + 1) // world]
        share = Share(own, rows, len(own) / len(rows))
    _current.share = share if world > 1 and len(rows) >= world else None
    try:
        yield share
    finally:
        _current.share = None


def everyone(indices: Sequence[int]) -> Sequence[int]:
    """The rows that stand behind `gathered` vectors of the rows `indices`, in their order."""
    return indices if _current.share is None else _current.share.everyone


def gathered(own_BX: torch.Tensor) -> torch.Tensor:
    """`own_BX` of all ranks, [N, …], in the order of the batch.

    Each rank computes the whole loss from it and goes back through its own rows only, so that the sum over the ranks is
    the whole gradient. A step counts a rank's loss `weight` times; here it is the whole batch's, hence the division.
    """
    share = _current.share
    if share is None:
        return own_BX
    counts = from_each(len(own_BX))
    if not any(counts):
        return own_BX
    padded = own_BX.new_zeros((max(counts), *own_BX.shape[1:]))
    padded[: len(own_BX)] = own_BX.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    with together():
        dist.all_gather(parts, padded)
    parts = [part[:count] for part, count in zip(parts, counts, strict=True)]
    parts[GROUP.rank] = own_BX
    if own_BX.requires_grad:
        parts[GROUP.rank] = own_BX.view_as(own_BX)
        parts[GROUP.rank].register_hook(lambda gradient: gradient / share.weight)  # type: ignore[no-untyped-call]
    return torch.cat(parts)


def sum_gradients(parameters: Sequence[torch.Tensor]) -> None:
    """The gradient of each of `parameters` becomes its sum over all ranks, in one message."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if GROUP.world == 1 or not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    with together():
        dist.all_reduce(flat)
    for gradient, part in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def total(value: float) -> float:
    """The sum of `value` over all ranks; not finite where one of them is not."""
    if GROUP.world == 1:
        return value
    sum_1 = torch.tensor([value], dtype=torch.float64)
    with together():
        dist.all_reduce(sum_1, group=GROUP.waiting)
    return sum_1.item()
