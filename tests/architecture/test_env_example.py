"""The settings file that users copy is the truth."""

from pathlib import Path

import pytest

from deploy.env_example import FILE, text
from services.node.config import NodeSettings
from services.notifier.config import NotifierSettings
from shared.core.settings import Settings, load


def test_env_example_is_what_the_code_reads() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run `make contracts`"


def test_every_setting_says_what_it_is_for_or_is_plain_from_its_name() -> None:
    for kind in (Settings, NodeSettings):
        assert not [name for name, field in kind.model_fields.items() if not field.description]


@pytest.mark.parametrize("kind", [Settings, NodeSettings, NotifierSettings])
def test_the_file_as_it_stands_gives_the_defaults(
    kind: type[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uncommenting a line without changing it changes nothing."""
    names = {name.upper() for name in kind.model_fields}
    lines = [line.removeprefix("#") for line in text().splitlines() if line.startswith("#") and "=" in line]
    kept = [line for line in lines if line.split("=")[0] in names and not line.endswith("=")]
    (tmp_path / ".env").write_text("\n".join(kept))
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert load(kind) == kind.model_construct()
