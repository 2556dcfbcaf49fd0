"""Files as tables, cells as values, rows as items, refused rows as lines that can be imported again."""

import codecs
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.history.files import look
from services.ingest.history.mapping import ColumnMapping, Converter
from services.ingest.history.parts import Occurrences, parts_of
from services.ingest.history.refusals import RefusedFile, head_of, line_of
from services.ingest.history.tables import Row, Table, rows_of, table_of, written
from services.ingest.history.values import moment, number, orders
from services.ingest.importing import cells_of
from shared.core.errors import Fault, InvalidInput


@pytest.mark.parametrize(
    ("text", "order", "when"),
    [
        ("2024-03-10T14:05:06Z", "ymd", "2024-03-10T14:05:06Z"),
        ("2024-03-10 14:05:06.25+03:00", "ymd", "2024-03-10T11:05:06.250000Z"),
        ("2024-03-10", "ymd", "2024-03-09T21:00:00Z"),
        ("10.03.2024 14:05", "dmy", "2024-03-10T11:05:00Z"),
        ("03/10/2024 12:30:00 AM", "mdy", "2024-03-09T21:30:00Z"),
        ("03/10/2024 12:30 pm", "mdy", "2024-03-10T09:30:00Z"),
        ("2024/3/1", "dmy", "2024-02-29T21:00:00Z"),
        ("1710072306", "dmy", "2024-03-10T12:05:06Z"),
        ("1710072306000", "dmy", "2024-03-10T12:05:06Z"),
        ("۱۴۰۳/۰۱/۰۱ ۰۰:۰۰", "ymd", "2024-03-19T21:00:00Z"),
        ("1399/12/30", "ymd", "2021-03-19T21:00:00Z"),
        ("1404-01-01", "ymd", "2025-03-20T21:00:00Z"),
    ],
)
def test_moments(text: str, order: str, when: str) -> None:
    assert moment(text, order, ZoneInfo("Europe/Istanbul")) == when


@pytest.mark.parametrize(
    "text", ["", "soon", "10.03.24", "31.02.2024", "2024-13-01", "1402/12/30", "2024-03-10 13:05 PM", "10/03-2024", "9"]
)
def test_what_is_no_moment(text: str) -> None:
    assert orders(text) == frozenset()


@settings(deadline=None, max_examples=25)
@given(st.datetimes(datetime(1991, 3, 22), datetime(2032, 1, 1)))  # noqa: DTZ001
def test_days_of_the_persian_calendar_follow_each_other(day: datetime) -> None:
    seen = set()
    for year in (day.year - 622, day.year - 621):
        for month in range(1, 13):
            for number_ in range(1, 32):
                text = f"{year}/{month}/{number_}"
                if orders(text):
                    seen.add(moment(text, "ymd", UTC)[:10])
    assert day.date().isoformat() in seen
    assert len(seen) in (730, 731)


@pytest.mark.parametrize(
    ("text", "value"),
    [("9", 9), ("4,5", 4.5), ("۱۰", 10), ("٧", 7), ("10 - Extremely likely", 10), ("Not at all likely - 0", 0)],
)
def test_numbers(text: str, value: float) -> None:
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "C-1", "nine", "1e3", "9/10", "inf"])
def test_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        number(text)


WORDS = {
    "utf-8": "Çok güzel, sağ ol — عالی",
    "windows-1254": "Çok güzel, sağ ol; ışık İyi",
    "windows-1252": "très bien, café crème",
    "windows-1256": "خيلي خوب بود ولي دير رسيد",
}


@pytest.mark.parametrize(
    ("codec", "mark", "word"),
    [
        ("utf-8", b"", "utf-8"),
        ("utf-8", codecs.BOM_UTF8, "utf-8"),
        ("utf-16-le", codecs.BOM_UTF16_LE, "utf-8"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "utf-8"),
        ("utf-16-le", b"", "windows-1254"),
        ("windows-1254", b"", "windows-1254"),
        ("windows-1252", b"", "windows-1252"),
        ("windows-1256", b"", "windows-1256"),
    ],
)
def test_encodings(tmp_path: Path, codec: str, mark: bytes, word: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(mark + f'id\ttext\r\n1\t"{WORDS[word]}\r\nx"\r\n'.encode(codec))
    looked = look(path)
    assert looked.encoding == codec
    table, rows = table_of(path, looked.encoding, None)
    assert (table.columns, table.delimiter) == (("id", "text"), "\t")
    assert [row.cells["text"].split("\r\n")[0] for row in rows] == [WORDS[word]]


def test_a_broken_line_does_not_decide_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes("text\nçok\ngüzel\n".encode() + b"caf\xe9\n")
    looked = look(path)
    assert looked.encoding == "utf-8"
    _, rows = table_of(path, looked.encoding, None)
    assert [bool(row.faults) for row in rows] == [False, False, True]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no rows"),
        (b"\n \n", "no rows"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"\x1f\x8brest", "compressed"),
        (b'[{"a": 1}]', "JSON array"),
        (b"a\x00b,c\n", "no text"),
        (b" , ,\n", "names no columns"),
        (b"," * 2_000 + b"\n", "2,001 columns"),
        (b'"a\nc,d\n', "header"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=reason):
        table_of(path, look(path).encoding, None)


def test_the_delimiter_is_the_one_that_the_rows_agree_on(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text('"How likely, from 0 to 10, are you?";text\n9;a, b, c\n8;d\n')
    assert table_of(path, "utf-8", None)[0].delimiter == ";"
    path.write_text("sep=;\nonly\n1,2\n")
    assert table_of(path, "utf-8", None)[0].columns == ("only",)


def test_surveymonkeys_two_header_rows(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("Respondent ID,Collector ID,Start Date,Which?,,Why?\n,,,Web,App,Open-Ended Response\n1,2,,Web,,x\n")
    table, rows = table_of(path, "utf-8", None)
    assert table.form == "surveymonkey"
    assert table.columns[3:] == ("Which? | Web", "Which? | App", "Why?")
    assert [row.number for row in rows] == [3]


def test_json_lines_are_tables_of_paths(tmp_path: Path) -> None:
    path = tmp_path / "f.ndjson"
    path.write_text('{"id": 7, "who": {"mail": "a@example.com"}, "r": [1, 2]}\n\n[]\nno\n')
    table, rows = table_of(path, "utf-8", None)
    assert (table.form, table.columns) == ("ndjson", ("id", "who.mail", "r.0", "r.1"))
    assert [(row.number, row.broken) for row in rows] == [(1, False), (3, True), (4, True)]


def item(columns: dict[str, str], cells: dict[str, Any], **more: Any) -> dict[str, Any]:
    return Converter(ColumnMapping(columns=columns, **more)).item(cells)


def test_items() -> None:
    columns = {"n": "nps", "c": "csat 1-10", "First": "customer.name", "Last": "customer.name", "at": "occurred_at",
               "i": "id", "x": "", "Why?": "text", "What?": "text", "t": "touchpoint"}  # fmt: skip
    cells = {"n": "۹", "c": "7,5", "First": "Nora", "Last": "Whitfield", "at": "10.03.2024", "i": "4", "x": "no",
             "Why?": "fast", "What?": "box", "t": " "}  # fmt: skip
    assert item(columns, cells, set={"touchpoint": "delivery"}, dates="dmy", id_prefix="s:") == {
        "ratings": [{"metric": "nps", "value": 9}, {"metric": "csat", "value": 7.5, "scale_min": 1, "scale_max": 10}],
        "customer": {"name": "Nora Whitfield"},
        "occurred_at": "2024-03-10T00:00:00Z",
        "id": "s:4",
        "text": "Why?\nfast\n\nWhat?\nbox",
        "touchpoint": "delivery",
    }


def test_a_column_in_utc_is_in_utc() -> None:
    columns = {"Submit Date (UTC)": "occurred_at"}
    found = item(columns, {"Submit Date (UTC)": "2024-03-10 10:00"}, zone="Europe/Istanbul")
    assert found["occurred_at"] == "2024-03-10T10:00:00Z"


def test_a_fixed_metric_stands_only_beside_a_score() -> None:
    fixed = {"metric": "nps", "ratings.0.metric": "csat"}
    assert item({"s": "score", "t": "text"}, {"s": "", "t": "x"}, set=fixed) == {"text": "x"}
    assert item({"s": "score"}, {"s": "9"}, set={"metric": "nps"}) == {"score": 9, "metric": "nps"}


def test_a_fixed_date_that_is_none_is_a_fault() -> None:
    with pytest.raises(InvalidInput) as caught:
        item({"t": "text"}, {"t": "x"}, set={"occurred_at": "soon"})
    assert [fault.path for fault in caught.value.faults] == ["set"]


def test_a_fault_of_the_endpoint_is_told_by_column() -> None:
    convert = Converter(ColumnMapping(columns={"a": "nps", "b": "csat", "Mail": "customer.email"}))
    cells = {"a": "", "b": "9", "Mail": "x"}
    paths = ("ratings[0].value", "customer.email", "survey.id", "ratings[3].value", "$")
    assert [convert.column_of(cells, path) for path in paths] == ["b", "Mail", "survey.id", "ratings[3].value", "$"]


def test_faults_name_columns_and_keys_that_nobody_mapped() -> None:
    with pytest.raises(InvalidInput) as caught:
        item({"n": "nps", "at": "occurred_at"}, {"n": "nine", "at": "", "neu": 1, "segment": "vip"})
    assert [fault.path for fault in caught.value.faults] == ["n", "neu", "at"]


def parted(rows: Sequence[Row], after: int = 0) -> list[bytes]:
    with Occurrences(len(rows)) as occurrences:
        convert = Converter(ColumnMapping(columns={"t": "text", "i": "id"}))
        return [line for part in parts_of(rows, convert, "f.csv", occurrences, after=after) for line in part.lines]


def test_ids_repeat_and_tell_equal_rows_apart() -> None:
    rows = [Row(number, text, {"t": text}, text) for number, text in enumerate(["a", "b", "a", "a"], start=2)]
    whole = parted(rows)
    assert len(set(whole)) == 4
    assert parted(rows, after=3) == whole[2:], "behind a resume the same rows have the same ids"
    assert parted([rows[1], rows[0]]) == [whole[1], whole[0]]
    own = parted([Row(1, "", {"t": "a", "i": "7"}), Row(2, "", {"t": "a", "i": ""}, "a")])
    assert b'"id":"7"' in own[0]
    assert own[1] == whole[0]


@given(st.lists(st.integers(0, 5), max_size=60))
def test_occurrences_count_like_a_dictionary(keys: list[int]) -> None:
    counts: dict[int, int] = {}
    with Occurrences(len(keys)) as occurrences:
        for key in keys:
            # the same low bits: they meet in one slot
            assert occurrences.count((key << 32).to_bytes(8)) == counts.get(key, 0)
            counts[key] = counts.get(key, 0) + 1


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_written_cells_are_read_back(cells: list[str]) -> None:
    if cells != [""]:
        assert cells_of(written(cells, ";"), ";") == cells


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("f.csv", 'a,b\n1," x ""y"""\n2,3,4\n5,"open\n6,7\n', ['1," x ""y"""', "2,3,4", '"5,""open"', "6,7"]),
        ("f.ndjson", '{"a": 1}\n{}\nno\n', ['"a": 1}', "}", '"closeloop_text": "no"}']),
    ],
)
def test_refused_rows_stand_as_they_were_and_are_read_again(
    tmp_path: Path, name: str, text: str, kept: list[str]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    table, _ = table_of(path, "utf-8", None)
    rows = list(rows_of(path, table))
    lines = [line_of(table, row, [Fault("a", 'is, "odd"')]) for row in rows]
    assert [line.endswith(f"{end}\n") for line, end in zip(lines, kept, strict=True)] == [True] * len(kept)
    again = tmp_path / f"{name}.refused"
    again.write_text(head_of(table) + "".join(lines))
    looked = look(again)
    table2, _ = table_of(again, looked.encoding, None)
    rows2 = list(rows_of(again, table2))
    assert table2.columns == table.columns
    assert [row.cells for row in rows2] == [row.cells for row in rows]
    assert [row.content for row, old in zip(rows2, rows, strict=True) if not old.broken] == [
        row.content for row in rows if not row.broken
    ]


def test_the_refused_file_is_cut_back_but_never_what_somebody_mends(tmp_path: Path) -> None:
    source, path = tmp_path / "f.csv", tmp_path / "f.csv.refused.csv"
    source.write_text("a,b\n1,2\n")
    source.chmod(0o600)
    table, rows = table_of(source, "utf-8", None)
    refused = [(rows[0], [Fault("a", "no")])]
    first = RefusedFile(path, table, 0, source)
    first.add([])
    assert not path.exists()
    first.add(refused)
    first.add(refused)
    assert path.stat().st_mode & 0o777 == 0o600
    whole = path.read_bytes()
    assert (first.size, whole.count(b"closeloop_line")) == (len(whole), 1)
    cut = RefusedFile(path, table, len(whole) - len(b"2,a: no,1,2\n"), source)
    cut.add(refused)
    assert path.read_bytes() == whole
    path.write_bytes(b"mended")
    RefusedFile(path, table, len(whole), source).add(refused)
    assert path.with_name("f.csv.refused.csv.old").read_bytes() == b"mended"
    assert path.read_bytes().startswith(b"\xef\xbb\xbfcloseloop_line")


SIGNS = st.text(alphabet=',;\t"\n\r ab1{}[]:\\é\ufeff\u2028', max_size=80)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(head=st.sampled_from(["a,b\n", "a;b\n", '{"a": 1}\n']), rest=SIGNS)
def test_any_rows_can_be_refused_and_read_again(tmp_path: Path, head: str, rest: str) -> None:
    path = tmp_path / "f"
    path.write_bytes((head + rest).encode())
    table, _ = table_of(path, "utf-8", None)
    rows = list(rows_of(path, table))
    again = tmp_path / "again"
    again.write_bytes((head_of(table) + "".join(line_of(table, row, [Fault("a", "no")]) for row in rows)).encode())
    if not rows:
        return
    table2, _ = table_of(again, look(again).encoding, None)
    rows2 = list(rows_of(again, table2))
    assert [bool(row.faults) for row in rows2] == [bool(row.faults) for row in rows]
    assert [row.cells for row in rows2] == [row.cells for row in rows]


def test_a_table_of_rows_that_begin_in_the_middle_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"a,b\n" + b"x" * 300_000 + b"\n1,2\n")
    table = Table("csv", "utf-8", ("a", "b"), first=2)
    assert [(row.number, row.broken) for row in rows_of(path, table)] == [(2, True), (3, False)]
