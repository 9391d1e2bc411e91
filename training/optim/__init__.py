"""How do gradients move weights?

`make_stepper` gives a recipe's optimiser, `lr_factor` the rate of a step, `Average` the weights averaged over steps.
"""

from training.optim.average import Average
from training.optim.schedules import lr_factor
from training.optim.stepper import Stepper, make_stepper

__all__ = ["Average", "Stepper", "lr_factor", "make_stepper"]
