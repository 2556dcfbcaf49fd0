"""Whatever a file holds, `closeloop import` ends in a clear line or in counts, never in a traceback."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from services.cli import app
from services.node.commands.meter import Meter, clock

LIKE_CSV = st.text(alphabet='Date,NPS;Comment\t"\n\r id0123456789./-:é۱ş', max_size=300).map(str.encode)
ROWS = st.text(alphabet=',;"\n\r0123456789./-: abéش\x00\ufeff', max_size=200).map(
    lambda text: b"Date,NPS,Comment\n2024-01-01,9,good\n" + text.encode()
)
LIKE_JSON = st.text(alphabet='{}[]":,\n\\u0d8 textidnps19.-e', max_size=200).map(
    lambda text: b'{"text": "a", "occurred_at": 1700000000}\n' + text.encode()
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=300) | LIKE_CSV | ROWS | LIKE_JSON)
@example(content=b"Date,NPS,Comment\n2024-01-01,9,a\n\x00,\x00,\x00\n")
@example(content=b'{"text": "\\ud800", "occurred_at": 1700000000}\n{"text": "b", "occurred_at": 1}')
@example(content=b"\xff\xfea\x00\n\x00\x00\xd8")
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(content)
    result = CliRunner().invoke(app, ["import", str(path), "--dry-run"])
    assert result.exit_code in (0, 1, 3), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert ("closeloop: " in result.output) is (result.exit_code == 1)


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_what_cannot_be_read(tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(app, ["import", str(tmp_path / name), "--dry-run"])
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("content", ["- a", "columns: [", "columns: {a: text}\nmore: 1", "\x00"])
def test_a_mapping_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,occurred_at\nx,2024-01-01\n")
    (tmp_path / "m.yaml").write_text(content)
    result = CliRunner().invoke(app, ["import", str(path), "--dry-run", "--mapping", str(tmp_path / "m.yaml")])
    assert (result.exit_code, "closeloop: " in result.output) == (1, True)


def test_the_meter() -> None:
    times = iter([100.0, 110.0])
    meter = Meter(1_000, rows=50, bytes_done=200, now=lambda: next(times))
    assert meter.line(150, 600) == " 60%  150 rows  10/s  0:10 left"
    meter._terminal = True
    meter._now = lambda: 110.0
    assert meter.line(150, 600).startswith("[##############..........]  60%  150 rows")
    assert [clock(seconds) for seconds in (7, 750, 3_723)] == ["0:07", "12:30", "1:02:03"]
