"""Templates: logic-less text per language, loaded and checked once. `{{name}}` from a closed list is all they can do.

One text makes both parts of a mail: paragraphs become `<p>`, everything is escaped on the way into HTML. There is no
place where markup, be it an author's or a customer's, could pass.
"""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.notifier import domain
from services.notifier.wording import Words, clean_line, clean_text, words_from
from shared.core.documents import from_yaml
from shared.core.errors import Fault, InvalidInput

FOLDER = Path(__file__).parent / "templates"
FALLBACK = "en"
PLACEHOLDERS: frozenset[str] = frozenset(
    {
        "agent_name",
        "alert_text",
        "band",
        "brand_name",
        "case_id",
        "channel",
        "customer_name",
        "department",
        "due_time",
        "greeting",
        "priority",
        "product",
        "promise",
        "score_before",
        "score_contributors",
        "score_count",
        "score_name",
        "score_target",
        "score_value",
        "team",
        "touchpoint",
    }
)
URLS: frozenset[str] = frozenset({"case_url", "invite_url", "review_url", "survey_url"})
_BRACES = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_KEYS = {"audience", "asks", "subject", "text", "action"}
_SUBJECT_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Template:
    """One text in one language. `action` is (label, name of a URL setting): left out where that URL is not set."""

    id: str
    language: str
    audience: str
    asks: str
    subject: str
    text: str
    action: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message, ready for any transport. `paragraphs` are plain text; `action` is (label, URL)."""

    language: str
    direction: str
    subject: str
    paragraphs: tuple[str, ...]
    action: tuple[str, str] | None
    footer: str | None = None
    unsubscribe: tuple[str, str] | None = None

    def as_text(self) -> str:
        """The plain part."""
        blocks = list(self.paragraphs)
        if self.action:
            blocks.append(f"{self.action[0]}:\n{self.action[1]}")
        if self.footer or self.unsubscribe:
            lines = [self.footer] if self.footer else []
            if self.unsubscribe:
                lines.append(f"{self.unsubscribe[0]}: {self.unsubscribe[1]}")
            blocks.append("--\n" + "\n".join(lines))
        return "\n\n".join(blocks) + "\n"

    def as_html(self) -> str:
        """The HTML part: right to left where the language is."""
        paragraphs = [f"<p>{html.escape(block).replace(chr(10), '<br>')}</p>" for block in self.paragraphs]
        if self.action:
            paragraphs.append(f"<p>{_link(*self.action)}</p>")
        if self.footer or self.unsubscribe:
            footer = html.escape(self.footer or "")
            link = _link(*self.unsubscribe) if self.unsubscribe else ""
            paragraphs.append(f'<hr><p style="color:#666;font-size:small">{footer}<br>{link}</p>')
        align = "right" if self.direction == "rtl" else "left"
        return (
            f'<!doctype html>\n<html lang="{html.escape(self.language)}" dir="{self.direction}">\n'
            f'<head><meta charset="utf-8"><title>{html.escape(self.subject)}</title></head>\n'
            f'<body dir="{self.direction}" style="font-family:sans-serif;text-align:{align}">\n'
            + "\n".join(paragraphs)
            + "\n</body>\n</html>\n"
        )


class Catalogue:
    """Every template in every language. Raises InvalidInput for a file that is not in order."""

    def __init__(self, *folders: Path) -> None:
        self._templates: dict[tuple[str, str], Template] = {}
        self._words: dict[str, Words] = {}
        for folder in folders or (FOLDER,):
            self._load(folder)
        self._agree()

    def _load(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InvalidInput(f"TEMPLATES_DIR: {folder.name!r} is not a folder; it holds a folder per language")
        for file in sorted(folder.glob("*/*.yaml")):
            language = file.parent.name
            if not re.fullmatch("[a-z]{2}", language):
                raise _bad(file, 1, f"the folder {language!r} is not a language; name it en, tr, fa, …")
            if file.stem == "words":
                self._words[language] = words_from(_mapping(file), file.name)
            else:
                self._templates[file.stem, language] = _template(file, language)

    def _agree(self) -> None:
        for (identifier, language), template in self._templates.items():
            fallback = self._templates.get((identifier, FALLBACK))
            if fallback is None:
                raise InvalidInput(f"template {identifier!r} exists in {language!r} and not in {FALLBACK!r}")
            if (template.audience, template.asks) != (fallback.audience, fallback.asks):
                raise InvalidInput(f"template {identifier!r}: audience or asks differ in {language} and {FALLBACK}")
            if language not in self._words:
                raise InvalidInput(f"templates in {language!r} need a words.yaml beside them")

    def ids(self) -> list[str]:
        """Names of templates."""
        return sorted({identifier for identifier, _ in self._templates})

    def languages(self) -> list[str]:
        """Languages there are."""
        return sorted(self._words)

    def audience(self, identifier: str) -> str:
        """Whom a template is written for."""
        return self._templates[identifier, FALLBACK].audience

    def asks(self, identifier: str) -> str:
        """What a template asks the customer for."""
        return self._templates[identifier, FALLBACK].asks

    def words(self, language: str) -> Words:
        """Shared words of a language, or of the fallback."""
        return self._words.get(language) or self._words[FALLBACK]

    def find(self, identifier: str, language: str) -> Template:
        """The template in `language`, else in the fallback. Raises InvalidInput where it is gone."""
        found = self._templates.get((identifier, language)) or self._templates.get((identifier, FALLBACK))
        if found is None:
            raise InvalidInput(f"there is no template {identifier!r} any more")
        return found


def render(template: Template, words: Words, values: Mapping[str, str], *, brand: str) -> Rendered:
    """Fill a template. Values are data: what looks like a placeholder or markup inside them stays text."""
    filled = {name: clean_text(value) for name, value in values.items()}
    filled["brand_name"] = clean_line(brand)
    subject = clean_line(_fill(template.subject, {name: clean_line(value) for name, value in filled.items()}))
    text = _fill(template.text, filled)
    action = None
    if template.action is not None and (url := values.get(template.action[1], "")):
        action = (template.action[0], url)
    unsubscribe = None
    if template.audience == "customer" and (url := values.get("unsubscribe_url", "")):
        unsubscribe = (words.unsubscribe, url)
    return Rendered(
        language=template.language,
        direction=words.direction,
        subject=subject[:_SUBJECT_LIMIT],
        paragraphs=tuple(block.strip() for block in re.split(r"\n\s*\n", text) if block.strip()),
        action=action,
        footer=_fill(words.why, filled) if template.audience == "customer" else None,
        unsubscribe=unsubscribe,
    )


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _BRACES.sub(lambda match: values.get(match[1].strip(), ""), text)


def _link(label: str, url: str) -> str:
    return f'<a href="{html.escape(url)}" rel="noopener noreferrer">{html.escape(label)}</a>'


def _mapping(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeError:
        raise _bad(file, 1, "not YAML in UTF-8") from None
    try:
        content = from_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        last = max(1, len(text.splitlines()))  # what is missing at the end, libyaml misses a line below it
        raise _bad(file, min(mark.line + 1, last) if mark else 1, "not YAML in UTF-8") from None
    if not isinstance(content, dict):
        raise _bad(file, 1, "must be a mapping")
    return content


def _template(file: Path, language: str) -> Template:
    content = _mapping(file)
    source = file.read_text(encoding="utf-8").splitlines()
    if unknown := sorted(map(str, content.keys() - _KEYS)):
        raise _bad(file, _line(source, unknown[0]), f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
    for key in ("audience", "subject", "text"):
        if not isinstance(content.get(key), str) or not content[key].strip():
            raise _bad(file, 1, f"{key!r} is missing, or not text")
    if content["audience"] not in domain.AUDIENCES:
        raise _bad(file, _line(source, "audience"), f"audience is one of {', '.join(domain.AUDIENCES)}")
    asks = content.get("asks", "nothing")
    if asks not in domain.ASKS:
        raise _bad(file, _line(source, "asks"), f"asks is one of {', '.join(domain.ASKS)}")
    _only_known(file, source, _BRACES.findall(content["subject"] + "\n" + content["text"]))
    return Template(
        id=file.stem,
        language=language,
        audience=content["audience"],
        asks=asks,
        subject=content["subject"].strip(),
        text=content["text"],
        action=_action(file, source, content.get("action")),
    )


def _only_known(file: Path, source: list[str], found: Iterable[str]) -> None:
    for name in found:
        if name.strip() not in PLACEHOLDERS:
            known = ", ".join(sorted(PLACEHOLDERS))
            raise _bad(
                file,
                _line(source, "{{" + name),
                f"{{{{{name[:40]}}}}} is no placeholder (there is no logic here); known are {known}",
            )


def _action(file: Path, source: list[str], action: object) -> tuple[str, str] | None:
    if action is None:
        return None
    if not isinstance(action, dict) or set(action) != {"label", "url"} or action["url"] not in URLS:
        raise _bad(file, _line(source, "action"), f"action has a label and a url, one of {', '.join(sorted(URLS))}")
    return clean_line(str(action["label"])), action["url"]


def _line(source: list[str], needle: str) -> int:
    return next((number for number, line in enumerate(source, 1) if needle in line), 1)


def _bad(file: Path, line: int, reason: str) -> InvalidInput:
    place = f"templates/{file.parent.name}/{file.name} line {line}"
    return InvalidInput(f"{place}: {reason}", faults=[Fault(place, reason)])
