"""How fast is the service, as a share of what the machine can do, and what keeps it from answering?

`python -m benchmarks` is the command line; docs/benchmarks.md says what is measured and how. Everything stays on this
machine: 127.0.0.1 and no other host.
"""
