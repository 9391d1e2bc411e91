import pytest

from benchmarks.front_end import CLIENTS, TOKENS_MAX, Options, measure
from tests.e2e.service import TINY_MODELS

pytestmark = pytest.mark.slow


def test_every_request_is_answered_or_refused_and_paid_for() -> None:
    said: list[str] = []

    result = measure(Options(TINY_MODELS, "tiny-encoder", requests=400, rounds=1), ["front-end"], said.append)

    assert [each.requests for each in result.answers + result.refusals] == [400, 400]
    assert result.clients == CLIENTS
    assert 10 < result.tokens_mean <= TOKENS_MAX
    assert len(said) == 1
