"""Does a text belong to any label of a classifier at all?

A score that is larger the more a text is like those that the classifier was trained on; under the bundle's threshold it
is out of scope. Training fits thresholds with these functions, and every answer is judged by them.

- `max_probability`: the best calibrated probability (arXiv:1610.02136).
- `energy`: T · log Σ exp(logit / T), with the head's temperature T (arXiv:2010.03759).
- `mahalanobis`: minus the squared distance of the text's vector to the nearest class mean, measured by the covariance
  that the classes share (arXiv:1807.03888; of sentences arXiv:2101.03778). Its means and covariance are `scope.npz`.

B rows, C labels, D dimensions, K dimensions after whitening.
"""

import io
import zipfile
from dataclasses import dataclass

import numpy as np

from app.bundle.errors import BundleError
from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, ScopeScore
from app.bundle.open import Bundle
from app.bundle.scoring import Floats, probabilities

SCOPE_FILE = "scope.npz"


@dataclass(frozen=True, slots=True)
class Statistics:
    """The training vectors as `mahalanobis` knows them: `whiten_DK` takes the covariance that classes share to the
    identity, `means_CK` are the means of the classes after it.
    """

    whiten_DK: Floats
    means_CK: Floats

    def to_bytes(self) -> bytes:
        """The bytes of `scope.npz`."""
        buffer = io.BytesIO()
        np.savez(buffer, whiten_DK=self.whiten_DK, means_CK=self.means_CK)
        return buffer.getvalue()


def load_statistics(bundle: Bundle) -> Statistics | None:
    """What `scope.npz` holds; None where no head asks for it.

    Raises:
        BundleError: B12 when it is damaged, not finite, or of other shapes than the model's.
    """
    manifest = bundle.manifest
    heads = [head for head in manifest.heads if isinstance(head, ClassifyHead) and reads_vectors(head)]
    if not heads:
        return None
    try:
        with np.load(io.BytesIO(bundle.read(manifest.file("scope"))), allow_pickle=False) as archive:
            statistics = Statistics(archive["whiten_DK"], archive["means_CK"])
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError("B12-scope", f"{SCOPE_FILE} cannot be read: {error}") from error
    for name, array in (("whiten_DK", statistics.whiten_DK), ("means_CK", statistics.means_CK)):
        if array.dtype != np.float32 or array.ndim != 2 or not np.isfinite(array).all():
            raise BundleError("B12-scope", f"{SCOPE_FILE}: {name} is not a finite float32 matrix")
    width = next((output.axes[-1] for output in manifest.outputs if output.name == EMBEDDING_OUTPUT), None)
    found = (statistics.whiten_DK.shape[0], *statistics.means_CK.shape)
    wanted = (width, len(heads[0].labels), statistics.whiten_DK.shape[1])
    if found != wanted:
        raise BundleError("B12-scope", f"{SCOPE_FILE} has shapes for (D, C, K) = {found}, not {wanted}")
    return statistics


def reads_vectors(head: ClassifyHead) -> bool:
    """Whether the head's rule reads the vector of a text, and so `scope.npz`."""
    return head.out_of_scope is not None and head.out_of_scope.score == "mahalanobis"


def scope_scores(
    score: ScopeScore,
    head: ClassifyHead,
    logits_BC: Floats,
    vectors_BD: Floats | None = None,
    statistics: Statistics | None = None,
) -> Floats:
    """The score of each row [B]; `mahalanobis` needs the vectors, as the graph gives them, and the statistics."""
    if score == "max_probability":
        return np.asarray(probabilities(head, logits_BC).max(axis=1))
    if score == "energy":
        scaled_BC = logits_BC.astype(np.float64) / head.temperature
        best_B1 = scaled_BC.max(axis=1, keepdims=True)
        log_sums_B = best_B1[:, 0] + np.log(np.exp(scaled_BC - best_B1).sum(axis=1))
        return np.asarray(head.temperature * log_sums_B, np.float32)
    if vectors_BD is None or statistics is None:
        raise ValueError("the mahalanobis score needs vectors and statistics")
    means_CK = statistics.means_CK.astype(np.float64)
    whitened_BK = vectors_BD.astype(np.float64) @ statistics.whiten_DK
    squares_B1, squares_C = (whitened_BK**2).sum(axis=1, keepdims=True), (means_CK**2).sum(axis=1)
    distances_BC = squares_B1 - 2 * whitened_BK @ means_CK.T + squares_C
    return np.asarray(-distances_BC.min(axis=1), np.float32)
