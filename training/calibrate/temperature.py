"""How sure may a classifier say it is?

Temperature scaling (arXiv:1706.04599 §4.2): logits are divided by one number, fitted on dev rows. It moves
confidence and never the order of labels, so accuracy stays what it was. N rows, C labels.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
LEAST, MOST = 0.05, 20.0  # a separable dev split would ask for 0: a hundredfold of confidence either way is enough


def fit_temperature(logits_NC: Floats, targets_N: Ints) -> float:
    """The temperature in [LEAST, MOST] with the least negative log likelihood; 1 when there are no rows."""
    if not len(targets_N):
        return 1.0
    return _least(lambda temperature: negative_log_likelihood(logits_NC, targets_N, temperature))


def fit_label_temperature(logits_NC: Floats, right_NC: Bools) -> float:
    """`fit_temperature` for labels of which each is right or not."""
    if not len(right_NC):
        return 1.0
    return _least(lambda temperature: binary_log_likelihood(logits_NC, right_NC, temperature))


def _least(loss: Callable[[float], float]) -> float:
    bounds = (math.log(LEAST), math.log(MOST))
    found = minimize_scalar(lambda log_t: loss(math.exp(log_t)), bounds=bounds, method="bounded")
    return float(math.exp(found.x))


def negative_log_likelihood(logits_NC: Floats, targets_N: Ints, temperature: float) -> float:
    """Mean over rows, in nats."""
    scaled_NC = logits_NC.astype(np.float64) / temperature
    shifted_NC = scaled_NC - scaled_NC.max(axis=1, keepdims=True)
    log_sum_N = np.log(np.exp(shifted_NC).sum(axis=1))
    return float((log_sum_N - shifted_NC[np.arange(len(targets_N)), targets_N]).mean())


def binary_log_likelihood(logits_NC: Floats, right_NC: Bools, temperature: float) -> float:
    """The negative one, mean over rows and labels, in nats."""
    signed_NC = np.where(right_NC, 1.0, -1.0) * logits_NC.astype(np.float64) / temperature
    return float(np.logaddexp(0.0, -signed_NC).mean())
