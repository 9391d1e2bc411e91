import pytest

from app.api.rendering import wants_bytes


@pytest.mark.parametrize(
    ("accept", "bytes_are_wanted"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/octet-stream", True),
        ("Application/Octet-Stream", True),
        ("application/octet-stream, */*", True),
        ("*/*, application/octet-stream", False),
        ("application/json, application/octet-stream", False),
        ("application/json;q=0.5, application/octet-stream", True),
        ("application/octet-stream; q=0.5, application/json", False),
        ("application/octet-stream;q=0", False),
        ("application/octet-stream;q=many", False),
        ("text/html, application/octet-stream", True),
        ("application/octet-streams", False),
    ],
)
def test_bytes_are_given_to_who_prefers_them(accept: str, bytes_are_wanted: bool) -> None:
    assert wants_bytes(accept.encode()) == bytes_are_wanted
