from pathlib import Path

import pytest

from app.bundle.errors import BundleError
from app.errors import HeadError, InvalidRequestError, ModelNotFoundError
from app.serving.catalog import Catalog, Task
from app.types import ModelKey
from tests.stores import EMBED, HEADS, INTENT, TOPIC, write_bundle, write_store


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    store: Path = tmp_path_factory.mktemp("models") / "store"
    return Catalog.open(store, write_store(store))


@pytest.mark.parametrize("name", ["topics", "intents", "mixed"])
def test_named_model_is_found(catalog: Catalog, name: str) -> None:
    assert catalog.resolve(name, None, "classify").key == ModelKey(name, 1)


def test_only_model_made_for_the_task_needs_no_name(catalog: Catalog) -> None:
    assert catalog.resolve(None, None, "embed").key == ModelKey("embedder", 1)


def test_several_models_for_the_task_are_listed(catalog: Catalog) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        catalog.resolve(None, None, "classify")

    assert refusal.value.message == "several models do classify; set `model` to one of: intents, mixed, stars, topics"


def test_unknown_name_is_refused_with_those_there_are(catalog: Catalog) -> None:
    with pytest.raises(ModelNotFoundError) as refusal:
        catalog.resolve("secret", None, "embed")

    assert refusal.value.param == "model"
    assert refusal.value.message.endswith("there are: embedder, intents, mixed, stars, topics")
    assert "secret" not in refusal.value.message


def test_unknown_version_is_refused_with_those_there_are(catalog: Catalog) -> None:
    with pytest.raises(ModelNotFoundError) as refusal:
        catalog.resolve("embedder", 7, "embed")

    assert (refusal.value.message, refusal.value.param) == (
        "model embedder has no version 7 here; it has: 1",
        "version",
    )


def test_version_without_model_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InvalidRequestError, match="name the model too"):
        catalog.resolve(None, 1, "embed")


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("intents", "embed", "model intents does classify, not embed; models that do embed: embedder"),
        (
            "embedder",
            "classify",
            "model embedder does embed, not classify; models that do classify: intents, mixed, stars, topics",
        ),
    ],
)
def test_model_without_the_task_says_what_it_does(catalog: Catalog, name: str, task: Task, message: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        catalog.resolve(name, None, task)

    assert refusal.value.message == message


def test_no_model_for_the_task_is_told(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path, write_store(tmp_path, heads={"topics": HEADS["topics"]}))

    with pytest.raises(ModelNotFoundError, match="no served model is made for embed; there are: topics"):
        catalog.resolve(None, None, "embed")


def test_only_head_of_the_task_needs_no_name(catalog: Catalog) -> None:
    assert catalog.default("intents").classify_head(None) == INTENT


def test_head_is_found_by_name(catalog: Catalog) -> None:
    assert catalog.default("mixed").classify_head("topic") == TOPIC


@pytest.mark.parametrize("name", [None, "mood"], ids=["none named", "unknown"])
def test_unclear_head_is_refused_with_those_there_are(catalog: Catalog, name: str | None) -> None:
    with pytest.raises(HeadError) as refusal:
        catalog.default("mixed").classify_head(name)

    assert refusal.value.message.endswith("model mixed has the classify heads intent, topic")


def test_head_of_another_task_is_no_head_of_this_one(tmp_path: Path) -> None:
    key = write_bundle(tmp_path, "both", 1, [EMBED, INTENT])

    with pytest.raises(HeadError):
        Catalog.open(tmp_path, [key]).default("both").classify_head("embedding")


@pytest.mark.parametrize("default", [1, 2])
def test_default_version_is_the_first_that_is_named_whatever_is_current_by_now(tmp_path: Path, default: int) -> None:
    keys = [write_bundle(tmp_path, "topics", version, HEADS["topics"]) for version in (1, 2)]
    (tmp_path / "topics" / "current").unlink()

    catalog = Catalog.open(tmp_path, sorted(keys, key=lambda key: key.version != default))

    assert catalog.default("topics").key.version == default
    assert catalog.versions("topics") == [1, 2]


def test_changed_tokenizer_is_refused(tmp_path: Path) -> None:
    key = write_bundle(tmp_path, "topics", 1, HEADS["topics"])
    path = tmp_path / "topics" / "1" / "tokenizer.json"
    path.write_bytes(path.read_bytes().replace(b"[CLS]", b"[CLZ]", 1))

    with pytest.raises(BundleError) as refusal:
        Catalog.open(tmp_path, [key])

    assert refusal.value.rule == "B05-bytes"
