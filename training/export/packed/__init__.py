"""Packed graphs for CUDA. Weights, graph and reference need no torch: a machine with a GPU may have none."""
