import numpy as np
import pytest

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, EmbedHead
from training.data.rows import Row
from training.export.compare import VECTOR_LIMIT
from training.export.exam import Exam, make_exam
from training.metrics import cosines, retrieval_ranks, spearman

CLASSIFIER = ClassifyHead(name="a", output="logits_a", problem_type="single_label", labels=["no", "yes"])
EMBEDDER = EmbedHead(name="embedding", output=EMBEDDING_OUTPUT, dimensions=8)


def test_accuracy_is_by_the_manifests_labels() -> None:
    rows = [Row("a", "1", label="yes"), Row("b", "2", label="no"), Row("c", "3", label="no"), Row("d", "4", label="no")]
    logits = np.array([[0, 1], [1, 0], [0, 1], [0.5, 0.50001]], np.float32)

    exam = make_exam(CLASSIFIER, rows)

    assert exam is not None
    assert (exam.metric, exam.texts, exam.rows) == ("accuracy", ["a", "b", "c", "d"], 4)
    assert exam.judge({"logits_a": logits}) == (0.5, 0.25)


def test_recall_is_the_one_of_training() -> None:
    generator = np.random.default_rng(3)
    texts = [f"text {number}" for number in range(50)]
    positives = [f"answer {number % 40}" for number in range(50)]
    queries, answers = generator.standard_normal((50, 8)), generator.standard_normal((40, 8))
    candidates = answers[np.arange(50) % 40] + 0.3 * queries
    candidates[40:] = candidates[:10]  # the same text has the same vector
    outputs = np.concatenate([queries, candidates]).astype(np.float32)
    rows = [Row(text, "", positive=positive) for text, positive in zip(texts, positives, strict=True)]

    exam = make_exam(EMBEDDER, rows)

    unit = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    ranks = retrieval_ranks(unit[:50], unit[50:], positives)
    assert exam is not None
    assert exam.judge({EMBEDDING_OUTPUT: outputs}) == (float(np.mean(ranks == 1)), 0)


def test_without_test_rows_there_is_no_exam() -> None:
    assert make_exam(CLASSIFIER, []) is None


def scored_exam(rows: int) -> tuple[Exam, np.ndarray, np.ndarray]:
    """An exam of pairs with scores, vectors of which many cosines are nearly the same, and the scores."""
    generator = np.random.default_rng(5)
    first, second = generator.standard_normal((2, rows, 8))
    second[::6] = second[0]
    first[::6] = first[0] + 1e-5 * first[::6]
    scores = np.round(generator.random(rows) * 5, 1)
    exam = make_exam(EMBEDDER, [Row(f"a {n}", "", positive=f"b {n}", score=score) for n, score in enumerate(scores)])
    assert exam is not None
    return exam, np.concatenate([first, second]).astype(np.float32), scores


def test_scored_pairs_are_judged_by_the_order_of_their_cosines() -> None:
    exam, vectors, scores = scored_exam(60)

    value, _ = exam.judge({EMBEDDING_OUTPUT: vectors})

    assert (exam.metric, exam.rows, exam.texts[0], exam.texts[60]) == ("spearman", 60, "a 0", "b 0")
    assert value == pytest.approx(spearman(cosines(vectors[:60], vectors[60:]), scores))


def test_cosines_too_close_to_call_may_change_places_and_others_may_not() -> None:
    """Vectors as different as the gate allows move the figure within what the exam tolerates; other pairs do not."""
    exam, vectors, _ = scored_exam(60)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    value, slack = exam.judge({EMBEDDING_OUTPUT: unit})
    generator = np.random.default_rng(6)

    moved = [
        exam.judge(
            {EMBEDDING_OUTPUT: unit + generator.uniform(-VECTOR_LIMIT, VECTOR_LIMIT, unit.shape).astype(np.float32)}
        )
        for _ in range(50)
    ]
    other, _ = exam.judge({EMBEDDING_OUTPUT: np.concatenate([unit[:60], np.roll(unit[60:], 1, axis=0)])})

    assert len({each for each, _ in moved}) > 1
    assert max(abs(each - value) for each, _ in moved) <= slack
    assert abs(other - value) > slack
