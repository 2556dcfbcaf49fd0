"""Trace context: what comes in with an event goes out with what it causes, each event in its own trace."""

import subprocess
import sys

from shared.bus import codec
from shared.contracts.examples import examples
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.telemetry.tracing import current_traceparent, onward_traceparent, span

ONE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1af7651916cd43dd8448eb211c80319d-c7ad6b7169203332-01"


def trace_of(traceparent: str | None) -> str | None:
    return None if traceparent is None else traceparent.split("-")[1]


def test_nothing_runs_outside_a_span() -> None:
    assert current_traceparent() is None
    assert onward_traceparent(None) is None


def test_a_span_is_of_the_trace_that_it_is_given() -> None:
    with span("work", ONE):
        assert trace_of(current_traceparent()) == trace_of(ONE)
        with span("inner"):
            assert trace_of(current_traceparent()) == trace_of(ONE)
    assert current_traceparent() is None


def test_a_malformed_header_begins_a_trace_of_its_own() -> None:
    with span("work", "garbage"):
        assert trace_of(current_traceparent()) != "garbage"


def test_in_a_batch_every_event_keeps_its_own_trace() -> None:
    with span("batch", ONE):
        assert trace_of(onward_traceparent(ONE)) == trace_of(ONE)
        assert onward_traceparent(OTHER) == OTHER
        assert trace_of(onward_traceparent(None)) == trace_of(ONE)


def test_the_header_of_an_encoded_event() -> None:
    from dataclasses import replace

    event = replace(examples(FeedbackReceivedV1)[0], traceparent=OTHER)
    with span("batch", ONE):
        headers = dict(codec.encode(event).headers)
    assert headers["traceparent"].decode() == OTHER


def test_with_a_provider_what_goes_on_names_our_span() -> None:
    """In a process of its own: a provider cannot be taken back."""
    program = (
        "from shared.telemetry.tracing import *\n"
        "configure_tracing(); configure_tracing()\n"
        f"one = {ONE!r}\n"
        "with span('work', one):\n"
        "    ours = onward_traceparent(one)\n"
        "assert ours.split('-')[1] == one.split('-')[1], ours\n"
        "assert ours.split('-')[2] != one.split('-')[2], ours\n"
        "with span('fresh'):\n"
        "    assert onward_traceparent(None)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
