"""Templates: every placeholder in every language, nothing of a customer becomes markup, bad templates are refused."""

import re
from pathlib import Path

import pytest

from services.notifier.catalogue import PLACEHOLDERS, Catalogue, Rendered, Template, render
from services.notifier.transports.webhook import slack_message
from services.notifier.wording import clean_line, person_name
from shared.core.errors import InvalidInput

CATALOGUE = Catalogue()
ALL = [(identifier, language) for identifier in CATALOGUE.ids() for language in ("en", "tr", "fa")]
XSS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "javascript:alert(1)",
    "<a href='https://evil.example'>x</a>",
    "&lt;script&gt;",
    "<!--",
    "{{brand_name}}",
    "{{7*7}}",
    "${7*7}",
    "<%= 7*7 %>",
    "<!channel>",
    "<@U123>",
    "\x1b[31m",
]


def values(filler: str = "x") -> dict[str, str]:
    return {name: f"{filler}-{name}" for name in PLACEHOLDERS} | {
        "survey_url": "https://ask.example/?a=1&b=2",
        "unsubscribe_url": "https://u.example/unsubscribe/t",
    }


def rendered(text: str, value: str) -> Rendered:
    body = f"Hello {{{{customer_name}}}},\n\n{text}"
    template = Template("t", "en", "customer", "nothing", "Dear {{customer_name}}", body)
    return render(template, CATALOGUE.words("en"), {"customer_name": value}, brand="Lale")


@pytest.mark.parametrize(("identifier", "language"), ALL)
def test_every_template_fills_every_placeholder(identifier: str, language: str) -> None:
    template = CATALOGUE.find(identifier, language)
    assert template.language == language
    message = render(template, CATALOGUE.words(language), values(), brand="Lale")
    whole = message.subject + message.as_text() + message.as_html()
    assert "{{" not in whole
    names = set(re.findall(r"\{\{(\w+)\}\}", template.subject + template.text)) - {"brand_name"}
    assert {name for name in names if f"x-{name}" not in whole} == set()
    assert len(message.subject) <= 200
    direction = "rtl" if language == "fa" else "ltr"
    assert f'lang="{language}" dir="{direction}"' in message.as_html()
    assert (message.unsubscribe is not None) == (template.audience == "customer")


def test_every_placeholder_is_used_somewhere() -> None:
    used = set()
    for identifier, language in ALL:
        template = CATALOGUE.find(identifier, language)
        used |= set(re.findall(r"\{\{(\w+)\}\}", template.subject + template.text))
    assert PLACEHOLDERS - used == {"product"}


def test_a_language_without_a_template_falls_back() -> None:
    assert CATALOGUE.find("promoter-thanks", "de").language == "en"
    with pytest.raises(InvalidInput):
        CATALOGUE.find("gone", "en")


@pytest.mark.parametrize("text", XSS, ids=ascii)
def test_what_a_customer_wrote_is_never_markup(text: str) -> None:
    message = rendered("Bye", text)
    page = message.as_html()
    tags = set(re.findall(r"<(/?[a-zA-Z!][a-z]*)", page))
    ours = "!doctype html head meta title /title /head body p /p hr br /body /html"
    assert tags <= set(ours.split())
    assert "7*7" not in page or text in {"{{7*7}}", "${7*7}", "<%= 7*7 %>"}
    assert "49" not in page
    slack = slack_message(message)
    for block in slack["blocks"]:
        assert block["text"]["type"] == "plain_text"
        assert "<" not in block["text"]["text"]
        assert ">" not in block["text"]["text"]
    assert "<" not in slack["text"]
    assert (slack["link_names"], slack["unfurl_links"], slack["unfurl_media"]) == (False, False, False)


@pytest.mark.parametrize("end", ["\r\nBcc: evil@y.com", "\nX: y", "\r", "\x0b", "\u2028x", "\x85"])
def test_a_subject_is_one_line(end: str) -> None:
    subject = rendered("Bye", f"Nora{end}").subject
    assert subject.splitlines() == [subject]
    assert "\r" not in subject


def test_only_urls_that_are_set_make_a_link() -> None:
    template = CATALOGUE.find("detractor-ask-again", "en")
    words = CATALOGUE.words("en")
    assert render(template, words, values() | {"survey_url": ""}, brand="B").action is None
    page = render(template, words, values(), brand="B").as_html()
    assert 'href="https://ask.example/?a=1&amp;b=2"' in page


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Nora Whitfield", "Nora Whitfield"),
        ("  Elif   Karaca ", "Elif Karaca"),
        ("سارا کریمی", "سارا کریمی"),
        ("علی\u200cرضا", "علی\u200cرضا"),
        ("No\u200bra\u202e", "Nora"),
        ("N\u200cora", "Nora"),
        ("\u2066Nora\u2069\ufeff", "Nora"),
        ("O'Neil-Smith Jr.", "O'Neil-Smith Jr."),
        ("Win at evil.example now", ""),
        ("https://evil.example", ""),
        ("a@b.example", ""),
        ("<b>Nora</b>", ""),
        ("{{brand_name}}", ""),
        ("12345", ""),
        ("", ""),
        (None, ""),
        ("x" * 80, "x" * 60 + "…"),
    ],
)
def test_names(name: str | None, shown: str) -> None:
    assert person_name(name) == shown


def test_a_cut_name_keeps_letters_whole() -> None:
    name = "a" * 59 + "e\u0301" * 5
    assert not person_name(name.replace("e\u0301", "q\u0323")).rstrip("…").endswith("q")
    assert clean_line("e\u0301") == "é"


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("audience: customer\nsubject: Hi\ntext: |\n  a\n  {{7*7}}\n", 5, "is no placeholder"),
        ("audience: customer\nsubject: 'Hi {{customer.name}}'\ntext: a\n", 2, "is no placeholder"),
        ("audience: customer\nsubject: Hi\ntext: '{{ unsubscribe_url }}'\n", 3, "is no placeholder"),
        ("audience: nobody\nsubject: Hi\ntext: a\n", 1, "audience is one of"),
        ("audience: customer\nasks: money\nsubject: Hi\ntext: a\n", 2, "asks is one of"),
        ("audience: customer\nsubject: Hi\n", 1, "'text' is missing"),
        ("audience: customer\nsubject: Hi\ntext: a\nhtml: <b>\n", 4, "unknown key 'html'"),
        (
            "audience: customer\nsubject: Hi\ntext: a\naction: {label: x, url: 'https://evil.example'}\n",
            4,
            "action has",
        ),
        ("[", 1, "not YAML"),
        ("- a", 1, "must be a mapping"),
    ],
)
def test_a_bad_template_is_refused_with_its_line(tmp_path: Path, content: str, line: int, reason: str) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "mine.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInput) as refused:
        Catalogue(Path("services/notifier/templates"), tmp_path)
    assert f"templates/en/mine.yaml line {line}: " in refused.value.detail
    assert reason in refused.value.detail


def test_own_templates_win_and_must_agree(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    own = "audience: customer\nsubject: Mine\ntext: Hello {{customer_name}}\n"
    (tmp_path / "en" / "promoter-thanks.yaml").write_text(own, encoding="utf-8")
    found = Catalogue(Path("services/notifier/templates"), tmp_path).find("promoter-thanks", "en")
    assert found.subject == "Mine"
    (tmp_path / "en" / "promoter-thanks.yaml").write_text(own.replace("customer\n", "manager\n"), encoding="utf-8")
    with pytest.raises(InvalidInput, match="audience or asks differ"):
        Catalogue(Path("services/notifier/templates"), tmp_path)
