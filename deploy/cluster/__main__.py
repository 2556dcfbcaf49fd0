"""`make cluster`: the cluster on this machine until Ctrl-C.

BROKERS, DEMO, DATA, a count of replicas for each service (INGEST=2) and its port (INGEST_PORT=9001) come from the
environment; the settings of .env.example from there or from .env.
"""

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from deploy.cluster.cluster import Cluster
from deploy.cluster.compose import ROOT, services
from deploy.cluster.console import Console
from deploy.cluster.local import our_settings
from deploy.cluster.process import HOST, ClusterError, is_free
from services.node.demo.show import notifier_settings

FIRST_PORT = 8081
EXAMPLE = {"id": "mail-1042", "kind": "message", "channel": "email", "text": "The parcel is late and nobody answers."}
DEFAULT_FOLDER = ROOT / ".data" / "cluster"
# The runner decides these; what the shell says of them is meant for a single node or another broker.
_OURS = {"DATABASE_URL", "BUS_URL", "DATA_DIR", "HTTP_HOST", "HTTP_PORT"}
_MAIL = re.compile(r"SMTP_|.*_SLACK_URL$|.*_WEBHOOK_URL$|MANAGER_EMAIL$|PUBLIC_URL$|CASE_URL$")


def main() -> int:
    """Run until a signal; the exit code."""
    given = {name: value for name, value in {**dotenv_values(ROOT / ".env"), **os.environ}.items() if value is not None}
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    try:
        names = [s.name for s in services({"SECRETS_KEY": "-", "SMTP_HOST": "-"}).values() if s.is_replicated]
        demo = given.get("DEMO", "1") not in {"", "0", "no", "false"}
        settings = {
            name: given[name] for name in our_settings() if name in given and name not in _OURS and name[:6] != "KAFKA_"
        }
        if demo:  # nothing of it may reach a real mailbox
            settings = {name: value for name, value in settings.items() if not _MAIL.match(name)}
        if sys.stdout.isatty():
            settings.setdefault("LOG_FORMAT", "console")
        folder = Path(given.get("DATA") or DEFAULT_FOLDER).expanduser().absolute()
        with Console(folder / "logs") as console:
            cluster = Cluster(
                folder,
                brokers=_number(given, "BROKERS", 3),
                replicas={name: _number(given, name.upper(), 1) for name in names},
                settings=settings,
                ports=_ports(given, names),
                say=console.say,
            )
            if demo:
                overrides = notifier_settings(cluster.port("smtp"), f"http://{HOST}:{cluster.port('sink')}/")
                cluster.settings = settings | {
                    name.upper(): str(value) for name, value in overrides.items() if not name.startswith("smtp_")
                } | {"SMTP_SENDER": overrides["smtp_sender"]}  # fmt: skip
            return _run(cluster, console, demo)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _run(cluster: Cluster, console: Console, demo: bool) -> int:
    cluster.start()  # stops by itself what it started when it cannot go on
    try:
        for line in _greeting(cluster, demo):
            console.say(line)
        if demo:
            addresses = [word for p in cluster.processes.values() if p.address for word in ("--address", p.address)]
            cluster.run_beside("demo", ["closeloop", "demo", *addresses])
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, signal.SIG_IGN)  # an orderly stop has its own limits
        console.say("stopping …")
        cluster.stop()
        console.say(f"stopped; the data stays in {cluster.folder}")
    return 0


def _greeting(cluster: Cluster, demo: bool) -> list[str]:
    ingest = next(iter(cluster.of("ingest")), None)
    lines = ["closeloop is running; Ctrl-C stops it, the data stays", ""]
    lines += [f"{p.name:12} {p.address}" for p in cluster.processes.values() if p.address]
    lines += [
        "",
        f"DATABASE_URL={cluster.database_url}",
        f"BUS_URL={cluster.bus_url}",
        f"mails        {cluster.folder / 'mails'}" if "sink" in cluster.processes else "mails        to SMTP_HOST",
        f"key          {cluster.key}   (an admin's, workspace {cluster.workspace})",
    ]
    if ingest:
        headers = f"-H 'Authorization: Bearer {cluster.key}' -H 'Content-Type: application/json'"
        request = f"curl -i {ingest.address}/v1/feedback {headers} -d '{json.dumps(EXAMPLE)}'"
        lines += ["", "send it something:", request]
    lines += ["", "the demo brand Lale begins to play (DEMO=0: without it) …" if demo else "no demo (DEMO=0)"]
    return lines


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name) or str(default)
    if not text.isdigit() or not 0 <= int(text) <= 20:
        raise ClusterError(f"{name}={text}: must be a whole number up to 20")
    return int(text)


def _ports(given: Mapping[str, str], names: list[str]) -> dict[str, int]:
    """First replicas get 8081 and so on, or the next one that is free; a port that was asked for must be free."""
    ports: dict[str, int] = {}
    candidate = FIRST_PORT
    for name in names:
        variable = f"{name.upper()}_PORT"
        if text := given.get(variable):
            if not text.isdigit() or not 0 < int(text) < 65536:
                raise ClusterError(f"{variable}={text}: is not a port")
            if not is_free(int(text)):
                raise ClusterError(f"{variable}={text}: the port is taken; choose another or leave it out")
            ports[f"{name}-1"] = int(text)
            continue
        while not is_free(candidate) or candidate in ports.values():
            candidate += 1
        ports[f"{name}-1"] = candidate
        candidate += 1
    return ports


if __name__ == "__main__":
    sys.exit(main())
