"""What training teaches: one objective a task."""

from training.objectives.base import Objective
from training.objectives.make import make_objective

__all__ = ["Objective", "make_objective"]
