"""Requests byte by byte: what is read as what, and what is refused because two readers could read it differently."""

import socket

import orjson
import pytest

from app.processes.http.parser import Parser
from app.serving.catalog import Catalog
from app.settings import HttpSettings, Limits, Settings
from tests.app.processes.front_end import HOST, JSON, get, head, id_of, ids, post, run, serving

SETTINGS = Settings(
    limits=Limits(body_bytes=4096, texts=8, request_tokens=64),
    http=HttpSettings(head_bytes=1024, head_fields=16),
)
CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
BODY = b'{"text": "a"}'
JAVA = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
START = b"POST /embed HTTP/1.1\r\n" + HOST + JSON


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


READABLE = {
    "length": post(BODY, CLOSE),
    "chunks": head(CLOSE, CHUNKED) + chunks(BODY[:4], BODY[4:]),
    "chunks with an extension": head(CLOSE, CHUNKED) + b"d;a=b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a trailer": head(CLOSE, CHUNKED) + chunks(BODY)[:-2] + b"x-digest: 1\r\n\r\n",
    "coding with a blank after it": head(CLOSE, b"transfer-encoding: chunked \r\n") + chunks(BODY),
    "coding in capitals": head(CLOSE, b"Transfer-Encoding: Chunked\r\n") + chunks(BODY),
    "empty lines before": b"\r\n\r\n" + post(BODY, CLOSE),
    "absolute target": post(BODY, CLOSE, path=b"http://x/embed"),
    "escaped target": post(BODY, CLOSE, path=b"/%65mbed"),
    "a query": post(BODY, CLOSE, path=b"/embed?x=1"),
    "bytes above ASCII in a field": post(BODY, CLOSE, b"x-name: \xc3\xa9\r\n"),
    "HTTP/1.0": post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.0 without host": post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0").replace(HOST, b""),
    "an upgrade": post(BODY, JAVA.replace(b"Upgrade,", b"close, Upgrade,")),
    "an upgrade with chunks": head(JAVA.replace(b"Upgrade,", b"close, Upgrade,"), CHUNKED) + chunks(BODY),
}

UNREADABLE = {
    "length and chunks": head(b"content-length: 5\r\n", CHUNKED) + chunks(),
    "chunks and length": head(CHUNKED, b"content-length: 5\r\n") + chunks(),
    "two lengths": head(b"content-length: 13\r\n", b"content-length: 13\r\n") + BODY,
    "a length with a sign": head(b"content-length: +13\r\n") + BODY,
    "a list of lengths": head(b"content-length: 13, 13\r\n") + BODY,
    "a length beyond numbers": head(b"content-length: 99999999999999999999999\r\n") + BODY,
    "a length of many zeros": head(b"content-length: " + b"0" * 500 + b"13\r\n") + BODY,
    "another coding": head(b"transfer-encoding: gzip, chunked\r\n") + chunks(BODY),
    "chunked twice": head(b"transfer-encoding: chunked, chunked\r\n") + chunks(BODY),
    "another coding on a line of its own": head(b"transfer-encoding: gzip\r\n", CHUNKED) + chunks(BODY),
    "no coding and chunks": head(b"transfer-encoding: identity\r\n", CHUNKED) + chunks(BODY),
    "two codings": head(CHUNKED, b"transfer-encoding: identity\r\n") + chunks(BODY),
    "a space before the colon": head(b"transfer-encoding : chunked\r\n") + chunks(BODY),
    "a folded field": head(b"x-a: 1\r\n 2\r\n", b"content-length: 13\r\n") + BODY,
    "bare line feeds": post(BODY).replace(b"\r\n", b"\n"),
    "one bare line feed": post(BODY, b"x-a: 1\n"),
    "a bare carriage return": post(BODY, b"x-a: 1\r2\r\n"),
    "a zero byte": post(BODY, b"x-a: 1\0\r\n"),
    "a space in a name": post(BODY, b"x a: 1\r\n"),
    "an empty name": post(BODY, b": 1\r\n"),
    "chunks with bare line feeds": head(CHUNKED) + chunks(BODY).replace(b"\r\n", b"\n"),
    "a line feed in an extension": head(CHUNKED) + b"d;a\nb\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk without its end": head(CHUNKED) + b"d\r\n" + BODY + b"x0\r\n\r\n",
    "a chunk of huge size": head(CHUNKED) + b"fffffffffffffffff\r\n" + BODY,
    "a chunk size with 0x": head(CHUNKED) + b"0xd\r\n" + BODY + b"\r\n0\r\n\r\n",
    "no host": b"POST /embed HTTP/1.1\r\n" + JSON + b"content-length: 13\r\n\r\n" + BODY,
    "two hosts": post(BODY, HOST),
    "HTTP/0.9": b"GET /live\r\n\r\n",
    "HTTP/1.2": post(BODY).replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "CONNECT": b"CONNECT x:1 HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT to a path": b"CONNECT /embed HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT with an offer": b"CONNECT /embed HTTP/1.1\r\n" + HOST + JAVA + b"\r\n",
    "no such method": b"GRAB /embed HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in the target": get(b"/li ve"),
    "bytes above ASCII in the target": get(b"/\xc3\xa9"),
    "a line feed in the target": get(b"/live%0a"),
    "an upgrade without host": post(BODY, JAVA).replace(HOST, b""),
    "bad chunks after an upgrade": head(JAVA, CHUNKED) + b"x\r\n",
}

LARGE = {
    "a long target": get(b"/" + b"a" * 2000),
    "a long field": get(b"/live", b"x-a: " + b"a" * 2000 + b"\r\n"),
    "a field without end": b"GET /live HTTP/1.1\r\nx-a: " + b"a" * 5_000_000,
    "many fields": get(b"/live", b"a: 1\r\n" * 20),
    "many fields and an upgrade": get(b"/live", JAVA, b"a: 1\r\n" * 20),
    "endless fields": b"GET /live HTTP/1.1\r\n" + b"a: 1\r\n" * 1_000_000,
}

FULL = {
    "announced": head(b"content-length: 4097\r\n"),
    "announced with an upgrade": head(JAVA, b"content-length: 4097\r\n"),
    "sent in chunks": head(CHUNKED) + chunks(b"a" * 4000, b"b" * 97),
    "wrapped in extensions": head(CHUNKED) + b"1;%b" % (b"a" * 5_000_000),
    "an endless trailer": head(CHUNKED) + b"0\r\n" + b"x-a: 1\r\n" * 1_000_000,
}


@pytest.mark.parametrize("data", READABLE.values(), ids=READABLE)
def test_whole_request_is_answered(catalog: Catalog, data: bytes) -> None:
    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            (answer,) = await front_end.send(data)

            assert (answer.status, answer.fields["connection"]) == (200, "close")
            assert orjson.loads(answer.body)["usage"] == {"tokens": 3}

    run(check)


@pytest.mark.parametrize(
    ("cases", "status", "code"),
    [(UNREADABLE, 400, "invalid_http"), (LARGE, 431, "head_too_large"), (FULL, 413, "body_too_large")],
    ids=["unreadable", "large heads", "large bodies"],
)
def test_what_may_not_be_taken_is_refused_once_and_the_connection_closed(
    catalog: Catalog, cases: dict[str, bytes], status: int, code: str
) -> None:
    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            for name, data in cases.items():
                answers = await front_end.send(data)

                assert [(each.status, each.code) for each in answers] == [(status, code)], name
                assert answers[0].fields["connection"] == "close"
                assert len(answers[0].fields["x-request-id"]) == 32

    run(check)


def test_limits_of_a_head_are_exact(catalog: Catalog) -> None:
    room = 1024 - len(b"/live") - len(b"host" + b"x") - 4 - len(b"x-a") - 4

    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            caller.send(get(b"/live", b"x-a: " + b"a" * room + b"\r\n") + get(b"/live", b"a: 1\r\n" * 15))
            assert [(await caller.answer()).status for _ in range(2)] == [200, 200]
            caller.send(get(b"/live", b"x-a: " + b"a" * (room + 1) + b"\r\n"))
            assert [each.status for each in await caller.rest()] == [431]
            assert [each.status for each in await front_end.send(get(b"/live", b"a: 1\r\n" * 16))] == [431]

    run(check)


def test_limits_count_each_request_of_a_pipeline_for_itself(catalog: Catalog) -> None:
    """Thousands of requests, cut anywhere: no head or body is taken for a part of another."""
    one, count = post(b'{"text": "%s"}' % (b"a" * 14) + b" " * 1500), 300
    data = one * (count - 1) + one.replace(JSON, JSON + CLOSE)

    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            answers = await front_end.send(data)

            assert [answer.status for answer in answers] == [200] * count

    run(check)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_request_in_pieces_is_one_request(catalog: Catalog, size: int) -> None:
    data = post(BODY, id_of(1)) + head(JAVA, id_of(2), CHUNKED) + chunks(BODY) + post(BODY, id_of(3), CLOSE)

    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            for start in range(0, len(data), size):
                caller.send(data[start : start + size])
                await front_end.until(lambda: True)
            answers = await caller.rest()

            assert [answer.status for answer in answers] == [200] * 3
            assert ids(answers) == ["1", "2", "3"]

    run(check)


def test_answers_leave_in_the_order_of_the_requests(catalog: Catalog) -> None:
    """A slow one before a fast one, and a refusal at the end."""
    data = post(BODY, id_of(1)) + get(b"/live", id_of(2)) + post(BODY, id_of(3)) + head(id_of(4), CHUNKED) + b"x\r\n"

    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            answers = await front_end.send(data)

            assert [answer.status for answer in answers] == [200, 200, 200, 400]
            assert ids(answers) == ["1", "2", "3", "4"]

    run(check)


def test_nothing_is_read_after_the_last_request(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            old = post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0\r\nconnection: keep-alive")
            for last in (post(BODY, CLOSE), old):
                answers = await front_end.send(last + post(BODY) + b"garbage")

                assert [answer.status for answer in answers] == [200]

    run(check)


def test_caller_that_waits_to_be_invited_is(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            caller.send(head(b"expect: 100-continue\r\n", b"content-length: 13\r\n"))
            assert [await caller.line(), await caller.line()] == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
            caller.send(BODY)
            assert (await caller.answer()).status == 200

            refused = await front_end.send(head(b"expect: 100-continue\r\n", b"content-length: 9999\r\n"))
            assert [each.status for each in refused] == [413]

    run(check)


def test_head_is_answered_without_a_body_and_pages_as_they_are(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            caller.send(get(b"/docs").replace(b"GET", b"HEAD") + get(b"/openapi.json"))
            without = await caller.line()
            assert without.startswith(b"HTTP/1.1 ")
            while await caller.line() != b"\r\n":
                continue
            assert (await caller.answer()).body.startswith(b'{"openapi"')

    run(check)


def test_answers_carry_a_date_and_no_name_and_do_not_wait_for_more(catalog: Catalog) -> None:
    """Nagle's algorithm would hold a short answer back for up to 40 ms."""

    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            caller.send(get(b"/live"))
            answer = await caller.answer()
            (connection,) = front_end.connections
            handle = connection._transport.get_extra_info("socket")

            assert answer.fields["date"].endswith(" GMT")
            assert "server" not in answer.fields
            assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(check)


def test_fault_of_the_reader_is_answered(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault stands for one that nobody has thought of."""

    def fail(*_: object) -> None:
        raise ValueError("planted")

    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            monkeypatch.setattr(Parser, "feed", fail)
            (answer,) = await front_end.send(post(BODY))

            assert (answer.status, answer.code, answer.fields["connection"]) == (500, "internal_error", "close")

    run(check)
