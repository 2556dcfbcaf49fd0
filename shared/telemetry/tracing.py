"""W3C trace context, carried through topics in the `traceparent` header.

Without a configured provider spans cost next to nothing.
"""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("closeloop")
_OURS = TracerProvider()
_NOT_ZERO = 1 << 64 | 1  # neither the trace nor the span
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


def configure_tracing() -> None:
    """Make real trace ids; once per process. An exporter is added by the operator's OpenTelemetry environment."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(_OURS)


def is_watched() -> bool:
    """Whether somebody may be reading spans: a provider that is not ours."""
    found = trace.get_tracer_provider()
    return found is not _OURS and isinstance(found, TracerProvider)


def trace_onward(traceparent: str | None) -> str | None:
    """The `traceparent` that work without a span of its own hands on where nobody reads spans: of the same trace where
    there is one, as `span` would. None without a configured provider."""
    if trace.get_tracer_provider() is not _OURS:
        return None
    known = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if known:
        return f"00-{known[1]}-{random.getrandbits(64) or 1:016x}-{known[2]}"
    digits = (random.getrandbits(192) | _NOT_ZERO).to_bytes(24).hex()
    return f"00-{digits[:32]}-{digits[32:]}-01"


def current_traceparent() -> str | None:
    """The running trace as a `traceparent` header value, or None outside one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def onward_traceparent(cause: str | None) -> str | None:
    """What goes on with an event: the running span if it is of the trace of its cause (or there is none), else the
    cause's: in a batch every event keeps its own trace."""
    current = current_traceparent()
    if cause is None or (current is not None and current.split("-")[1:2] == cause.split("-")[1:2]):
        return current
    return cause


@contextmanager
def span(name: str, traceparent: str | None = None) -> Iterator[None]:
    """Run a block as a span: a child of `traceparent` where given, else of the current one."""
    parent = _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else context.get_current()
    with _TRACER.start_as_current_span(name, context=parent):
        yield
