"""A traceback in the log names places, never the values that were there: they may be keys or customers' words."""

import subprocess
import sys

import pytest

PROGRAM = """
from shared.telemetry.logging import configure_logging, get_logger
configure_logging("info", {form!r})
def fails(presented):
    raise RuntimeError("broken")
try:
    fails("clk_" + "secretsecret")
except RuntimeError as error:
    get_logger("test").error("request_failed", exc_info=error)
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_hold_no_local_variables(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(form=form)], capture_output=True, text=True, check=True)
    assert "RuntimeError" in done.stderr
    assert "fails" in done.stderr
    assert "clk_secretsecret" not in done.stderr
