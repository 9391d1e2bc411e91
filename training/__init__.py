"""Fine-tunes encoders and exports them as bundles. Of `app` it knows `app.bundle` and nothing else."""
