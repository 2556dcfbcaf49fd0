"""What a process frees it keeps, for what it reads next."""

import ctypes
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
from shared.runtime.loop import settle_heap

if sys.argv[1] == "settled":
    settle_heap()

def read():
    batch = [bytearray(1 << 20) for _ in range(20)]
    for one in batch:
        one[::4096] = bytes(256)

read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    read()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_asked_for(how: str) -> int:
    """Pages that the system had to give while the same twenty megabytes were filled twenty times."""
    ran = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc can be told")
def test_what_is_freed_is_used_again() -> None:
    assert pages_asked_for("settled") * 20 < pages_asked_for("plain")
