"""How do weights move, for how long, where, and into which files?"""

from typing import Literal

from pydantic import Field

from training.recipe.table import Table

Schedule = Literal["linear", "cosine", "constant", "wsd"]


class OptimTable(Table):
    """How weights move. The rate climbs over `warmup_share` of all steps, then goes as `schedule` says."""

    name: Literal["adamw", "sgd", "adafactor", "lion", "muon"] = "adamw"  # muon: the encoder's matrices, adamw the rest
    schedule: Schedule = "linear"
    lr: float = Field(default=1e-4, gt=0)
    head_lr_scale: float = Field(default=20.0, gt=0)  # a fresh head learns faster than a pretrained encoder
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    clip_norm: float = Field(default=1.0, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)  # each layer learns this much as fast as the one above it
    ema: float | None = Field(default=None, gt=0, lt=1)  # keep the moving average of the weights, such as 0.999


class BudgetTable(Table):
    """How long a run may go on, and which epoch's weights are kept."""

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=32, ge=1)  # rows of one step of the optimiser
    accumulate: int = Field(default=1, ge=1)  # take each batch in so many parts: less memory, the same result
    choose: Literal["best", "last"] = "best"  # best: by the dev metric; last: needs no dev rows
    patience: int | None = Field(default=None, ge=1)  # stop after this many epochs without a better dev metric
    checkpoint_steps: int = Field(default=200, ge=1)


class ExportTable(Table):
    """Which files the bundle has beside the fp32 graph; each only if it passes its gate."""

    int8: bool = True  # an OpenVINO pair for CPUs: two to three times the speed
    packed: bool = True  # a half-precision graph without padding for CUDA


class HardwareTable(Table):
    """Where a run computes, and in which numbers. Bundles are float32 graphs whatever is said here."""

    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: CUDA where there is a GPU
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the encoder's way forward and back; weights are float32
    compile: bool = False  # torch.compile the encoder: minutes at the start, faster steps after
