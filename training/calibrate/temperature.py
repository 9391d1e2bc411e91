"""How sure may a classifier say it is?

Temperature scaling (arXiv:1706.04599 §4.2): logits are divided by one number, fitted on dev rows. It moves
confidence and never the order of labels, so accuracy stays what it was. N rows, C labels.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
LEAST, MOST = 0.05, 20.0  # a separable dev split would ask for 0: a hundredfold of confidence either way is enough


def fit_temperature(logits_NC: Floats, targets_N: Ints) -> float:
    """The temperature in [LEAST, MOST] with the least negative log likelihood; 1 when there are no rows."""
    if not len(targets_N):
        return 1.0
    bounds = (math.log(LEAST), math.log(MOST))
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits_NC, targets_N, math.exp(log_t)), bounds=bounds, method="bounded"
    )
    return float(math.exp(found.x))


def negative_log_likelihood(logits_NC: Floats, targets_N: Ints, temperature: float) -> float:
    """Mean over rows, in nats."""
    scaled_NC = logits_NC.astype(np.float64) / temperature
    shifted_NC = scaled_NC - scaled_NC.max(axis=1, keepdims=True)
    log_sum_N = np.log(np.exp(shifted_NC).sum(axis=1))
    return float((log_sum_N - shifted_NC[np.arange(len(targets_N)), targets_N]).mean())
