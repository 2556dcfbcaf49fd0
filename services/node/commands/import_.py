"""`closeloop import`: history from a file, with a mapping that is shown before anything is sent."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml

from services.ingest.history import guessing, tables, transfer
from services.ingest.history.files import Encoding, Looked, look
from services.ingest.history.mapping import ColumnMapping, Converter, Form, Rated, corrected, mapping_of, meaning
from services.ingest.history.parts import Occurrences, parts_of
from services.ingest.history.refusals import said
from services.ingest.history.sending import Send, Sender, check
from services.ingest.history.values import Order
from services.node.commands.meter import Meter
from services.node.commands.running import fail, table
from shared.contracts.feedback_received import DEFAULT_SCALES
from shared.core.errors import CloseloopError, Fault, InvalidInput

DEFAULT_URL = "http://127.0.0.1:8080"
REFUSED = 3  # exit code: all was sent, some rows were not taken
_EXAMPLE = 40
Column = Annotated[
    list[str] | None,
    typer.Option("--map", help='"Column=field", also nps, csat, "csat 1-10"; "Column=" leaves it out. Repeatable.'),
]
Constant = Annotated[
    list[str] | None, typer.Option("--set", help="field=value for every row: survey.id=…, channel=…. Repeatable.")
]


def import_history(
    file: Annotated[Path, typer.Argument(help="NDJSON, CSV, or an export of Delighted, SurveyMonkey or Typeform.")],
    form: Annotated[Form | None, typer.Option("--format", help="What the file is; guessed.")] = None,
    encoding: Annotated[Encoding | None, typer.Option(help="How it is written; found out.")] = None,
    columns: Column = None,
    constants: Constant = None,
    dates: Annotated[
        Order | None, typer.Option(help="Order of day, month, year, where the file leaves it open.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Time zone of times that name none: Europe/Istanbul. [UTC]")] = None,
    id_prefix: Annotated[
        str | None, typer.Option(help="Goes in front of ids, so that other files may have them too.")
    ] = None,
    mapping_file: Annotated[
        Path | None, typer.Option("--mapping", help="A saved mapping, in place of guesses.")
    ] = None,
    save_mapping: Annotated[Path | None, typer.Option(help="Where to write the mapping (YAML).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate every row; send and write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where nobody can answer.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew; what is in is not doubled.")] = False,
    url: Annotated[str, typer.Option(help="Where ingest listens.", envvar="CLOSELOOP_URL")] = DEFAULT_URL,
    key: Annotated[str, typer.Option(help="A key with the role operator.", envvar="CLOSELOOP_KEY")] = "",
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a server that is away.")] = 300.0,
) -> None:
    """Import history from a file. Run it again to go on where it stopped: nothing is doubled.

    Exit code: 0 all rows are accepted, 3 some were refused (they are in FILE.refused.…), 1 it failed.
    """  # fmt: skip
    try:
        looked, shape, sample = _read(file, form, encoding)
        samples = guessing.samples_of(shape.columns, [row.cells for row in sample])
        stem = Path(transfer.source_name(file)).stem
        mapping = _document(mapping_file) if mapping_file else guessing.guess(shape.form, samples, stem)
        mapping = corrected(
            mapping, shape.columns, columns or (), constants or (),
            open_ended=shape.json, dates=dates, zone=zone, id_prefix=id_prefix,
        )  # fmt: skip
        _show(file, looked, shape, samples, mapping)
        mapping, faults = guessing.settled(mapping, samples)
        if faults:
            raise InvalidInput("the mapping is not ready; nothing was sent", faults=faults)
        _try(file, shape, mapping, sample)
        if save_mapping:
            _save(save_mapping, mapping)
        if dry_run:
            outcome = _run(file, looked, shape, mapping, check, None)
        else:
            outcome = _send(file, looked, shape, mapping, Target(url, key, patience), yes=yes, restart=restart)
    except CloseloopError as error:
        fail(error)
    except OSError as error:
        fail(f"{error.filename or file}: {error.strerror or error}")
    except KeyboardInterrupt:
        fail("stopped; the same command goes on from here")
    _tell(file, shape, outcome, dry=dry_run)
    if outcome.refused:
        raise typer.Exit(REFUSED)


class Target:
    """Where to, with what, for how long."""

    def __init__(self, url: str, key: str, patience_seconds: float) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self.patience_seconds = patience_seconds


def _read(file: Path, form: Form | None, encoding: Encoding | None) -> tuple[Looked, tables.Table, list[tables.Row]]:
    looked = look(file)
    shape, sample = tables.table_of(file, encoding or looked.encoding, form)
    if not sample:
        raise InvalidInput(f"{file} holds no rows")
    return looked, shape, sample


def _show(
    file: Path, looked: Looked, shape: tables.Table, samples: dict[str, list[str]], mapping: ColumnMapping
) -> None:
    delimiter = "" if shape.json else f", cells apart by {shape.delimiter!r}"
    typer.echo(f"{file.name}: {shape.form}, {shape.encoding}{delimiter}, {looked.bytes:,} bytes")
    rows = [
        (_cut(column), _cut(next(iter(samples.get(column, ())), "")), _shown(to))
        for column, to in mapping.columns.items()
    ]
    rows += [("", _cut(value), name) for name, value in mapping.constants.items()]
    table(("COLUMN", "EXAMPLE", "FIELD"), rows, "no columns")
    if "occurred_at" in mapping.columns.values():
        typer.echo(f"Times that name no zone are in {mapping.zone} (--zone).")
    if mapping.id_prefix:
        typer.echo(f"Ids get {mapping.id_prefix!r} in front (--id-prefix).")
    elif "id" not in mapping.columns.values() and not shape.json:
        typer.echo("Rows have no id: they get one from the file's name and what they say.")


def _shown(to: str) -> str:
    if not to:
        return "-"
    try:
        rated = meaning(to)
    except ValueError:
        return to
    if isinstance(rated, Rated) and rated.low is None and rated.metric in DEFAULT_SCALES:
        low, high = DEFAULT_SCALES[rated.metric]
        return f"{to} ({low:g}–{high:g})"
    return to


def _cut(text: str) -> str:
    line = "".join(mark if mark.isprintable() or mark == "\u200c" else " " for mark in text[: 2 * _EXAMPLE])
    return line if len(line) <= _EXAMPLE else line[: _EXAMPLE - 1] + "…"


def _try(file: Path, shape: tables.Table, mapping: ColumnMapping, sample: Sequence[tables.Row]) -> None:
    """A mapping by which none of the first rows is accepted is a mistake, not a file of bad rows."""
    with Occurrences(len(sample)) as occurrences:
        for part in parts_of(sample, Converter(mapping), file.name, occurrences):
            refused = [*(faults for _, faults in part.refused), *(faults for _, faults in check(part.lines))]
            if len(refused) < part.count:
                return
            reasons = list(dict.fromkeys(said(faults) for faults in refused))[:5]
            faults = [Fault(f"first {len(sample)} rows", reason) for reason in reasons]
            raise InvalidInput("none of the first rows would be accepted; nothing was sent", faults=faults)


def _send(
    file: Path, looked: Looked, shape: tables.Table, mapping: ColumnMapping, to: Target, *, yes: bool, restart: bool
) -> transfer.Outcome:
    if not to.key:
        raise InvalidInput("no key: give --key or set CLOSELOOP_KEY; `closeloop keys create history --role operator`")
    progress = transfer.begin(file, looked, shape, mapping, to.url, restart=restart)
    if progress.done:
        typer.echo("All of it was sent before; --restart sends it again.")
        return transfer.Outcome(progress.accepted, progress.refused)
    if progress.line:
        typer.echo(f"Going on behind line {progress.line:,}: {progress.accepted:,} rows are accepted.")
    if not yes:
        _ask(to.url)
    sender = Sender(to.url, to.key, to.patience_seconds, lambda text: typer.echo(f"closeloop: {text}", err=True))
    try:
        return _run(file, looked, shape, mapping, sender, progress)
    finally:
        sender.close()


def _ask(url: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("nothing was sent, because nobody can be asked; add --yes")
    if not typer.confirm(f"Send it to {url}?"):
        raise InvalidInput("nothing was sent")


def _run(
    file: Path,
    looked: Looked,
    shape: tables.Table,
    mapping: ColumnMapping,
    send: Send,
    progress: transfer.Progress | None,
) -> transfer.Outcome:
    before = (progress.accepted + progress.refused, progress.end) if progress else (0, 0)
    meter = Meter(looked.bytes, *before)
    try:
        return transfer.transfer(
            file, shape, mapping, looked, send, progress,
            lambda outcome, end: meter.show(outcome.accepted + outcome.refused, end),
        )  # fmt: skip
    finally:
        meter.close()


def _tell(file: Path, shape: tables.Table, outcome: transfer.Outcome, *, dry: bool) -> None:
    for row, faults in outcome.first:
        typer.echo(f"  line {row.number}: {said(faults)}"[:300], err=True)
    verb = "would be accepted" if dry else "accepted"
    typer.echo(f"{outcome.accepted:,} {verb}, {outcome.refused:,} refused")
    if outcome.refused and not dry:
        typer.echo(f"Mend {transfer.refused_path(file, shape).name} and import it, with the same options.")


def _document(path: Path) -> ColumnMapping:
    try:
        return mapping_of(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _save(path: Path, mapping: ColumnMapping) -> None:
    document = mapping.model_dump(by_alias=True, exclude_none=True)
    path.write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), encoding="utf-8")
