"""Has this body more values than any request?

What a body costs to parse depends on how many values it has, not on its bytes: a megabyte of text takes a millisecond,
a megabyte of `[],[],…` takes 200, in which a front end answers nobody. So the values of a long body are counted first,
which takes some 10 ms for 8 MiB, and five times that where they are full of escapes. Numbers side by side are cheaper
than lists, so a body with `vectors` may have more of them.
"""

from app.errors import InvalidRequestError

SHORT_BYTES = 65_536  # parsed in a few milliseconds whatever it holds
SLACK = 16  # times the texts that are allowed: a request of some more texts gets the answer that counts them
FEWEST = 32_768
LISTS = (b"[", b"{")  # each value but the first follows one, or a comma
NUMBERS = 2**18  # of all vectors: some 20 ms


def check(body: bytes, texts: int) -> None:
    """Refuse a body that is too dense; `texts` is how many a request may hold.

    Raises:
        InvalidRequestError: it has far more values than a request may.
    """
    if len(body) <= SHORT_BYTES:
        return
    most = max(FEWEST, SLACK * texts)
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # else a quote in a text would look like its end
    outside = b"".join(body.split(b'"')[::2])
    lists, commas = sum(outside.count(opener) for opener in LISTS), outside.count(b",")
    if body.count(b'"') > 2 * most or lists + commas > most:
        if b'"vectors"' not in body or lists > most or body.count(b'"') > 2 * most:
            raise InvalidRequestError(f"the body has more than {most} values; send at most {texts} texts in a request")
        if commas > NUMBERS:
            raise InvalidRequestError(f"the body has more than {NUMBERS} numbers; send the vectors in several requests")
