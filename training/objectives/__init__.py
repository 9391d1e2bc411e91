"""What training teaches: one objective a task."""

from training.objectives.base import Objective
from training.objectives.make import make_batches, make_objective

__all__ = ["Objective", "make_batches", "make_objective"]
