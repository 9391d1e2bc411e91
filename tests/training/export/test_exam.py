import numpy as np

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, EmbedHead
from training.data.rows import Row
from training.export.exam import make_exam
from training.metrics import retrieval_ranks

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
