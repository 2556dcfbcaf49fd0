"""Installs what closeloop needs into this folder: .tools (uv) and .venv (everything in requirements.lock).

Runs before every make target, so the common case (nothing changed) must stay far below a second: what only an
installation needs is imported when one happens.
"""

import hashlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
STAMP = VENV / ".closeloop-stamp"
TOOLS_STAMP = TOOLS / ".closeloop-stamp"
LOCK = ROOT / "requirements.lock"
UV_LOCK = ROOT / "deploy" / "requirements-uv.txt"
PROJECT = ROOT / "pyproject.toml"


class SetupError(Exception):
    """Setup cannot go on; the message is one line that says what to do."""


def base_python() -> str:
    """The interpreter outside any virtual environment: .venv may be rebuilt while it is the active one."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def fingerprint(*inputs: Path) -> str:
    """Changes when the inputs, the interpreter or the place of this folder change (scripts hold absolute paths)."""
    digest = hashlib.sha256()
    for part in (sys.version, sys.base_prefix, str(ROOT), *(p.read_bytes() for p in inputs)):
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def is_current(stamp: Path, wanted: str) -> bool:
    try:
        return stamp.read_text() == wanted and (stamp.parent / "bin" / "python").exists()
    except OSError:
        return False


def say(text: str) -> None:
    print("setup: " + text, flush=True)


def run(what: str, hint: str, *command: str | Path) -> None:
    import subprocess

    say(what)
    # A virtual environment that happens to be active, or a download of another Python, must not decide where things go.
    env = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "CONDA_PREFIX"}}
    env.update(UV_PYTHON_DOWNLOADS="never", UV_NO_PROGRESS="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    status = subprocess.run([str(part) for part in command], cwd=ROOT, env=env, check=False).returncode
    if status != 0:
        raise SetupError(f"{what!r} failed (exit status {status}, its output is above). {hint}")


def make_venv(folder: Path, *options: str) -> None:
    run(
        f"creating {folder.name} with {base_python()}",
        "On Debian or Ubuntu install the venv module: apt-get install python3-venv",
        *(base_python(), "-m", "venv", "--clear", *options, folder),
    )


def install_uv() -> Path:
    uv = TOOLS / "bin" / "uv"
    wanted = fingerprint(UV_LOCK)
    if not is_current(TOOLS_STAMP, wanted) or not uv.exists():
        make_venv(TOOLS)
        run(
            "installing uv into .tools",
            "Check the network connection and run the same command again.",
            *(TOOLS / "bin" / "python", "-m", "pip", "install", "--quiet", "--only-binary=:all:"),
            *("--no-deps", "--require-hashes", "-r", UV_LOCK),
        )
        TOOLS_STAMP.write_text(wanted)
    return uv


def install(wanted: str) -> None:
    say("installing closeloop's toolchain into this folder (about a minute the first time)")
    STAMP.unlink(missing_ok=True)
    uv = install_uv()
    python = VENV / "bin" / "python"
    if not is_current(VENV / ".closeloop-python", fingerprint()):
        make_venv(VENV, "--without-pip")
        (VENV / ".closeloop-python").write_text(fingerprint())
    run(
        f"installing {LOCK.name} into .venv",
        "Check the network connection and the free disk space (1 GB) and run the same command again.",
        *(uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", "--compile-bytecode", LOCK),
    )
    run(
        "installing closeloop itself (editable)",
        "If pyproject.toml was changed, that change is the likely cause.",
        *(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--no-build-isolation", "--editable", ROOT),
    )
    STAMP.write_text(wanted)
    say("ready; `make` lists the targets")


def relock() -> None:
    """Writes both lock files anew: the newest versions that pyproject.toml allows, for Linux and macOS."""
    import tempfile

    uv = install_uv()
    common = (
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-emit-index-url",
        "--upgrade",
        "--quiet",
    )
    common = (*common, "--custom-compile-command", "make lock")
    hint = "Check the network connection; if versions conflict, uv says above which ones."
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "uv.in"
        source.write_text("uv\n")
        run(f"locking {UV_LOCK.name}", hint, uv, "pip", "compile", *common, "--no-annotate", source, "-o", UV_LOCK)
    run(f"locking {LOCK.name}", hint, uv, "pip", "compile", *common, PROJECT, "--group", "dev", "-o", LOCK)


def main() -> int:
    wanted = fingerprint(LOCK, UV_LOCK, PROJECT)
    locking = "--lock" in sys.argv[1:]
    if not locking and is_current(STAMP, wanted):
        return 0
    if not os.access(ROOT, os.W_OK):
        hint = f"copy closeloop to a folder of yours, or run: sudo chown -R $USER {ROOT}"
        print(f"setup: the folder {ROOT} is not writable; {hint}", file=sys.stderr)
        return 1
    import fcntl

    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # two makes at once: the second waits, then finds the work done
        if locking:
            relock()
        elif not is_current(STAMP, wanted):
            install(wanted)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"setup: {error}; mend that and run the same command again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    finally:
        os.close(folder)
    return 0
