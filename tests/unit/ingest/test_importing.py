from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.canonical import Origin
from services.ingest.importing import LINE_LIMIT_BYTES, BadHeader, Csv, Lines, Ndjson, run_import
from services.ingest.sources.targets import NAMES
from shared.bus.port import Message
from shared.core.errors import InvalidInput


def cut(chunks: list[bytes], *, multiline: bool = False) -> list[tuple[int, bytes | None]]:
    lines = Lines(multiline=multiline)

    def found() -> Iterator[tuple[int, bytes | None]]:
        for chunk in chunks:
            yield from lines.feed(chunk)
        yield from lines.close()

    return list(found())


@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_lines_do_not_depend_on_how_they_are_chunked(parts: list[bytes], size: int) -> None:
    whole = b"\n".join(parts)
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert cut(chunks) == cut([whole])
    assert cut(chunks, multiline=True) == cut([whole], multiline=True)
    assert b"\n".join(line for _, line in cut(chunks) if line is not None) == whole.removesuffix(b"\n")


def test_numbers_count_physical_lines_from_one() -> None:
    assert cut([b'a,"b\nc"\nd\n'], multiline=True) == [(1, b'a,"b\nc"'), (3, b"d")]


def test_a_line_over_the_limit_is_dropped_and_the_next_one_read() -> None:
    long = b"x" * (LINE_LIMIT_BYTES + 1)
    assert cut([b"a\n", *[long[:10_000]] * 20, b"\nb"]) == [(1, b"a"), (2, None), (3, b"b")]
    assert cut([long]) == [(1, None)]
    assert cut([long[1:] + b"\nb\n"]) == [(1, long[1:]), (2, b"b")]


def test_memory_is_bounded_by_the_limit() -> None:
    lines = Lines(multiline=True)
    for _ in range(100):
        assert list(lines.feed(b"x" * 10_000)) == []
        assert len(lines._rest) <= LINE_LIMIT_BYTES + 10_000


def test_a_quote_that_nothing_closes_costs_one_line() -> None:
    good = b"1,fine"
    rows = [b'0,"never closed', *[good] * 20_000]
    found = cut([b"\n".join(rows)], multiline=True)
    assert found[0] == (1, rows[0])
    assert found[1:] == [(number, good) for number in range(2, 20_002)]


class Kept:
    """Stands where the service publishes; its bus takes everything at once."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    async def publish(self, messages: Sequence[Message], origin: Origin) -> None:
        self.batches.append(len(messages))


@pytest.mark.parametrize("short", [True, False])
async def test_batches_are_bounded_however_much_comes_at_once(short: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        words = "x" if short else "x" * 30_000
        yield b"".join(b'{"id":"%d","channel":"a","text":"%s"}\n' % (n, words.encode()) for n in range(4500))

    kept = Kept()
    report = await run_import(kept, chunks(), Ndjson(), Origin("lale", "import", "ndjson"))  # type: ignore[arg-type]
    assert (report.accepted, report.refused) == (4500, 0)
    assert sum(kept.batches) == 4500
    assert max(kept.batches) <= 1000


def rows(*lines: str | bytes) -> list[object]:
    form = Csv()
    return [form.item(line if isinstance(line, bytes) else line.encode()) for line in lines][1:]


def test_csv_maps_dotted_columns_and_leaves_empty_cells_out() -> None:
    header = "id,customer.email,ratings.0.metric,ratings.0.value,ratings[1].metric,ratings.1.value,text"
    assert rows(header, '7,a@b,nps,9,csat,5,"Hi, ""you""\nthere"', "8,,nps,1,,,") == [
        {
            "id": "7",
            "customer": {"email": "a@b"},
            "ratings": [{"metric": "nps", "value": "9"}, {"metric": "csat", "value": "5"}],
            "text": 'Hi, "you"\nthere',
        },
        {"id": "8", "ratings": [{"metric": "nps", "value": "1"}]},
    ]


@pytest.mark.parametrize("header", ["\ufeffid,text", "id;text", "id\ttext", "id,text\r", '"id","text"'])
def test_csv_reads_what_spreadsheets_write(header: str) -> None:
    row = "7" + (";" if ";" in header else "\t" if "\t" in header else ",") + "cafe\u0301"
    assert rows(header, row) == [{"id": "7", "text": "caf\u00e9"}]


@pytest.mark.parametrize(
    ("header", "reason"), [("id,txt", "there are: "), ("id,id", "twice"), ("id,,text", "not a"), ("a[,b", "not a path")]
)
def test_csv_header_must_name_fields(header: str, reason: str) -> None:
    with pytest.raises(BadHeader) as caught:
        rows(header)
    assert reason in str(caught.value.faults)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("7", "has 1 cells; the header has 2"),
        ('7,"open', "is not CSV"),
        ("7,a\x00b", "U+0000"),
        (b"7,\xff", "not UTF-8"),
        ('7,"a"b', "is not CSV"),
    ],
)
def test_csv_rows_that_do_not_fit_are_refused(row: str | bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rows("id,text", row)
    assert reason in str(caught.value.faults)


def test_ratings_of_a_row_begin_with_the_first() -> None:
    with pytest.raises(InvalidInput) as caught:
        rows("text,ratings.1.value", "a,5")
    assert "does not fit" in str(caught.value.faults)


def test_ndjson_takes_objects() -> None:
    assert Ndjson().item(b'{"text": "a"}\r') == {"text": "a"}
    with pytest.raises(InvalidInput):
        Ndjson().item(b"[]")


def test_names_of_fields() -> None:
    assert {"customer.email", "ratings.0.value", "survey.type", "score", "text"} <= NAMES
    assert "customer" not in NAMES
