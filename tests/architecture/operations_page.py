"""docs/operations.md in pieces, for the tests that hold it against the code."""

import re
import textwrap
from pathlib import Path

PATH = Path(__file__).parents[2] / "docs" / "operations.md"
TEXT = PATH.read_text()
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The code blocks of a language ("" for commands)."""
    return [textwrap.dedent(text) for _, kind, text in _FENCE.findall(TEXT) if kind == language]


def statements(title: str) -> str:
    """The SQL of the one block that begins with the comment `-- title`."""
    (found,) = [text for text in blocks("sql") if text.startswith(f"-- {title}\n")]
    return found


def spans() -> list[str]:
    """What stands in backticks inside of sentences."""
    return re.findall(r"`([^`\n]+)`", _FENCE.sub("", TEXT))
