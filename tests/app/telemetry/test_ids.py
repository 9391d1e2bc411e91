import pytest

from app.telemetry.ids import accept_request_id, accept_trace

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize("sent", ["a", "A-1", "x" * 64])
def test_well_formed_request_id_is_kept(sent: str) -> None:
    assert accept_request_id(sent) == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 65, "a b", "a\nb", "a\n", "é", '"}'])
def test_any_other_request_id_is_replaced(sent: str | None) -> None:
    made = accept_request_id(sent)

    assert made != sent
    assert accept_request_id(made) == made


def test_trace_goes_on_with_a_span_of_our_own() -> None:
    trace = accept_trace(f"00-{TRACE}-{SPAN}-01")

    assert (trace.trace_id, trace.flags) == (TRACE, "01")
    assert trace.span_id != SPAN
    assert trace.header == f"00-{TRACE}-{trace.span_id}-01"


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        f"01-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_malformed_traceparent_begins_a_new_trace(sent: str | None) -> None:
    trace = accept_trace(sent)

    assert trace.trace_id != TRACE
    assert accept_trace(trace.header).trace_id == trace.trace_id
