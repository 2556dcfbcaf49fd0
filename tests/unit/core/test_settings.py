"""A wrong setting ends the start with one line that names it, and never repeats its value (it may be a password)."""

from pathlib import Path

import pytest

from shared.bus.security import security_of
from shared.core.settings import Settings, SettingsError, load


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_defaults_start_a_single_node() -> None:
    settings = load(Settings)
    assert (settings.database_url, settings.bus_url, settings.log_format) == ("", "postgres", "auto")


def test_environment_beats_the_file_and_arguments_beat_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=debug\nBUS_URL=kafka://file.example.com:9092\nUNKNOWN=1\n")
    monkeypatch.setenv("BUS_URL", "kafka://environment.example.com:9092")
    assert load(Settings).log_level == "debug"
    assert load(Settings).bus_url == "kafka://environment.example.com:9092"
    assert load(Settings, bus_url="postgres").bus_url == "postgres"


def test_each_wrong_setting_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "hunter2")
    monkeypatch.setenv("LOG_FORMAT", "hunter3")
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    lines = caught.value.detail.split("; ")
    assert [line.split(":")[0] for line in lines] == ["LOG_FORMAT", "LOG_LEVEL"]
    assert "debug|info|warning|error" in lines[1]
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__  # so that a traceback does not print the value either


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "scoring"}, "KAFKA_SASL_PASSWORD"),
        ({"KAFKA_SASL_USERNAME": "scoring", "KAFKA_SASL_PASSWORD": "hunter2"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_CA_FILE": "ca.pem"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_what_kafka_cannot_be_asked_with_fails_at_start(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], named: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=named) as caught:
        load(Settings)
    assert "hunter" not in str(caught.value)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(SettingsError, match=f"KAFKA_CA_FILE: {file}"):
        security_of(load(Settings, kafka_security_protocol="SSL", kafka_ca_file=file))
