"""Fine-tunes encoders and exports them as bundles. Of `app` it knows `app.bundle` and nothing else."""

import app as app  # first of all: it keeps ONNX Runtime and OpenVINO from reporting to their makers
