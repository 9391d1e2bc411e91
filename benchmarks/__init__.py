"""How fast is the service, as a share of what the machine can do?

`python -m benchmarks single-text`, `python -m benchmarks start` and `python -m benchmarks docs` (which writes the
figures of `results/*.json` into docs/benchmarks.md). Everything stays on this machine: 127.0.0.1 and no other host.
"""
