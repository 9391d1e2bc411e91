"""What does a person see of a trained classifier?

Figures as JSON, a confusion matrix and a reliability diagram as PNG, each as the bytes of a file of the bundle's
report. The same figures give the same bytes. C labels.
"""

import io
import json
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.metrics import Bin, expected_calibration_error

METRICS_FILE = "report/metrics.json"
CONFUSION_FILE = "report/confusion.png"
RELIABILITY_FILE = "report/reliability.png"
VALUES_FILE = "report/values.png"
CURVES_FILE = "report/curves.png"
DPI = 110
LEAST_INCHES = 3.0
INCHES_PER_LABEL = 0.2  # a label of 7 points and its row stay readable at any number of labels


def metrics_file(metrics: Mapping[str, object]) -> bytes:
    """The figures as JSON, readable and with a stable order."""
    return json.dumps(metrics, indent=2, ensure_ascii=False).encode() + b"\n"


def confusion_png(matrix_CC: NDArray[np.int64], labels: Sequence[str]) -> bytes:
    """Rows are right labels, columns predicted ones; the colour is the share of the row, the number its count."""
    count = len(labels)
    side = max(LEAST_INCHES, INCHES_PER_LABEL * count)
    figure = Figure(figsize=(side, side), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))  # the grid alone has this size; names and bar grow the picture outwards
    shares_CC = matrix_CC / np.maximum(matrix_CC.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares_CC, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix_CC > 0):
        colour = "white" if shares_CC[row, column] > 0.5 else "black"
        axes.text(column, row, str(matrix_CC[row, column]), ha="center", va="center", fontsize=6, color=colour)
    axes.set_xticks(range(count), list(labels), rotation=90, fontsize=7)
    axes.set_yticks(range(count), list(labels), fontsize=7)
    axes.set_xlabel("predicted")
    axes.set_ylabel("right")
    axes.set_title(f"Confusion on test, {matrix_CC.sum():,} rows")
    axes.grid(color="#e6e6e6", linewidth=0.4)  # leads the eye from a number to its two names
    axes.set_axisbelow(False)
    figure.colorbar(image, cax=figure.add_axes((1.02, 0.25, 0.02, 0.5)), label="share of the row")
    return _png(figure)


def reliability_png(before: Sequence[Bin], after: Sequence[Bin], temperature: float) -> bytes:
    """Accuracy over confidence, before and after temperature scaling; on the diagonal a score means what it says."""
    figure = Figure(figsize=(9, 4.5), dpi=DPI)
    panels = figure.subplots(1, 2, sharey=True)
    _reliability_panel(panels[0], before, "as trained")
    _reliability_panel(panels[1], after, f"temperature {temperature:.2f}")
    panels[0].set_ylabel("accuracy")
    return _png(figure)


def values_png(right_N: NDArray[np.float64], found_N: NDArray[np.float64]) -> bytes:
    """A point for each test row: the value that was found over the right one; on the diagonal they are equal."""
    figure = Figure(figsize=(5, 5), dpi=DPI)
    axes = figure.subplots()
    axes.plot(right_N, found_N, "o", color="#4c78a8", markersize=3, alpha=0.4, markeredgewidth=0)
    ends = [float(np.min([right_N, found_N])), float(np.max([right_N, found_N]))]
    axes.plot(ends, ends, "--", color="grey", linewidth=1)
    axes.set(xlabel="right", ylabel="found", title=f"Values on test, {len(right_N):,} rows")
    axes.grid(color="#e6e6e6", linewidth=0.6)
    return _png(figure)


def curves_png(epochs: Sequence[Mapping[str, float]], metric: str | None, best_epoch: int) -> bytes:
    """By epoch: the loss on train and dev, and the dev metric beside the epoch whose weights were kept. Without a
    metric, for there are no dev rows, the loss alone.
    """
    figure = Figure(figsize=(9, 3.5), dpi=DPI)
    losses, chosen = figure.subplots(1, 2, gridspec_kw={"wspace": 0.3})
    numbers = [epoch["epoch"] for epoch in epochs]
    for key, colour in (("train_loss", "#4c78a8"), ("dev_loss", "#f58518")):
        if all(key in epoch for epoch in epochs):
            losses.plot(numbers, [epoch[key] for epoch in epochs], "o-", color=colour, label=key.replace("_", " "))
    losses.legend(fontsize=8)
    losses.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    if metric is not None:
        chosen.plot(numbers, [epoch[metric] for epoch in epochs], "o-", color="#54a24b")
    chosen.axvline(best_epoch, linestyle="--", color="grey", linewidth=1)
    name = f"dev {metric.replace('_', ' ')}" if metric is not None else "no dev rows"
    chosen.set(xlabel="epoch", ylabel=name, title=f"kept: epoch {best_epoch}")
    for axes in (losses, chosen):
        axes.set_xticks(numbers if len(numbers) <= 12 else numbers[:: len(numbers) // 10])
        axes.grid(color="#e6e6e6", linewidth=0.6)
    return _png(figure)


def _reliability_panel(axes: Axes, bins: Sequence[Bin], title: str) -> None:
    width = 1 / len(bins)
    centres = [(place + 0.5) * width for place in range(len(bins))]
    axes.bar(centres, [one.accuracy for one in bins], width=width * 0.9, color="#4c78a8", label="accuracy")
    filled = [one for one in bins if one.rows]
    axes.plot(
        [one.confidence for one in filled],
        [one.accuracy for one in filled],
        "o",
        color="#e45756",
        markersize=4,
        label="mean confidence",
    )
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    for centre, one in zip(centres, bins, strict=True):
        if one.rows:
            axes.text(centre, 0.02, str(one.rows), ha="center", va="bottom", fontsize=6, rotation=90, color="white")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence (rows in each bar)")
    axes.set_title(f"{title}: ECE {expected_calibration_error(list(bins)):.4f}")
    axes.legend(loc="upper left", fontsize=8)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", bbox_inches="tight", metadata={"Software": None}
    )  # its version would change the bytes
    return buffer.getvalue()
