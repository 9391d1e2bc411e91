"""What can a GPU do with packed graphs? One experiment after the other, a result file each.

They answer what cannot be known without a device: which kernel attention runs in, whether graphs can be captured, which
layout is faster where, how much of the device is used, and how that compares with padded batches and with
sentence-transformers. Requests through HTTP are measured by `python -m benchmarks`, with ENCODERY_DEVICE=cuda.
"""
