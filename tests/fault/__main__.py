"""`make fault`: every promise of the delivery design on a real cluster under real faults. Prints a table, writes
fault.json; exit code 1 where a promise is broken.

SEED=n PROFILE=ci|rel|soak ONLY=P1,P3 SECONDS=n RATE=n; UNFENCED=1 takes the fence away, and the suite must then fail.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from deploy.cluster import ClusterError
from tests.fault.checkers import Findings
from tests.fault.injectors import faketime
from tests.fault.promises import PROFILES, PROMISES, Profile, Promise
from tests.fault.report import Row, table
from tests.fault.world import World, opened

OUTPUT = Path("fault.json")
_MEMORY = Path("/dev/shm")


def options() -> argparse.Namespace:
    """From the command line; the Makefile gives its variables."""
    parser = argparse.ArgumentParser(prog="make fault", description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="ci")
    parser.add_argument("--only", default="", help="P1,P3")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--rate", type=float, default=None)
    parser.add_argument("--unfenced", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and histories")
    chosen = parser.parse_args()
    wanted = [name.strip().upper() for name in chosen.only.split(",") if name.strip()]
    if unknown := set(wanted) - set(PROMISES):
        parser.error(f"unknown promise {', '.join(sorted(unknown))}; there are {', '.join(PROMISES)}")
    chosen.promises = [PROMISES[name] for name in wanted or PROMISES]
    chosen.seed = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    return chosen


async def run(chosen: argparse.Namespace) -> list[Row]:
    """Every promise in turn on one cluster; a new one after a promise that did not end in time."""
    profile = PROFILES[chosen.profile].of(chosen.rate, chosen.seconds)
    folder = Path(tempfile.mkdtemp(prefix="closeloop-fault-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    said = Progress()
    said(f"seed {chosen.seed}, profile {profile.name}: {profile.rate:g} events/s, {profile.seconds:g} s; in {folder}")
    said(f"libfaketime: {faketime() or 'not installed, clocks are not shifted'}")
    if chosen.unfenced:
        said("THE FENCE IS AWAY: the suite must fail")
    rows: list[Row] = []
    left = list(chosen.promises)
    try:
        for number in range(len(left)):
            if not left:
                break
            async with opened(
                folder / str(number),
                seed=chosen.seed,
                rate=profile.rate,
                say=said,
                unfenced="all" if chosen.unfenced else "",
            ) as world:
                while left:
                    promise = left.pop(0)
                    rows.append(await show(world, promise, profile, said))
                    print(table(rows[-1:], head=False), flush=True)
                    if rows[-1].broke:
                        break
    finally:
        if chosen.keep or any(not row.passed for row in rows):
            said(f"logs and histories are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return rows


async def show(world: World, promise: Promise, profile: Profile, said: "Progress") -> Row:
    """One promise within its bound."""
    said.prefix = promise.name
    said(promise.title)
    began = time.monotonic()
    world.inject.counts.clear()
    bound = promise.bound_seconds + profile.extra_seconds
    broke = False
    try:
        async with asyncio.timeout(bound):
            findings = await promise.show(world, profile)
            await world.wait_ready()
    except Exception as error:
        broke = True
        reason = f"not done within {bound:g} s" if isinstance(error, TimeoutError) else repr(error)
        findings = Findings(notes=[reason])
        said(f"broke off: {reason}")
        if not isinstance(error, TimeoutError | AssertionError | ClusterError):
            said.trace(error)
        # a fault that nobody took back must not meet the next promise
    said.prefix = ""
    return Row(promise.name, promise.title, dict(world.inject.counts), findings, time.monotonic() - began, broke)


class Progress:
    """Says what happens, with the time since the start."""

    def __init__(self) -> None:
        self.prefix = ""
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f}  {self.prefix:4} {text}", flush=True)

    def trace(self, error: BaseException) -> None:
        """Where it came from."""
        import traceback

        traceback.print_exception(error)


def main() -> int:
    """The exit code."""
    chosen = options()
    # A run that is told to end stops what it started, as by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        rows = asyncio.run(run(chosen))
    except ClusterError as error:
        print(f"the cluster does not run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("broken off", file=sys.stderr)
        return 130
    print(table(rows))
    passed = bool(rows) and all(row.passed for row in rows)
    report = {"seed": chosen.seed, "profile": chosen.profile, "unfenced": chosen.unfenced, "passed": passed}
    OUTPUT.write_text(json.dumps(report | {"promises": [asdict(row) for row in rows]}, indent=2, default=str) + "\n")
    print(
        f"\nseed {chosen.seed}: {'every promise was kept' if passed else 'A PROMISE WAS BROKEN'}; written to {OUTPUT}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
