"""Reports are readable pictures and plain JSON, the same bytes for the same figures."""

import json
import struct

import numpy as np
import pytest

from training.metrics import Bin
from training.report import (
    DPI,
    INCHES_PER_LABEL,
    LEAST_INCHES,
    confusion_png,
    curves_png,
    metrics_file,
    reliability_png,
)

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    assert png.startswith(PNG_MAGIC)
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize("count", [1, 2, 77])
def test_a_confusion_matrix_has_room_for_each_label(count: int) -> None:
    matrix_CC = np.diag(np.full(count, 9))

    png = confusion_png(matrix_CC, [f"label_{number}" for number in range(count)])

    assert min(size(png)) >= max(LEAST_INCHES, INCHES_PER_LABEL * count) * DPI
    assert png == confusion_png(matrix_CC, [f"label_{number}" for number in range(count)])


def test_a_reliability_diagram_takes_empty_bins() -> None:
    bins = [Bin(0, 0, 0)] * 14 + [Bin(5, 0.97, 0.8)]

    png = reliability_png(bins, bins, 1.7)

    assert size(png)[0] > size(png)[1]


def test_figures_survive_json() -> None:
    metrics = {"accuracy": 0.5, "per_class": {"naïve": {"f1": 1 / 3}}}

    assert json.loads(metrics_file(metrics)) == metrics
    assert "naïve" in metrics_file(metrics).decode()


@pytest.mark.parametrize("count", [1, 3, 40])
def test_curves_take_any_number_of_epochs_with_and_without_a_dev_loss(count: int) -> None:
    epochs = [{"epoch": n, "train_loss": 1 / n, "dev_loss": 1.1 / n, "mrr": 0.5} for n in range(1, count + 1)]
    without = [{key: value for key, value in epoch.items() if key != "dev_loss"} for epoch in epochs]

    png = curves_png(epochs, "mrr", 1)

    assert size(png)[0] > size(png)[1]
    assert png == curves_png(epochs, "mrr", 1)
    assert png != curves_png(without, "mrr", 1)
