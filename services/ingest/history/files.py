"""What a file is, found out in one pass: its digest, its encoding, how many lines it has at most.

The rule for encodings: a byte-order mark decides; else many zero bytes are UTF-16; else it is UTF-8 where most lines
with other letters than ASCII are that; else Windows-1256 (Arabic, Persian) where most such letters stand side by side,
Windows-1254 (Turkish) where one of the six letters by which it differs from Windows-1252 occurs, else Windows-1252.
"""

import codecs
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from services.ingest.importing import Lines
from shared.core.errors import InvalidInput

Encoding = Literal["utf-8", "utf-16-le", "utf-16-be", "windows-1252", "windows-1254", "windows-1256"]
ENCODINGS: tuple[str, ...] = get_args(Encoding)
_MARKS: dict[bytes, Encoding] = {
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"
}  # fmt: skip
_CHUNK = 256 * 1024
_HIGH = re.compile(rb"[\x80-\xff]")
_SIDE_BY_SIDE = re.compile(rb"[\x80-\xff]{2,}")
_TURKISH = re.compile(rb"[\xd0\xdd\xde\xf0\xfd\xfe]")
# As many bytes of lines that are not UTF-8 are looked at.
_LOOK_BYTES = 1024 * 1024
_PACKED = {b"PK\x03\x04": "a spreadsheet or an archive; save it as CSV", b"\x1f\x8b": "compressed; unpack it first",
           b"\xd0\xcf\x11\xe0": "an old spreadsheet; save it as CSV"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Looked:
    """A file as it is now. `lines` is an upper bound."""

    digest: str
    bytes: int
    lines: int
    encoding: Encoding


@dataclass(slots=True)
class _Letters:
    """Counts that tell encodings apart."""

    utf8: int = 0
    other: int = 0
    looked: int = 0
    high: int = 0
    side_by_side: int = 0
    turkish: bool = False

    def see(self, line: bytes) -> None:
        try:
            line.decode()
            self.utf8 += 1
        except UnicodeDecodeError:
            self.other += 1
            if self.looked < _LOOK_BYTES:
                self.looked += len(line)
                self.high += len(_HIGH.findall(line))
                self.side_by_side += sum(map(len, _SIDE_BY_SIDE.findall(line)))
                self.turkish = self.turkish or bool(_TURKISH.search(line))

    def encoding(self) -> Encoding:
        if self.utf8 >= self.other:
            return "utf-8"
        if self.side_by_side * 2 > self.high:
            return "windows-1256"
        return "windows-1254" if self.turkish else "windows-1252"


def look(path: Path) -> Looked:
    """Read a file once. Raises InvalidInput for what is no text, OSError for what cannot be read."""
    digest, letters, size, lines, start = hashlib.sha256(), _Letters(), 0, 1, b""
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            start = start or chunk[:4096]
            digest.update(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n")
            *whole, rest = (rest[-_CHUNK:] + chunk).split(b"\n")
            for line in whole:
                if not line.isascii():
                    letters.see(line)
    if not rest.isascii():
        letters.see(rest)
    return Looked(digest.hexdigest(), size, lines, _marked(start) or letters.encoding())


def _marked(start: bytes) -> Encoding | None:
    for magic, what in _PACKED.items():
        if start.startswith(magic):
            raise InvalidInput(f"the file is {what}")
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    zeros = start.count(0)
    if zeros * 4 < len(start) or zeros == 0:
        return None
    return "utf-16-le" if start[1::2].count(0) >= start[::2].count(0) else "utf-16-be"


@dataclass(slots=True)
class Line:
    """A logical line: by a quote that is open it goes over several. `fault` says why it cannot be read; `end` is the
    place in the file, in bytes, up to which was read."""

    number: int
    text: str
    fault: str | None = field(default=None)
    end: int = 0


def lines_of(path: Path, encoding: Encoding, *, multiline: bool) -> Iterator[Line]:
    """The lines that are not blank, in bounded memory whatever the file's size."""
    cutter = Lines(multiline=multiline)
    with path.open("rb") as file:
        for chunk in _as_utf8(file, encoding):
            end = file.tell()
            for number, line in cutter.feed(chunk):
                yield from _line(number, line, encoding, end)
        end = file.tell()
        for number, line in cutter.close():
            yield from _line(number, line, encoding, end)


def _line(number: int, raw: bytes | None, encoding: Encoding, end: int) -> Iterator[Line]:
    if raw is None:
        yield Line(number, "", "is longer than 64 KiB; its text is not kept here", end)
        return
    raw = raw.removesuffix(b"\r")
    if not raw.strip():
        return
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        yield Line(number, raw.decode(errors="backslashreplace"), f"is not UTF-8 at byte {error.start}", end)
        return
    strange = encoding != "utf-8" and "\ufffd" in text
    yield Line(number, text, f"has bytes that are not {encoding}" if strange else None, end)


def _as_utf8(file: BinaryIO, encoding: Encoding) -> Iterator[bytes]:
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)(errors="replace")
    first = True
    while chunk := file.read(_CHUNK):
        if first:
            mark = next((mark for mark, of in _MARKS.items() if of == encoding and chunk.startswith(mark)), b"")
            chunk, first = chunk[len(mark) :], False
        yield chunk if decoder is None else decoder.decode(chunk).encode(errors="replace")
    if decoder is not None:
        yield decoder.decode(b"", final=True).encode(errors="replace")
