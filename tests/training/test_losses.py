"""The losses say what their formulas say."""

import math

import torch

from training.losses import cross_entropy, in_batch_negatives


def test_cross_entropy_of_even_logits_is_the_log_of_the_labels() -> None:
    loss = cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 3]))

    assert math.isclose(float(loss), math.log(4), rel_tol=1e-6)


def test_label_smoothing_spreads_a_share_of_the_target_over_all_labels() -> None:
    logits_BC, targets_B = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])

    loss = cross_entropy(logits_BC, targets_B, label_smoothing=0.3)

    log_probs_C = logits_BC.log_softmax(dim=1)[0]
    assert torch.isclose(loss, -(0.7 * log_probs_C[0] + 0.3 * log_probs_C.mean()))


def test_in_batch_loss_is_cross_entropy_over_scaled_cosines() -> None:
    queries_BD, candidates_KD = torch.randn(3, 8), torch.randn(5, 8)

    loss = in_batch_negatives(queries_BD, candidates_KD, scale=20.0)

    cosines_BK = torch.nn.functional.cosine_similarity(queries_BD[:, None], candidates_KD[None], dim=2)
    assert torch.isclose(loss, torch.nn.functional.cross_entropy(20.0 * cosines_BK, torch.arange(3)), atol=1e-5)


def test_in_batch_loss_does_not_see_the_length_of_vectors() -> None:
    queries_BD, candidates_BD = torch.randn(4, 8), torch.randn(4, 8)

    short = in_batch_negatives(queries_BD, candidates_BD, scale=10.0)
    long = in_batch_negatives(queries_BD * 7, candidates_BD * 3, scale=10.0)

    assert torch.isclose(short, long, atol=1e-5)


def test_a_right_answer_of_another_row_is_no_negative() -> None:
    """Two rows with the same positive: without the mask the best possible loss would be log 2."""
    queries_BD = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    same_BK = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])

    loss = in_batch_negatives(queries_BD, queries_BD, scale=50.0, also_right_BK=same_BK)

    assert float(loss) < 1e-6


def test_an_explicit_negative_raises_the_loss() -> None:
    queries_BD = torch.eye(2)
    negatives_2D = queries_BD * 0.9 + 0.1

    without = in_batch_negatives(queries_BD, queries_BD, scale=5.0)
    with_negatives = in_batch_negatives(queries_BD, torch.cat([queries_BD, negatives_2D]), scale=5.0)

    assert float(with_negatives) > float(without)
