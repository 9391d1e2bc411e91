"""How do results get into docs/benchmarks.md? `python -m benchmarks docs`; a test compares the two."""
