"""W3C trace context, carried through topics in the `traceparent` header.

Without a configured provider spans cost next to nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("closeloop")


def configure_tracing() -> None:
    """Make real trace ids; once per process. An exporter is added by the operator's OpenTelemetry environment."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())


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
