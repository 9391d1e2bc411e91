"""A recipe: one TOML file that says what a run is."""

from training.recipe.file import load_recipe, load_sweep
from training.recipe.run import Recipe

__all__ = ["Recipe", "load_recipe", "load_sweep"]
