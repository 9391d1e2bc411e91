"""Which processes train together, and which of them is this one?

The first rank does alone what must be done once, and gives the others its result.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from training.errors import TrainingError

STEP_TIMEOUT = timedelta(minutes=10)  # a rank that is silent for so long within a step hangs
WAIT_TIMEOUT = timedelta(hours=24)  # while the first rank judges, exports and writes
SAID_TIMEOUT = timedelta(seconds=3)
SEED_STRIDE = 1_000_003  # between the seeds of ranks, so that the next seed is not the next rank's
SAID = "encodery/said"
LOST = "another process of this run has ended or does not answer"
Result = TypeVar("Result")


class LostRankError(TrainingError):
    """Another process of the run has ended or does not answer. Its own message, if it had one, says why."""


class HelpedError(Exception):
    """What is left to do is the first rank's: this one ends well."""


@dataclass(slots=True)
class Group:
    """All processes of the run, as this one sees them."""

    rank: int = 0
    world: int = 1
    waiting: Any = None  # the group for what may take long, always on the CPU
    store: Any = None


GROUP = Group()


@contextmanager
def joined() -> Iterator[None]:
    """While this lasts, this process is one of those that torchrun started; all leave together.

    Raises:
        TrainingError: there are more processes than GPUs. LostRankError: another one did not come, or ended early.
    """
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if gpus and local >= gpus:
        raise TrainingError(
            f"process {local + 1} of this machine has no GPU: there are {gpus}; start as many processes "
            "(--nproc-per-node), or set CUDA_VISIBLE_DEVICES= to train on the CPU"
        )
    if gpus:
        torch.cuda.set_device(local)
    with together():
        store, GROUP.rank, GROUP.world = next(iter(rendezvous("env://")))
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        dist.init_process_group(backend, store=store, rank=GROUP.rank, world_size=GROUP.world, timeout=STEP_TIMEOUT)
        GROUP.store = store
        GROUP.waiting = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)
    with suppress(HelpedError):
        yield
    barrier()
    dist.destroy_process_group()  # after an error the end of the process is quicker: the others see its sockets close


def is_first() -> bool:
    """Whether this rank judges, writes and speaks."""
    return GROUP.rank == 0


def rank_seed(seed: int) -> int:
    """The seed of this rank's dropout; that of the first rank, and of a run in one process, is `seed`."""
    return seed + SEED_STRIDE * GROUP.rank


def may_say(message: str) -> bool:
    """Whether it is this rank that tells what it ended with: the first, and any that ended in another way."""
    if GROUP.store is None:
        return True
    if is_first():
        GROUP.store.set(SAID, message)
        return True
    if message.startswith(LOST):
        return False
    try:
        GROUP.store.wait([SAID], SAID_TIMEOUT)
        return cast(bytes, GROUP.store.get(SAID)).decode() != message
    except RuntimeError:  # the first rank says nothing, or the store is gone with it
        return True


def first_goes_on() -> None:
    """Raises: HelpedError: on all ranks but the first."""
    if not is_first():
        raise HelpedError


def by_first(work: Callable[[], Result]) -> Result:
    """What `work` gives on the first rank, on all of them; the others wait."""
    if GROUP.world == 1:
        return work()
    box = [work() if is_first() else None]
    with together():
        dist.broadcast_object_list(box, src=0, group=GROUP.waiting)
    return cast(Result, box[0])


def first_before_others(work: Callable[[], Result]) -> Result:
    """What `work` gives on this rank. The first has done it before the others begin."""
    if is_first():
        result = work()
    barrier()
    if not is_first():
        result = work()
    barrier()
    return result


def check_same(prints: Mapping[str, str]) -> None:
    """All ranks are about to do the same.

    Raises:
        TrainingError: a rank has read something else.
    """
    for rank, others in enumerate(from_each(dict(prints))):
        for name in sorted({*prints, *others}):
            if others.get(name) != prints.get(name):
                raise TrainingError(
                    f"rank {rank} and rank {GROUP.rank} differ in {name}: {others.get(name)}, {prints.get(name)}; "
                    "all processes of a run need the same recipe, data and encoder"
                )


def from_each(value: Result) -> list[Result]:
    """`value` of each rank, on all of them."""
    if GROUP.world == 1:
        return [value]
    values: list[Any] = [None] * GROUP.world
    with together():
        dist.all_gather_object(values, value, group=GROUP.waiting)
    return values


def barrier() -> None:
    """All ranks are here."""
    if GROUP.world > 1:
        with together():
            dist.barrier(GROUP.waiting)


@contextmanager
def together() -> Iterator[None]:
    """What is done here needs all ranks."""
    try:
        yield
    except RuntimeError as error:  # gloo and nccl have no class for it
        raise LostRankError(
            f"{LOST}; what it said itself is the reason. {str(error).strip().splitlines()[0]}"
        ) from error
