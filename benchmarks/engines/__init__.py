"""Engines with a planted price or a planted fault, under the real supervisor, front ends and wire.

`python -m benchmarks.engines NAME` serves as `python -m app serve` does, but for what runs a batch: `fixed` (a run
takes a set time and no CPU), `leaky` (keeps a little of every row), `swapped` (now and then gives callers each other's
rows). They take the place of a bundle's runners and of nothing else: bundles are loaded and proven as ever.
"""
