"""Secrets at rest: AES-256-GCM with a key from the environment or from a file only we may read (security.md 9)."""

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from shared.core.settings import SettingsError

KEY_FILE = "secrets.key"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"


class Cipher:
    """Seals and opens small secrets. `context` (whose it is) is authenticated, so that rows cannot be swapped."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def __repr__(self) -> str:
        return "Cipher()"

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._aead.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt. Raises SettingsError where the key is not the one that sealed it."""
        nonce = sealed[1 : 1 + _NONCE_BYTES]
        try:
            if sealed[:1] != _VERSION:
                raise InvalidTag
            return self._aead.decrypt(nonce, sealed[1 + _NONCE_BYTES :], context.encode())
        except (InvalidTag, ValueError):
            raise SettingsError(
                "SECRETS_KEY: it does not open the stored secrets of sources; "
                f"use the key that was set when they were added (or the file {KEY_FILE} of that DATA_DIR)"
            ) from None


def cipher_of(secrets_key: SecretStr, data_dir: Path) -> Cipher:
    """The cipher of SECRETS_KEY, else of the key file in DATA_DIR, which is made when missing. Raises SettingsError."""
    text = secrets_key.get_secret_value().strip()
    return Cipher(_decoded(text, "SECRETS_KEY") if text else _from_file(data_dir / KEY_FILE))


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != _KEY_BYTES:
        raise SettingsError(f"{where}: must be {_KEY_BYTES} bytes in base64; make one with `openssl rand -base64 32`")
    return key


def _from_file(path: Path) -> bytes:
    try:
        if not path.exists():
            _make(path)
        return _decoded(path.read_text(encoding="ascii").strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be used as key file ({error}); set SECRETS_KEY instead") from None


def _make(path: Path) -> None:
    """Write under a name of our own, then link: two processes that start at once agree on one key, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
