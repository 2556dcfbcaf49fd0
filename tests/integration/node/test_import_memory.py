"""The memory of `closeloop import` does not grow with the file."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.integration.node.test_import_command import file, numbered

MEASURED = """
import resource, sys
from pathlib import Path
from services.ingest.history.files import look
from services.ingest.history.mapping import ColumnMapping
from services.ingest.history.tables import table_of
from services.ingest.history.transfer import Progress, transfer

path = Path(sys.argv[1])
looked = look(path)
table, _ = table_of(path, looked.encoding, None)
mapping = ColumnMapping(columns={"Date": "occurred_at", "NPS": "nps", "Comment": "text"})
progress = Progress(file="", mapping="", url="")
outcome = transfer(path, table, mapping, looked, lambda lines: [], progress, lambda outcome, end: None)
status = Path("/proc/self/status")
if status.exists():  # not what it was before exec, as getrusage tells
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(outcome.accepted, peak)
"""


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """60,000 rows without ids take hardly more than 10,000: the client's whole way but for the sending."""

    async def peak(count: int) -> int:
        path = file(tmp_path, f"{count}.csv", numbered(count))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MEASURED, str(path), stdout=asyncio.subprocess.PIPE
        )
        accepted, found = map(int, (await process.communicate())[0].split())
        assert accepted == count
        return found

    small, large = await peak(10_000), await peak(60_000)
    assert large < small * 1.1
