"""What of each process decides how all of them go on?"""

import signal
from typing import cast

import torch
import torch.distributed as dist

from app.bundle.manifest import Json
from training.parallel.group import GROUP, from_each, is_first, together
from training.rng import rng_state, set_rng_state
from training.signals import Stop


class AgreedStop(Stop):
    """A signal to any rank is one to all, at the same point of the loop."""

    def came(self) -> bool:
        """Whether there was one; every rank asks at the same points."""
        if GROUP.world == 1:
            return super().came()
        number_1 = torch.tensor([self.signal or 0])
        with together():
            dist.all_reduce(number_1, dist.ReduceOp.MAX, group=GROUP.waiting)
        if number := int(number_1.item()):  # not what stands in `signal` now: that may have come since
            self.signal = signal.Signals(number)
        return number > 0


def rng_states() -> Json:
    """Where the generators of all ranks stand: the first one's, and `others` in their order."""
    first, *others = from_each(rng_state())
    return {**first, "others": others} if others else first


def set_rng_states(state: Json) -> None:
    """Put this rank's generators back. One that was not there then keeps those of its seed."""
    others = cast(list[Json], state.get("others", []))
    if is_first():
        set_rng_state(state)
    elif GROUP.rank <= len(others):
        set_rng_state(others[GROUP.rank - 1])
