"""The losses say what their formulas say."""

import math
from collections.abc import Callable

import pytest
import torch

from training.losses.classify import balanced_weights, per_row_cross_entropy
from training.losses.contrastive import in_batch_negatives, supervised_contrastive, triplet
from training.losses.scored import angle, cosent


def test_cross_entropy_of_even_logits_is_the_log_of_the_labels() -> None:
    losses_B = per_row_cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 3]))

    assert torch.allclose(losses_B, torch.full((3,), math.log(4)))


def test_label_smoothing_spreads_a_share_of_the_target_over_all_labels() -> None:
    logits_BC, targets_B = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])

    (loss,) = per_row_cross_entropy(logits_BC, targets_B, label_smoothing=0.3)

    log_probs_C = logits_BC.log_softmax(dim=1)[0]
    assert torch.isclose(loss, -(0.7 * log_probs_C[0] + 0.3 * log_probs_C.mean()))


def test_focal_loss_is_its_formula() -> None:
    logits_BC, targets_B = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])

    losses_B = per_row_cross_entropy(logits_BC, targets_B, gamma=2.0)

    probs_B = logits_BC.softmax(dim=1)[range(5), targets_B]
    assert torch.allclose(losses_B, -((1 - probs_B) ** 2) * probs_B.log(), atol=1e-6)


def test_balanced_weights_give_every_label_the_same_say() -> None:
    targets = [0, 0, 0, 1, 2, 2]

    weights_C = balanced_weights(targets, 3)

    assert torch.allclose(weights_C, torch.tensor([6 / 9, 2.0, 1.0]))
    assert math.isclose(float(weights_C[targets].mean()), 1.0, rel_tol=1e-6)
    assert balanced_weights([0], 2).isfinite().all()
    losses_B = per_row_cross_entropy(torch.zeros(6, 3), torch.tensor(targets), weights_C=weights_C)
    assert torch.allclose(losses_B, weights_C[targets] * math.log(3))


def test_supervised_contrastive_loss_is_its_formula() -> None:
    vectors_BD, targets_B = torch.randn(6, 8), torch.tensor([0, 1, 0, 1, 0, 2])

    loss = supervised_contrastive(vectors_BD, targets_B, temperature=0.5)

    unit_BD = torch.nn.functional.normalize(vectors_BD, dim=1)
    expected = []
    for anchor in range(5):  # the last one has nobody of its label
        others = [other for other in range(6) if other != anchor]
        total = sum(math.exp(float(unit_BD[anchor] @ unit_BD[other]) / 0.5) for other in others)
        alike = [other for other in others if targets_B[other] == targets_B[anchor]]
        shares = [math.exp(float(unit_BD[anchor] @ unit_BD[other]) / 0.5) / total for other in alike]
        expected.append(-sum(map(math.log, shares)) / len(alike))
    assert math.isclose(float(loss), sum(expected) / 5, rel_tol=1e-5)


def test_supervised_contrastive_loss_of_strangers_is_none_and_has_a_gradient() -> None:
    vectors_BD = torch.randn(3, 8, requires_grad=True)

    loss = supervised_contrastive(vectors_BD, torch.tensor([0, 1, 2]))
    (gradient_BD,) = torch.autograd.grad(loss, vectors_BD)

    assert loss.item() == 0.0
    assert gradient_BD.isfinite().all()


def test_triplet_loss_is_what_is_missing_to_the_margin() -> None:
    anchor, near, far = torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 3.0]]), torch.tensor([[0.0, 1.0]])

    assert math.isclose(float(triplet(anchor, near, far, margin=1.0)), 1 - math.sqrt(0.5), rel_tol=1e-6)
    assert float(triplet(anchor, near, far, margin=0.5)) == 0.0


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


def test_cosent_is_its_formula() -> None:
    first, second, scores = torch.randn(5, 8), torch.randn(5, 8), torch.tensor([0.0, 3.0, 3.0, 5.0, 1.0])

    loss = cosent(first, second, scores, scale=20.0)

    alike = torch.cosine_similarity(first, second)
    pairs = [(i, j) for i in range(5) for j in range(5) if scores[i] > scores[j]]
    total = 1 + sum(math.exp(20.0 * float(alike[j] - alike[i])) for i, j in pairs)
    assert math.isclose(float(loss), math.log(total), rel_tol=1e-5)


def test_angle_is_its_formula_in_complex_numbers() -> None:
    """A vector is its first half and i times its second; what is compared is a quotient of such vectors."""
    first, second, scores = torch.randn(4, 6), torch.randn(4, 6), torch.tensor([1.0, 0.0, 3.0, 2.0])

    loss = angle(first, second, scores, scale=20.0)

    z, w = (torch.complex(side[:, :3], side[:, 3:]) for side in (first, second))
    sizes = [side.abs().square().sum(dim=1, keepdim=True) for side in (z, w)]
    quotient = z * w.conj() / sizes[1] / (sizes[0] / sizes[1]).sqrt()
    alike = (quotient.real + quotient.imag).sum(dim=1).abs()
    pairs = [(i, j) for i in range(4) for j in range(4) if scores[i] > scores[j]]
    total = 1 + sum(math.exp(20.0 * float(alike[j] - alike[i])) for i, j in pairs)
    assert math.isclose(float(loss), math.log(total), rel_tol=1e-5)


@pytest.mark.parametrize("loss_of", [cosent, angle])
def test_pairs_of_one_score_have_no_order_to_learn(loss_of: Callable[..., torch.Tensor]) -> None:
    first = torch.randn(3, 8, requires_grad=True)

    loss = loss_of(first, torch.randn(3, 8), torch.full((3,), 2.0), scale=20.0)
    (gradient,) = torch.autograd.grad(loss, first)

    assert loss.item() == 0.0
    assert gradient.eq(0).all()
