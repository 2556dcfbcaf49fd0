"""What is to be fetched from vendors' APIs: stored before the vendor gets its answer, kept where it cannot be had."""

import json
from collections.abc import Mapping, Sequence

from services.ingest import repository
from services.ingest.directory import Source
from services.ingest.sources.base import Wanted
from shared.core.errors import BadRecord
from shared.db.unit_of_work import UnitOfWork
from shared.runtime import dead_letters

SOURCE_HEADER = "closeloop-source"
# What a letter is that was no delivery: `wanted` has what to fetch as its value, `fetched` the answer to what the other
# header has.
_KIND_HEADER = "closeloop-letter"
_WANTED_HEADER = "closeloop-wanted"


async def want(uow: UnitOfWork, source: Source, wanted: Sequence[Wanted]) -> None:
    """Have these fetched."""
    if wanted:
        origin = source.origin
        await repository.want(uow, origin.workspace, origin.source, {one.object: one.detail for one in wanted})


async def park(
    uow: UnitOfWork, source: Source, wanted: Wanted, body: bytes | None, error: BaseException, attempts: int
) -> None:
    """Keep what could not be fetched (`body` None: a replay fetches it), or an answer that was not understood."""
    text = json.dumps({"object": wanted.object, "detail": wanted.detail}).encode()
    headers = [(SOURCE_HEADER, source.origin.source.encode())]
    headers += [(_KIND_HEADER, b"wanted")] if body is None else [(_KIND_HEADER, b"fetched"), (_WANTED_HEADER, text)]
    await dead_letters.park(
        uow,
        origin=dead_letter_origin(source.origin.connector),
        workspace=source.origin.workspace,
        value=text if body is None else body,
        headers=tuple(headers),
        error=error,
        attempts=attempts,
    )


def dead_letter_origin(connector: str) -> str:
    """Where a vendor's body that we could not understand is filed; which source it was stands in its headers."""
    return f"sources/{connector}"


def about(value: bytes, headers: Mapping[str, str]) -> tuple[Wanted | None, bool]:
    """(what a letter is about, whether its value is an answer to that); (None, False) for a delivery. Raises
    BadRecord."""
    kind = headers.get(_KIND_HEADER)
    if kind is None:
        return None, False
    try:
        found = json.loads(value if kind == "wanted" else headers.get(_WANTED_HEADER, ""))
        return Wanted(found["object"], found["detail"]), kind == "fetched"
    except (ValueError, KeyError, TypeError):
        raise BadRecord("does not say what was to be fetched") from None
