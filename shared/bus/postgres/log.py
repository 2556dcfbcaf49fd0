"""Topics and records of the Postgres bus: ids of partitions, how records are read, how headers lie in a column."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from shared.bus.port import Headers, OffsetOutOfRange, PlainRecord, Record, TopicPartition
from shared.bus.postgres.link import Link
from shared.core.errors import NotFound

# What one read holds at most, whatever the backlog: the share of a partition is this by the partitions that have any.
READ_BYTES = 8 * 1024 * 1024
READ_RECORDS = 20_000
_LENGTHS = struct.Struct("<II")

# One round trip for all partitions of a member. `busy` are those with records to read (or a position that is wrong,
# which comes back as a row without an offset); each gets an equal share of the bytes and at least one record, so that
# no partition starves another. The sum never reads the values: their length stands in the row.
_READ = """
with busy as (
    select w.id, w.position, p.first_offset, p.next_offset, count(*) over () as n
    from unnest($1::int[], $2::bigint[]) w (id, position) join bus.partition p using (id)
    where p.next_offset <> w.position or p.first_offset > w.position
)
select b.id, b.first_offset, b.next_offset, r."offset", r.key, r.value, r.headers
from busy b left join lateral (
    select sized.* from (
        select page.*, sum(page.size) over (order by page."offset") - page.size as before
        from (
            select *, octet_length(key) + octet_length(value) + octet_length(headers) as size
            from bus.record where partition_id = b.id and "offset" >= b.position
            order by "offset" limit least($3::bigint, greatest(1, $5::bigint / b.n))
        ) page
    ) sized
    where sized.before < $4::bigint / b.n
    order by sized."offset"
) r on b.first_offset <= b.position and b.position < b.next_offset
"""


class Position(NamedTuple):
    """Where to read on in a partition."""

    id: int
    partition: TopicPartition
    offset: int


def pack_headers(headers: Iterable[tuple[str, bytes]]) -> bytes:
    """Headers as one byte string that keeps order, repeats and bytes: (length, length, name, value) each."""
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode()
        parts += (_LENGTHS.pack(len(encoded), len(value)), encoded, value)
    return b"".join(parts)


def unpack_headers(packed: bytes) -> Headers:
    """The inverse of `pack_headers`."""
    headers: list[tuple[str, bytes]] = []
    at = 0
    while at < len(packed):
        name_length, value_length = _LENGTHS.unpack_from(packed, at)
        middle = at + _LENGTHS.size + name_length
        at = middle + value_length
        headers.append((packed[middle - name_length : middle].decode(), packed[middle:at]))
    return tuple(headers)


@dataclass(slots=True)
class Catalog:
    """Ids of partitions; they never change, so each topic is asked for once."""

    link: Link
    known: dict[str, tuple[int, ...]]

    async def ids(self, topic: str) -> tuple[int, ...]:
        """The id of each partition of `topic`, in order. Raises NotFound, BusUnavailable."""
        if (ids := self.known.get(topic)) is None:
            rows = await self.link.fetch("select id from bus.partition where topic = $1 order by partition", topic)
            if not rows:
                raise NotFound(f"the topic {topic!r} does not exist; create it first")
            ids = self.known[topic] = tuple(row[0] for row in rows)
        return ids

    async def id(self, partition: TopicPartition) -> int:
        """The id of one partition. Raises NotFound, BusUnavailable."""
        ids = await self.ids(partition.topic)
        if not 0 <= partition.partition < len(ids):
            raise NotFound(f"{partition.topic} has no partition {partition.partition}")
        return ids[partition.partition]


async def read(link: Link, positions: Iterable[Position], max_records: int) -> dict[TopicPartition, list[Record]]:
    """What follows each position, at most `max_records` a partition and READ_BYTES (or one record each) in all.
    Raises OffsetOutOfRange for a position before the first kept record or behind the end, BusUnavailable."""
    wanted = {position.id: position for position in positions}
    offsets = [position.offset for position in wanted.values()]
    rows = await link.fetch(_READ, list(wanted), offsets, max_records, READ_BYTES, READ_RECORDS)
    found: dict[TopicPartition, list[Record]] = {}
    for id_, first, after_last, offset, key, value, headers in rows:
        position = wanted[id_]
        topic, number = position.partition
        if offset is None:
            raise OffsetOutOfRange(
                f"offset {position.offset} of {topic}/{number} is not in the log, which has {first} to {after_last}"
            )
        record = PlainRecord(topic, number, offset, key, value, unpack_headers(headers))
        found.setdefault(position.partition, []).append(record)
    _check_contiguous(wanted.values(), found)
    return found


def _check_contiguous(positions: Iterable[Position], found: Mapping[TopicPartition, list[Record]]) -> None:
    """A gap means that records were lost (by hand, or by a bug): never read over it."""
    for position in positions:
        records = found.get(position.partition)
        if records and (records[0].offset, records[-1].offset) != (position.offset, position.offset + len(records) - 1):
            raise OffsetOutOfRange(f"the log of {position.partition} has a gap after offset {position.offset}")
