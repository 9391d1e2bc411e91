"""How do several processes train one model?

`torchrun` starts them, one a device; each holds the whole model and takes its share of every batch. Before the
optimiser moves, the gradients are summed over all of them in one all-reduce, each rank's loss weighted by its share of
the rows: so a step is that of one process with the same batch, an uneven last one included. (DistributedDataParallel
takes the mean of the ranks' means, which is another thing then; and it wants to be told of every backward.) A loss that
compares rows with each other takes `gathered` vectors of all ranks.

The first rank alone judges, writes and speaks. Whatever decides how a run goes on – a
signal, a loss, the dev metric – is agreed on, so that all ranks do the same step or none. With one process all of this
does nothing.
"""

from training.parallel.agreed import AgreedStop, rng_states, set_rng_states
from training.parallel.batch import everyone, gathered, sharing, sum_gradients, total
from training.parallel.group import (
    by_first,
    check_same,
    first_before_others,
    first_goes_on,
    is_first,
    joined,
    may_say,
    rank_seed,
)

__all__ = [
    "AgreedStop",
    "by_first",
    "check_same",
    "everyone",
    "first_before_others",
    "first_goes_on",
    "gathered",
    "is_first",
    "joined",
    "may_say",
    "rank_seed",
    "rng_states",
    "set_rng_states",
    "sharing",
    "sum_gradients",
    "total",
]
