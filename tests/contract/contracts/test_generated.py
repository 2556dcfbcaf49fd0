"""Committed files are what the models say, and the generator refuses what would break a reader."""

import json
from pathlib import Path

import pytest

from shared.contracts import generate
from shared.contracts.generate import ASYNCAPI, RELEASED, SCHEMAS, breaks, documents, main
from shared.contracts.registry import EVENTS

COMMAND = "run `make contracts` and commit what it writes"


@pytest.mark.parametrize("file", documents(), ids=lambda file: file.name)
def test_the_committed_file_is_the_generated_one(file: Path) -> None:
    assert file.exists(), f"{file.name} is missing: {COMMAND}"
    assert file.read_text(encoding="utf-8") == documents()[file], f"{file.name} differs from the models: {COMMAND}"


def test_no_other_file_stands_beside_them() -> None:
    assert sorted(SCHEMAS.iterdir()) == sorted(file for file in documents() if file.parent == SCHEMAS)


def test_the_models_break_no_reader_of_the_last_release() -> None:
    assert breaks(RELEASED) == []
    assert breaks(SCHEMAS) == []


def test_the_release_says_which_one_it_is() -> None:
    assert (RELEASED / "VERSION").read_text(encoding="utf-8").strip()
    assert len(list(RELEASED.glob("*.json"))) >= 6


def test_output_is_sorted_and_ends_with_a_newline() -> None:
    for text in documents().values():
        assert text.endswith("}\n")
        assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    assert documents() == documents()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The generator writes below a folder of the test's own, which starts empty."""
    for name, path in {
        "FOLDER": tmp_path,
        "SCHEMAS": tmp_path / SCHEMAS.name,
        "RELEASED": tmp_path / "released",
    }.items():
        monkeypatch.setattr(generate, name, path)
    monkeypatch.setattr(generate, "ASYNCAPI", tmp_path / ASYNCAPI.name)
    return tmp_path


def edited(file: Path, before: str, after: str) -> str:
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def test_it_says_what_it_wrote(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "wrote shared/contracts/schemas/FeedbackReceivedV1.json\n" in capsys.readouterr().out
    assert main([]) == 0
    assert capsys.readouterr().out == f"{len(EVENTS) + 1} of {len(EVENTS) + 1} files were up to date\n"
    file = elsewhere / "schemas" / "ScoreUpdatedV1.json"
    edited(file, '"description": "False below', '"description": "It was')
    assert main([]) == 0
    assert (
        capsys.readouterr().out == "wrote shared/contracts/schemas/ScoreUpdatedV1.json\n8 of 9 files were up to date\n"
    )


@pytest.mark.parametrize("folder", ["schemas", "released"])
def test_it_refuses_to_break_a_reader(folder: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--release"]) == 0
    file = elsewhere / folder / "FollowupChangedV1.json"
    text = edited(file, '"suppressed"', '"held_back"')
    capsys.readouterr()
    assert main([]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "refused: FollowupChangedV1: $.state: value 'held_back' removed: events written before cannot be read",
        "refused: FollowupChangedV1: $.state: value 'suppressed' added: a deployed reader refuses new events",
    ]
    assert len(lines) == 3
    assert file.read_text(encoding="utf-8") == text


def test_a_file_that_was_deleted_is_new(elsewhere: Path) -> None:
    assert main([]) == 0
    file = elsewhere / "schemas" / "FollowupChangedV1.json"
    edited(file, '"suppressed"', '"held_back"')
    file.unlink()
    assert main([]) == 0
    assert '"suppressed"' in file.read_text(encoding="utf-8")


def test_an_event_cannot_go_away(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--release"]) == 0
    (elsewhere / "released" / "SurveyClosedV1.json").write_text("{}", encoding="utf-8")
    assert main([]) == 1
    assert "refused: SurveyClosedV1: the event is gone" in capsys.readouterr().err


def test_release_copies_the_schemas(elsewhere: Path) -> None:
    assert main([]) == 0
    assert not (elsewhere / "released").exists()
    assert main(["--release"]) == 0
    for file in (elsewhere / "schemas").iterdir():
        assert (elsewhere / "released" / file.name).read_bytes() == file.read_bytes()
    assert (elsewhere / "released" / "VERSION").read_text(encoding="utf-8") == generate.project_version() + "\n"


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--force"]) == 2
    assert "usage" in capsys.readouterr().err
