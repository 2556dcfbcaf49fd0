"""Which column is which field: by name in three languages, by contents, and what is not guessed."""

from pathlib import Path

import pytest

from services.ingest.history.guessing import guess, samples_of, settled
from services.ingest.history.mapping import ColumnMapping, corrected
from services.ingest.history.tables import Table, table_of
from services.ingest.history.words import fold
from shared.core.errors import InvalidInput


def read(folder: Path, text: str, name: str = "after-delivery.csv") -> tuple[Table, dict[str, list[str]]]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    table, rows = table_of(path, "utf-8", None)
    return table, samples_of(table.columns, [row.cells for row in rows])


def guessed(folder: Path, text: str) -> ColumnMapping:
    table, samples = read(folder, text)
    return guess(table.form, samples, "after-delivery")


ENGLISH = """Response ID,Date,Name,E-mail,Phone,NPS,Comment,Department,Product,Language,Notes
R-1,2024-03-10 14:05,Nora Whitfield,nora@example.com,+44 20 7946 0000,9,Quick,support,Lamp,en,x
"""
TURKISH = """Yanıt No;Tarih;Ad Soyad;E-posta;Telefon;Tavsiye puanı;Yorum;Departman;Ürün;Dil;İç not
Y-1;10.03.2024 14:05;Elif Tuna;elif@example.com;0532 000 00 00;9;Çok hızlı;destek;Lamba;tr;x
"""
PERSIAN = """شناسه پاسخ,تاریخ,نام و نام خانوادگی,ایمیل,تلفن همراه,چقدر ما را توصیه می‌کنید؟,نظر,بخش,محصول,زبان,یادداشت
پ-۱,۱۴۰۲/۱۲/۲۰ ۱۴:۰۵,سارا نادری,sara@example.com,۰۹۱۲۰۰۰۰۰۰۰,۹,عالی,پشتیبانی,چراغ,fa,x
"""


@pytest.mark.parametrize("text", [ENGLISH, TURKISH, PERSIAN], ids=["English", "Turkish", "Persian"])
def test_headers_of_three_languages(tmp_path: Path, text: str) -> None:
    mapping = guessed(tmp_path, text)
    assert list(mapping.columns.values()) == [
        "id", "occurred_at", "customer.name", "customer.email", "customer.phone", "nps", "text", "department",
        "product", "language", "",
    ]  # fmt: skip
    assert mapping.constants == {"survey.id": "after-delivery", "survey.type": "transactional"}


@pytest.mark.parametrize(
    ("header", "folded"),
    [
        ("E-Posta", "e posta"),
        ("GÖRÜŞ", "gorus"),
        ("MÜŞTERİ ADI", "musteri adi"),
        ("customer_id", "customer id"),
        ("كد مشتري", "کد مشتری"),
        ("شماره\u200cتلفن", "شماره تلفن"),
        ("#", "#"),
    ],
)
def test_headers_are_compared_in_one_spelling(header: str, folded: str) -> None:
    assert fold(header) == folded


def test_contents_are_a_check_of_names(tmp_path: Path) -> None:
    mapping = guessed(tmp_path, "Date,Email,Who,When,NPS\nsoon,no address,ada@example.com,2024-01-02,9\n")
    assert mapping.columns == {
        "Date": "",
        "Email": "",
        "Who": "customer.email",
        "When": "occurred_at",
        "NPS": "nps",
    }


def test_the_moment_of_the_answer_comes_before_others(tmp_path: Path) -> None:
    mapping = guessed(tmp_path, "Created at,Submitted at,Text\n2024-01-01,2024-01-02,hello\n")
    assert mapping.columns == {"Created at": "", "Submitted at": "occurred_at", "Text": "text"}


def test_first_and_last_names_unless_there_is_a_whole_one(tmp_path: Path) -> None:
    parts = guessed(tmp_path, "First name,Last name,Comment\nNora,Whitfield,hi\n")
    assert parts.columns["First name"] == parts.columns["Last name"] == "customer.name"
    whole = guessed(tmp_path, "First name,Last name,Name,Comment\nNora,Whitfield,Nora Whitfield,hi\n")
    assert [column for column, to in whole.columns.items() if to == "customer.name"] == ["Name"]


@pytest.mark.parametrize(
    ("header", "values", "to"),
    [
        ("Puan", "9 10", "?"),
        ("Rating", "4 5", "?"),
        ("امتیاز", "۴ ۵", "?"),
        ("CSAT", "4 5", "csat"),
        ("How satisfied were you?", "4 9", "?"),
        ("Ne kadar memnun kaldınız?", "4 5", "csat"),
        ("چقدر راضی بودید؟", "۴ ۵", "csat"),
        ("How easy was it?", "4 7", "ces"),
        ("İşleminiz ne kadar kolaydı?", "4 7", "ces"),
        ("چقدر آسان بود؟", "۴ ۷", "ces"),
        ("Bizi önerir misiniz?", "0 10", "nps"),
        ("Would you recommend us?", "yes no", ""),
        ("Quantity", "1 2", ""),
    ],
)
def test_scores(tmp_path: Path, header: str, values: str, to: str) -> None:
    rows = "\n".join(f"{value},2024-01-02,fine" for value in values.split())
    assert guessed(tmp_path, f"{header},Date,Text\n{rows}\n").columns[header] == to


def test_delighteds_score_is_nps_unless_the_survey_says_otherwise(tmp_path: Path) -> None:
    text = "score,comment,survey_type,permalink,created_at\n9,hi,{},https://delighted.example/r/1,1710072306\n"
    assert guessed(tmp_path, text.format("nps")).columns["score"] == "nps"
    assert guessed(tmp_path, text.format("csat")).columns["score"] == "?"


def test_questions_in_numbers_of_a_survey_tool_must_be_decided(tmp_path: Path) -> None:
    text = "#,Rate the app,How many stores?,Anything else to say?,Submit Date (UTC),Network ID\n"
    mapping = guessed(tmp_path, text + "t1,4,12,It was all fine with me,2024-01-02 10:00,n\n")
    assert list(mapping.columns.values()) == ["id", "?", "", "text", "occurred_at", ""]


def test_an_unclear_score_says_what_to_add(tmp_path: Path) -> None:
    _, samples = read(tmp_path, "Puan,Tarih\n9,2024-01-02\n")
    mapping = guess("csv", samples, "s")
    _, faults = settled(mapping, samples)
    assert [fault.path for fault in faults] == ["Puan"]
    assert '--map "Puan=nps"' in faults[0].reason
    for text in ("Puan=nps", "Puan=csat 1-10", "Puan=rating 0-100"):
        changed = corrected(mapping, list(samples), [text], [], open_ended=False)
        assert settled(changed, samples)[1] == []
    said = corrected(mapping, list(samples), [], ["metric=csat"], open_ended=False)
    assert settled(said, samples)[0].columns["Puan"] == "score"
    left = corrected(mapping, list(samples), ["Puan="], [], open_ended=False)
    assert "no column holds a score or a text" in settled(left, samples)[1][0].reason


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["2024-03-10"], "ymd"),
        (["13/03/2024", "01/02/2024"], "dmy"),
        (["03/13/2024", "01/02/2024"], "mdy"),
        (["01.02.2024"], "dmy"),
        (["1710000000"], "ymd"),
        (["01/02/2024"], None),
    ],
)
def test_order_of_dates(cells: list[str], order: str | None) -> None:
    mapping = ColumnMapping(columns={"Date": "occurred_at", "Text": "text"})
    mapping, faults = settled(mapping, {"Date": cells, "Text": ["x"]})
    assert (mapping.dates, bool(faults)) == (order, order is None)


def test_when_it_was_said_must_be_known(tmp_path: Path) -> None:
    _, samples = read(tmp_path, "Comment\nhello\n")
    mapping = guess("csv", samples, "s")
    assert "--set occurred_at=" in settled(mapping, samples)[1][0].reason
    fixed = corrected(mapping, ["Comment"], [], ["occurred_at=2024-06-30"], open_ended=False)
    assert settled(fixed, samples)[1] == []


def test_names_of_fields_are_taken_as_they_are(tmp_path: Path) -> None:
    text = "id,score,metric,customer.email,ratings.0.metric,ratings.0.value\n1,9,nps,a@example.com,csat,5\n"
    _, samples = read(tmp_path, text)
    mapping = guess("csv", samples, "s")
    assert all(column == to for column, to in mapping.columns.items())
    assert (mapping.constants, mapping.id_prefix, settled(mapping, samples)[1]) == ({}, "", [])


def test_short_numbers_as_ids_get_a_prefix(tmp_path: Path) -> None:
    assert guessed(tmp_path, "ID,Comment\n1,hi\n").id_prefix == "after-delivery:"
    assert guessed(tmp_path, "ID,Comment\nresp-1,hi\n").id_prefix == ""
    assert guessed(tmp_path, "Response ID,Score,Comment,Permalink\n9001,9,hi,\n").id_prefix == "delighted:"


def test_a_date_without_a_known_name_is_taken_only_where_it_is_the_only_one(tmp_path: Path) -> None:
    assert guessed(tmp_path, "When,Comment\n2024-01-02,hi\n").columns["When"] == "occurred_at"
    two = guessed(tmp_path, "Ordered,Arrived,Comment\n2024-01-02,2024-01-03,hi\n")
    assert "occurred_at" not in two.columns.values()
    assert guessed(tmp_path, "Doğum günü,Comment\n1980-01-02,hi\n").columns["Doğum günü"] == ""


def test_two_columns_for_one_field() -> None:
    mapping = ColumnMapping(columns={"a": "segment", "b": "segment", "c": "text", "d": "text"})
    assert [fault.path for fault in mapping.faults()] == ["b"]


def test_wrong_names_are_told() -> None:
    mapping = ColumnMapping(columns={"a": "txt"}, set={"survey": "x"}, zone="Mars/Olympus")
    assert [fault.path for fault in mapping.faults()] == ["set", "a", "zone"]


def test_corrections_name_columns_that_are_there() -> None:
    mapping = ColumnMapping(columns={"a": "text", "gone": "id"})
    with pytest.raises(InvalidInput) as caught:
        corrected(mapping, ["a", "new"], ["b=text", "nonsense"], [], open_ended=False)
    assert [fault.path for fault in caught.value.faults] == ["--map 'b=text'", "--map 'nonsense'", "new", "gone"]
