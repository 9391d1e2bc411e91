import base64

import numpy as np
import pytest

from app.tasks.embed import finish, to_base64

VECTORS = np.array([[3, 4, 12], [0, 0, 5]], np.float32)


def test_vectors_are_cut_first_and_normalised_then() -> None:
    assert finish(VECTORS, dimensions=2, normalize=True) == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))


def test_without_normalising_the_raw_values_stay() -> None:
    assert finish(VECTORS, dimensions=2, normalize=False).tolist() == [[3, 4], [0, 0]]


def test_whole_vectors_have_length_one() -> None:
    lengths = np.linalg.norm(finish(VECTORS, dimensions=3, normalize=True), axis=1)

    assert lengths == pytest.approx([1, 1], abs=1e-6)


def test_base64_is_little_endian_float32() -> None:
    first, second = to_base64(VECTORS)

    assert np.frombuffer(base64.b64decode(first), "<f4").tolist() == [3, 4, 12]
    assert np.frombuffer(base64.b64decode(second), "<f4").tolist() == [0, 0, 5]
