"""What would less work have given on the same rows?

Two figures to hold a fine-tuned classifier against: tf-idf with a linear SVM (no network at all) and logistic
regression over the encoder as it was before training. Both are fitted on train and judged on test. N, M rows,
D dimensions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from training.metrics import accuracy

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
INVERSE_REGULARISATION = 10.0  # unit vectors are short: at scikit-learn's 1.0 the regression stays too soft
MAX_ITERATIONS = 5000


def tfidf_svm(
    train: Sequence[str], train_targets_N: Ints, test: Sequence[str], test_targets_M: Ints, seed: int
) -> float:
    """Test accuracy of a linear SVM over tf-idf of words (1–2) and of characters inside words (2–4)."""
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
    )
    pipeline = make_pipeline(features, LinearSVC(random_state=seed, max_iter=MAX_ITERATIONS))
    pipeline.fit(list(train), train_targets_N)
    return accuracy(test_targets_M, pipeline.predict(list(test)))


def vector_svm(
    train: Sequence[Floats], train_targets_N: Ints, test: Sequence[Floats], test_targets_M: Ints, seed: int
) -> float | None:
    """Test accuracy of a linear SVM over all numbers of a row, standardised; None where rows differ in length."""
    if len({row.shape for row in (*train, *test)}) > 1:
        return None
    pipeline = make_pipeline(StandardScaler(), LinearSVC(random_state=seed, max_iter=MAX_ITERATIONS))
    pipeline.fit([row.ravel() for row in train], train_targets_N)
    return accuracy(test_targets_M, pipeline.predict([row.ravel() for row in test]))


def frozen_regression(train_ND: Floats, train_targets_N: Ints, test_MD: Floats, test_targets_M: Ints) -> float:
    """Test accuracy of logistic regression over the unit vectors of the untrained encoder."""
    regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=MAX_ITERATIONS)
    with threadpool_limits(1):  # BLAS threads beside torch's cost twentyfold on busy cores, and gain nothing here
        regression.fit(train_ND, train_targets_N)
    return accuracy(test_targets_M, regression.predict(test_MD))
