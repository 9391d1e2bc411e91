"""Does this device give the outputs that the model gave when it was exported?

`golden.jsonl` holds raw texts, or vectors, with the label that had the largest logit, by the name of each head with
labels; `golden.npz` the raw graph outputs of the torch model for them, row by row, by output name (over-long texts are
cut at their end). What a caller sees is compared: unit vectors and probabilities, not logits. B rows, D dimensions, C
labels.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.bundle.errors import BundleError
from app.bundle.manifest import ClassifyHead, EmbedHead, Json, Manifest, Precision
from app.bundle.open import Bundle
from app.bundle.scoring import Floats, probabilities, unit

CLEAR_MARGIN = 1e-3  # two labels closer than this (in probability) may swap places between devices


@dataclass(frozen=True, slots=True)
class Limits:
    """How far outputs may stray from the reference: unit vectors, then probabilities."""

    mean_cosine: float
    min_cosine: float
    vector: float  # largest difference of one value of a unit vector
    probability: float  # a probability moves with a whole vector of logits
    clear_margin: float  # labels further apart than this keep their order


LIMITS: Mapping[str, Limits] = {
    "bf16": Limits(mean_cosine=0.9998, min_cosine=0.999, vector=0.02, probability=0.05, clear_margin=0.05),
    # Under the limits of the export (0.995, 0.985): other kernels on another CPU must not turn away what just passed.
    "int8": Limits(mean_cosine=0.993, min_cosine=0.98, vector=0.1, probability=0.2, clear_margin=0.2),
}


@dataclass(frozen=True, slots=True)
class GoldenRows:
    """The raw inputs, texts or vectors as [T, F], and, by output name, the reference outputs [B, D]."""

    texts: list[str]
    outputs: Mapping[str, Floats]
    vectors: Sequence[Floats] = ()


def load_golden(bundle: Bundle) -> GoldenRows:
    """Read the golden files.

    Raises:
        BundleError: B09 when rows are missing, malformed or not finite.
    """
    manifest = bundle.manifest
    try:
        lines = bundle.read(manifest.file("golden-inputs")).splitlines()  # of bytes: str also splits at U+2028
        rows = [json.loads(line) for line in lines]
        texts = [row["text"] for row in rows] if manifest.vectors is None else []
        vectors = [manifest.vectors.read(row["vectors"]) for row in rows] if manifest.vectors is not None else []
        with np.load(io.BytesIO(bundle.read(manifest.file("golden-outputs"))), allow_pickle=False) as archive:
            outputs = {name: archive[name] for name in archive.files}
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError("B09-golden-files", f"golden files cannot be read: {error}") from error
    for output in manifest.outputs:
        shape = (manifest.golden.rows, output.axes[-1])
        found = outputs.get(output.name)
        if found is None or found.dtype != np.float32 or found.shape != shape or not np.isfinite(found).all():
            raise BundleError("B09-golden-files", f"golden output {output.name} is not finite float32 of shape {shape}")
    if len(rows) != manifest.golden.rows or not all(isinstance(text, str) for text in texts):
        raise BundleError("B09-golden-files", f"golden.jsonl does not hold {manifest.golden.rows} {manifest.modality}")
    if any(len(row) > manifest.max_tokens for row in vectors):
        raise BundleError("B09-golden-files", f"a golden row has more than {manifest.max_tokens} vectors")
    for head in manifest.heads:
        if isinstance(head, ClassifyHead):
            _check_names(head, rows, outputs[head.output])
    return GoldenRows(texts, outputs, vectors)


def _check_names(head: ClassifyHead, rows: list[Json], logits_BC: Floats) -> None:
    """The manifest's labels are in the order of the logits: a list that was sorted or replaced shows here."""
    for number, (row, best) in enumerate(zip(rows, logits_BC.argmax(axis=1), strict=True)):
        labels = row.get("labels")
        named = labels.get(head.name) if isinstance(labels, dict) else None
        if named != head.labels[best]:
            detail = f"golden row {number} was {named!r} at export and is {head.labels[best]!r} by the manifest"
            raise BundleError("B09-golden-files", f"head {head.name}: {detail}")


def check_golden(
    manifest: Manifest,
    expected: Mapping[str, Floats],
    measured: Mapping[str, Floats],
    precision: Precision = "fp32",
) -> None:
    """Compare outputs as a caller sees them, head by head, within the limits of `precision`.

    Raises:
        BundleError: B10 with the head, the row and the distance.
    """
    golden = manifest.golden
    exact = Limits(golden.min_cosine, golden.min_cosine, golden.max_abs_diff, golden.max_abs_diff * 10, CLEAR_MARGIN)
    check_heads(manifest.heads, LIMITS.get(precision, exact), expected, measured)


def check_heads(
    heads: Sequence[EmbedHead | ClassifyHead],
    limits: Limits,
    expected: Mapping[str, Floats],
    measured: Mapping[str, Floats],
) -> None:
    """`check_golden` for heads and limits of one's own."""
    for head in heads:
        want, got = expected[head.output], measured[head.output]
        if want.shape != got.shape or not np.isfinite(got).all():
            raise BundleError("B10-golden", f"head {head.name}: outputs are not finite or not of shape {want.shape}")
        if isinstance(head, EmbedHead):
            _check_vectors(head, limits, want, got)
        else:
            _check_probabilities(head, limits, want, got)


def _check_vectors(head: EmbedHead, limits: Limits, want: Floats, got: Floats) -> None:
    a, b = unit(want), unit(got)
    cosine, distance = (a * b).sum(axis=1), np.abs(a - b).max(axis=1)
    row = int(distance.argmax())
    if cosine.mean() < limits.mean_cosine or cosine.min() < limits.min_cosine or distance[row] > limits.vector:
        detail = f"cosine {cosine[row]:.6f}, largest difference {distance[row]:.1e}"
        raise BundleError("B10-golden", f"head {head.name}: golden row {row} differs: {detail}")


def _check_probabilities(head: ClassifyHead, limits: Limits, want: Floats, got: Floats) -> None:
    a, b = probabilities(head, want), probabilities(head, got)
    distance = np.abs(a - b).max(axis=1)
    if head.problem_type == "regression":
        distance = distance / _spread(a)
    row = int(distance.argmax())
    if distance[row] > limits.probability:
        raise BundleError("B10-golden", f"head {head.name}: golden row {row} differs by {distance[row]:.1e}")
    if head.problem_type != "single_label" or a.shape[1] < 2:
        return
    ordered = np.sort(a, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > limits.clear_margin
    if (changed := np.flatnonzero(clear & (a.argmax(axis=1) != b.argmax(axis=1)))).size:
        raise BundleError("B10-golden", f"head {head.name}: golden row {int(changed[0])} has another label")


def _spread(values_BC: Floats) -> float:
    """How far apart values lie, from least to most: what a difference of them is measured in."""
    return float(max(np.ptp(values_BC), 1e-3 * np.abs(values_BC).max(), 1e-6))
