"""Faults that need the machine's leave: a disk that is full, and is not any more."""

import errno
from pathlib import Path

import pytest

from tests.fault.injectors import filled, small_disk


def test_a_small_disk_is_full_during_the_block_and_free_after_it(tmp_path: Path) -> None:
    try:
        disk = small_disk(4)
        folder = disk.__enter__()
    except PermissionError as error:
        pytest.skip(str(error))
    try:
        file = folder / "data"
        file.write_bytes(b"before")
        with filled(folder), pytest.raises(OSError, match="space") as caught:
            (folder / "more").write_bytes(b"x" * 100_000)
        assert caught.value.errno == errno.ENOSPC
        (folder / "more").write_bytes(b"x" * 100_000)
        assert file.read_bytes() == b"before"
    finally:
        disk.__exit__(None, None, None)
    assert not folder.exists()
