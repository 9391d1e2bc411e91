import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from app.api.parsing import parse
from app.api.schemas import ClassifyRequest, ClassifyResponse, EmbedRequest, EmbedResponse, TextRequest
from docs.generate import ROOT, pages


@pytest.mark.parametrize(("path", "content"), pages().items(), ids=[path.name for path in pages()])
def test_generated_page_is_current(path: Path, content: str) -> None:
    assert path.read_text(encoding="utf-8") == content, "run `python -m docs.generate`"


@pytest.mark.parametrize(
    ("route", "request_model", "response_model"),
    [("/embed", EmbedRequest, EmbedResponse), ("/classify", ClassifyRequest, ClassifyResponse)],
)
def test_examples_of_the_interface_are_valid(
    route: str, request_model: type[TextRequest], response_model: type[BaseModel]
) -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    section = page.split(f"## POST {route}\n")[1].split("\n## ")[0]

    request, response = re.findall(r"```json\n(.*?)```", section, re.DOTALL)

    parse(request.encode(), request_model)
    answer = json.loads(response)
    assert response_model.model_validate(answer).model_dump(exclude_unset=True) == answer


@pytest.mark.parametrize("model", [EmbedRequest, ClassifyRequest])
def test_every_field_stands_in_the_interface(model: type[TextRequest]) -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")

    assert [name for name in model.model_fields if f"`{name}`" not in page] == []
