"""A node of its own for a measurement or a fault test: a process on a temporary folder, ended by pid."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_KEY = re.compile(r"clk_[a-z0-9]{12}_[A-Za-z0-9]{43}")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


class NodeProcess:
    """`closeloop up` as a child process. Its output goes to a file, from which address and key are read."""

    def __init__(self, data_dir: Path, *options: str, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = 0
        self.key = ""
        self._options = options
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._output = Path(tempfile.mkstemp(prefix="closeloop-node-", suffix=".log")[1])

    def start(self, seconds: float = 90) -> float:
        """Start and wait for the address; the seconds it took. Raises RuntimeError with its output."""
        began = time.monotonic()
        seen = self._output.stat().st_size
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.cli", "up", "--port", str(self.port), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "DATA_DIR": str(self.data_dir), "LOG_FORMAT": "json", **self._environment},
            )
        while time.monotonic() - began < seconds:
            said = self._output.read_bytes()[seen:].decode(errors="replace")
            if "closeloop is running" in said and (address := _ADDRESS.search(said)):
                self.port = int(address[1])
                if key := _KEY.search(said):
                    self.key = key[0]
                return time.monotonic() - began
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"the node did not start:\n{self.output()[-4000:]}")

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def output(self) -> str:
        """All it has printed."""
        return self._output.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, as an out-of-memory killer would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self, seconds: float = 30) -> int:
        """SIGINT, as Ctrl-C would; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait(seconds)

    def cpu_seconds(self) -> float:
        """User and system time of the node's own process, without PostgreSQL."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
