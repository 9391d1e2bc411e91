"""Which rate does a step use?

A pure function of the step, so there is no scheduler whose state could be lost. Every schedule climbs linearly over the
warm-up, reaches its peak right after it, and is over 0 at every step.
"""

import math

from training.recipe.settings import Schedule

DECAY_SHARE = 0.2  # of all steps, and the form 1 - sqrt: the best of arXiv:2405.18392 section 4


def lr_factor(step: int, *, steps: int, warmup_share: float, schedule: Schedule = "linear") -> float:
    """The share of the peak rate that step `step` of `steps` uses (counted from 0), in (0, 1].

    Args:
        schedule: what follows the warm-up: `linear` falls to the end; `cosine` does so along half a wave
            (arXiv:1608.03983); `constant` stays; `wsd` (warm-up, stable, decay, arXiv:2404.06395) stays and falls over
            the last fifth.
    """
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    match schedule:
        case "linear":
            return (steps - step) / max(1, steps - warmup)
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "constant":
            return 1.0
        case "wsd":
            decay = min(round(steps * DECAY_SHARE), steps - warmup)
            return 1.0 if step < steps - decay else 1 - math.sqrt((step - (steps - decay)) / decay)
