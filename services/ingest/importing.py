"""Bulk import: NDJSON or CSV line by line, in bounded memory, published in batches while it is read."""

import asyncio
import csv
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from starlette.requests import ClientDisconnect

from services.ingest.canonical import Origin, Refused, event_of
from services.ingest.decoding import clean_text, decode_json, invalid, text_of
from services.ingest.quick import QuickWay
from services.ingest.service import IngestService
from services.ingest.sources.base import place
from services.ingest.sources.targets import Steps, target
from shared.bus import codec
from shared.bus.port import Message
from shared.core.clock import rfc3339, utc_now
from shared.core.errors import Fault, InvalidInput, Unavailable

LINE_LIMIT_BYTES = 64 * 1024
# Large enough for each partition's part to be worth its batch; of long lines there are fewer, for the sake of memory.
_BATCH = 1000
_BATCH_BYTES = 1024 * 1024
MAX_REFUSALS = 100
_MAX_FAULTS_PER_LINE = 10
DELIMITERS = (",", ";", "\t")
_Line = tuple[int, bytes | None]


@dataclass(slots=True)
class Report:
    """What became of the lines. `refusals` holds the first `max_refusals`; `refusals_cut` says that there are more."""

    max_refusals: int = MAX_REFUSALS
    accepted: int = 0
    refused: int = 0
    refusals: list[tuple[int, list[Fault]]] = field(default_factory=list)
    refusals_cut: bool = False

    def refuse(self, line: int, faults: list[Fault]) -> None:
        """Count a line that was not accepted."""
        self.refused += 1
        if len(self.refusals) < self.max_refusals:
            self.refusals.append((line, faults[:_MAX_FAULTS_PER_LINE]))
        else:
            self.refusals_cut = True


class Format(Protocol):
    """Turns one logical line into an item."""

    multiline: bool

    def item(self, line: bytes) -> Any:
        """The item, or None for a line that holds none. Raises InvalidInput."""
        ...


class Ndjson:
    """A JSON object a line."""

    multiline = False

    def item(self, line: bytes) -> Any:
        """See Format."""
        value = decode_json(line)
        if not isinstance(value, dict):
            raise invalid([Fault("$", "must be an object")])
        return value


class Csv:
    """A header of field names (`customer.email`, `ratings.0.value`), then a row a record; an empty cell is absent.

    Comma, semicolon and tab are told apart by the header; the byte-order mark that spreadsheets write is taken off.
    """

    multiline = True

    def __init__(self) -> None:
        self._columns: list[Steps] | None = None
        self._delimiter = ","

    def item(self, line: bytes) -> Any:
        """See Format. Raises BadHeader for a header that names what is no field."""
        if self._columns is None:
            self._columns = self._header(line.removeprefix(b"\xef\xbb\xbf"))
            return None
        cells = cells_of(text_of(line), self._delimiter)
        if len(cells) != len(self._columns):
            raise invalid([Fault("$", f"has {len(cells)} cells; the header has {len(self._columns)}")])
        item: dict[str, Any] = {}
        for steps, cell in zip(self._columns, cells, strict=True):
            if text := cell.strip():
                try:
                    place(item, steps, clean_text(text))
                except ValueError as error:
                    raise invalid([Fault(".".join(map(str, steps)), str(error))]) from None
        return item

    def _header(self, line: bytes) -> list[Steps]:
        text = text_of(line)
        self._delimiter = max(DELIMITERS, key=text.count)
        columns: list[Steps] = []
        faults: list[Fault] = []
        for number, name in enumerate(cells_of(text, self._delimiter), start=1):
            try:
                columns.append(target(name.strip()))
            except ValueError as error:
                faults.append(Fault(f"line 1, column {number}", str(error)))
        if len(set(columns)) != len(columns):
            faults.append(Fault("line 1", "names a column twice"))
        if faults:
            raise BadHeader("The header of the CSV cannot be read; nothing was stored.", faults=faults[:20])
        return columns


def cells_of(text: str, delimiter: str) -> list[str]:
    """The cells of one row. Raises InvalidInput."""
    try:
        rows = list(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise invalid([Fault("$", f"is not CSV: {error}")]) from None
    return rows[0] if rows else []


class BadHeader(InvalidInput):
    """The CSV's first line: without it no row means anything."""


class Lines:
    """Cuts chunks into logical lines, numbered by their first physical line, in bounded memory.

    With `multiline` a line goes on where a quote is open. A quote that nothing closes within the limit costs its own
    line only: those after it are read again as lines of their own.
    """

    def __init__(self, *, multiline: bool) -> None:
        self._multiline = multiline
        self._rest = b""
        self._dropping = False
        self._number = 0
        self._held: list[tuple[int, bytes]] = []
        self._held_bytes = 0
        self._open = False

    def feed(self, chunk: bytes) -> list[_Line]:
        """Lines that are complete now; None for one over the limit, whose bytes were dropped as they came."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if self._multiline or self._dropping or max(map(len, whole), default=0) > LINE_LIMIT_BYTES:
            found = [line for part in whole for line in self._end_of_line(part)]
        else:
            found = list(enumerate(whole, self._number + 1))
            self._number += len(whole)
        if len(self._rest) > LINE_LIMIT_BYTES:
            self._rest, self._dropping = b"", True
        return found

    def close(self) -> list[_Line]:
        """What is left where no newline ended it."""
        found = list(self._end_of_line(self._rest)) if self._rest or self._dropping else []
        self._rest = b""
        while self._held:
            found += self._give_up()
        return found

    def _end_of_line(self, part: bytes) -> Iterator[_Line]:
        self._number += 1
        if self._dropping or len(part) > LINE_LIMIT_BYTES:
            self._dropping = False
            while self._held:
                yield from self._give_up()
            yield self._number, None
        elif not self._multiline:
            yield self._number, part
        else:
            yield from self._hold(self._number, part)

    def _hold(self, number: int, part: bytes) -> Iterator[_Line]:
        self._held.append((number, part))
        self._held_bytes += len(part) + 1
        self._open ^= bool(part.count(b'"') % 2)
        if not self._open:
            first, line = self._held[0][0], b"\n".join(held for _, held in self._held)
            self._forget()
            yield first, line
        elif self._held_bytes > LINE_LIMIT_BYTES:
            yield from self._give_up()

    def _give_up(self) -> Iterator[_Line]:
        (number, part), *others = self._held
        self._forget()
        yield number, part
        for later, other in others:
            yield from self._hold(later, other)

    def _forget(self) -> None:
        self._held, self._held_bytes, self._open = [], 0, False


async def run_import(
    service: IngestService,
    chunks: AsyncIterator[bytes],
    form: Format,
    origin: Origin,
    *,
    traceparent: str | None = None,
    max_refusals: int = MAX_REFUSALS,
) -> Report:
    """Publish what is good, count what is not. Every line counted as accepted is durable when this returns.

    Raises Unavailable with the counts so far; sending the file again is safe, because ids repeat.
    """
    report = Report(max_refusals)
    lines = Lines(multiline=form.multiline)
    reading = _Reading(form, origin, report, traceparent)
    way_out = _WayOut(service, origin, report)

    async def take(found: Sequence[_Line]) -> None:
        for at in range(0, len(found), _BATCH):  # others wait for their turn while it is worked on
            some = found[at : at + _BATCH]
            await way_out.take(reading.messages(some), sum(len(line or b"") for _, line in some))

    try:
        async for chunk in chunks:
            await take(lines.feed(chunk))
        await take(lines.close())
    except ClientDisconnect:
        await way_out.close()  # what was read whole is kept; it is the same when it comes again
        raise
    except BaseException:
        way_out.give_up()
        raise
    await way_out.close()
    return report


class _WayOut:
    """Publishes batches, one while the next is read."""

    def __init__(self, service: IngestService, origin: Origin, report: Report) -> None:
        self._batch: list[Message] = []
        self._batch_bytes = 0
        self._service = service
        self._origin = origin
        self._report = report
        self._under_way: asyncio.Task[int] | None = None

    async def take(self, messages: list[Message], size: int) -> None:
        """What so many bytes of lines have brought. Raises Unavailable with the counts so far."""
        self._batch += messages
        self._batch_bytes += size
        if len(self._batch) >= _BATCH or self._batch_bytes >= _BATCH_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        """Send the batch off once the one before is durable."""
        await self._landed()
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        self._under_way = asyncio.create_task(self._publish(batch), name="import batch")

    async def close(self) -> None:
        """All of it is durable. Raises Unavailable."""
        await self._flush()
        await self._landed()

    def give_up(self) -> None:
        """Nobody waits any more."""
        if self._under_way is not None:
            self._under_way.cancel()

    async def _publish(self, batch: list[Message]) -> int:
        await self._service.publish(batch, self._origin)
        return len(batch)

    async def _landed(self) -> None:
        if self._under_way is None:
            return
        task, self._under_way = self._under_way, None
        try:
            self._report.accepted += await task
        except Unavailable as error:
            accepted = f"{self._report.accepted} lines are accepted"
            raise Unavailable(
                f"{error.detail}; {accepted}; send the file again, what is in is not doubled",
                retry_after_seconds=error.retry_after_seconds,
            ) from error


class _Reading:
    """Lines to messages: those in the public form the quick way, once the whole way has met their like."""

    def __init__(self, form: Format, origin: Origin, report: Report, traceparent: str | None) -> None:
        self._form = form
        self._origin = origin
        self._report = report
        self._traceparent = traceparent
        self._quick = QuickWay(origin) if isinstance(form, Ndjson) else None

    def messages(self, lines: Sequence[_Line]) -> list[Message]:
        """Those of good lines; what is read in one piece is received at one moment. Raises BadHeader."""
        now = utc_now()
        stamp = rfc3339(now)
        found = self._quickly([line or b"" for _, line in lines], now, stamp)
        has_learnt = False
        for at in [at for at, message in enumerate(found) if message is None]:
            number, line = lines[at]
            if line is not None and has_learnt:
                [found[at]] = self._quickly([line], now, stamp)
            if found[at] is None:
                found[at] = self._whole(number, line, now)
                has_learnt = has_learnt or found[at] is not None
        return [message for message in found if message is not None]

    def _quickly(self, lines: Sequence[bytes], now: datetime, stamp: str) -> list[Message | None]:
        if self._quick is None:
            return [None] * len(lines)
        return self._quick.records(lines, now, stamp, [self._traceparent] * len(lines) if self._traceparent else ())

    def _whole(self, number: int, line: bytes | None, now: datetime) -> Message | None:
        """The message of a line, or None: it is empty, or refused and counted. Raises BadHeader."""
        if line is None:
            self._report.refuse(number, [Fault("$", f"is longer than {LINE_LIMIT_BYTES // 1024} KiB")])
            return None
        if not line.strip():
            return None
        try:
            item = self._form.item(line)
            if item is None:
                return None
            event = event_of(item, self._origin, now, traceparent=self._traceparent)
        except BadHeader:
            raise
        except InvalidInput as error:
            self._report.refuse(number, list(error.faults))
        except Refused as refused:
            self._report.refuse(number, refused.faults)
        else:
            if self._quick is not None:
                self._quick.learn(line, event)
            return codec.encode(event)
        return None
