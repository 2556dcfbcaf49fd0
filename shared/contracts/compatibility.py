"""What a change of a schema breaks, for whom.

Two readers count: the new one, which still meets events written before (they stay on the topic for days), and the one
that is deployed somewhere and meets events written tomorrow. Because the version is part of an event's name, whatever
breaks either of them needs a new version of the event; only new optional properties do not.
"""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_ANNOTATIONS = frozenset(
    ("$comment", "$defs", "$id", "$schema", "default", "deprecated", "description", "examples", "title")
)
_LOWER_LIMITS = ("exclusiveMinimum", "minItems", "minLength", "minProperties", "minimum")
_UPPER_LIMITS = ("exclusiveMaximum", "maxItems", "maxLength", "maxProperties", "maximum")
_SUBSCHEMAS = ("items", "propertyNames")
_HANDLED = {
    *_ANNOTATIONS,
    *_LOWER_LIMITS,
    *_UPPER_LIMITS,
    *_SUBSCHEMAS,
    *("$ref", "additionalProperties", "anyOf", "const", "enum", "oneOf", "prefixItems", "properties", "required"),
    "type",
}
_OLD = "events written before cannot be read"
_DEPLOYED = "a deployed reader refuses new events"


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """One line per break, each with the JSON path; [] where every reader goes on. Changed texts are no break."""
    return list(_Comparison(old, new).nodes(old, new, "$"))


class _Comparison:
    """Walks two documents side by side; `$ref` is looked up in the document it stands in."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old
        self._new = new
        self._under_way: set[tuple[str, str]] = set()

    def nodes(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        """Breaks between two schemas; a pair of references that is being compared already is not entered again."""
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if all(pair):
            if pair in self._under_way:
                return
            self._under_way.add(pair)
        try:
            yield from self._unions(_alternatives(old, self._old), _alternatives(new, self._new), path)
        finally:  # a caller that only asks whether there is any break stops early
            self._under_way.discard(pair)

    def _unions(self, before: list[Schema], after: list[Schema], path: str) -> Iterator[str]:
        if len(before) == len(after) == 1:
            yield from self._plain(before[0], after[0], path)
            return
        left, changed = list(after), []
        for schema in before:
            same = next((other for other in left if not any(self._plain(schema, other, path))), None)
            if same is None:
                changed.append(schema)
            else:
                left.remove(same)
        for schema in changed:
            like = next((other for other in left if _kind(schema) == _kind(other)), None)
            if like is None:
                yield f"{path}: {_kind(schema)} is no longer allowed: {_OLD}"
            else:
                left.remove(like)
                yield from self._plain(schema, like, path)
        for schema in left:
            yield f"{path}: {_kind(schema)} is newly allowed: {_DEPLOYED}"

    def _plain(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        if old.get("type") != new.get("type"):
            yield f"{path}: type changed from {_kind(old)} to {_kind(new)}"
            return
        yield from _values(old, new, path)
        yield from _limits(old, new, path)
        for keyword in sorted((old.keys() | new.keys()) - _HANDLED):
            if old.get(keyword) != new.get(keyword):
                yield f"{path}: {keyword} changed from {old.get(keyword)!r} to {new.get(keyword)!r}"
        for keyword in _SUBSCHEMAS:
            yield from self._optional(old.get(keyword, True), new.get(keyword, True), f"{path}.{keyword}")
        yield from self._tuples(old.get("prefixItems", []), new.get("prefixItems", []), path)
        yield from self._properties(old, new, path)

    def _optional(self, old: Schema | bool, new: Schema | bool, path: str) -> Iterator[str]:
        """Schemas where `true` (also by absence) allows all and `false` nothing."""
        if isinstance(old, dict) and isinstance(new, dict):
            yield from self.nodes(old, new, path)
        elif old is False or (new is True and old is not True):
            if old is not new:
                yield f"{path}: more is allowed than before: {_DEPLOYED}"
        elif old is not new:
            yield f"{path}: less is allowed than before: {_OLD}"

    def _tuples(self, old: list[Schema], new: list[Schema], path: str) -> Iterator[str]:
        if len(old) != len(new):
            yield f"{path}: prefixItems changed from {len(old)} to {len(new)} items"
            return
        for i, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from self.nodes(before, after, f"{path}.prefixItems[{i}]")

    def _properties(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        rest_before, rest_after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        needed_before, needed_after = set(old.get("required", ())), set(new.get("required", ()))
        yield from self._optional(rest_before, rest_after, f"{path}.additionalProperties")
        for name in sorted(before.keys() | after.keys() | needed_before | needed_after):
            where = f"{path}.{name}"
            if name in needed_after - needed_before:
                yield f"{where}: required now: {_OLD}"
            elif name in needed_before - needed_after:
                yield f"{where}: {'no longer required' if name in after else 'required and removed'}: {_DEPLOYED}"
            elif name in before and name in after:
                yield from _defaults(before[name], after[name], where)
            yield from self._property(before.get(name, rest_before), after.get(name, rest_after), where)

    def _property(self, old: Schema | bool, new: Schema | bool, path: str) -> Iterator[str]:
        """A property on one side only meets the other side's `additionalProperties`: `true` takes whatever comes."""
        if isinstance(old, dict) and isinstance(new, dict):
            yield from self.nodes(old, new, path)
        elif old is False and new is not False:
            yield f"{path}: added where nothing else was allowed: {_DEPLOYED}"
        elif new is False and old is not False:
            yield f"{path}: removed where nothing else is allowed: {_OLD}"


def _alternatives(schema: Schema, root: Schema) -> list[Schema]:
    """The schema without references, and as the list of what it allows: anyOf, oneOf or a list of types."""
    while "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    for union in ("anyOf", "oneOf"):
        if union in schema:
            beside = {name: value for name, value in schema.items() if name not in _ANNOTATIONS | {union}}
            return [{**beside, **plain} for alternative in schema[union] for plain in _alternatives(alternative, root)]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return [schema]


def _kind(schema: Schema) -> str:
    kind = str(schema.get("type", "anything"))
    return f"{kind} {schema['title']}" if kind == "object" and "title" in schema else kind


def _values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    before, after = _allowed(old), _allowed(new)
    if before is None or after is None:
        if after is not None:
            yield f"{path}: limited to a list of values now: {_OLD}"
        elif before is not None:
            yield f"{path}: no longer limited to a list of values: {_DEPLOYED}"
        return
    for value in before:
        if value not in after:
            yield f"{path}: value {value!r} removed: {_OLD}"
    for value in after:
        if value not in before:
            yield f"{path}: value {value!r} added: {_DEPLOYED}"


def _allowed(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _limits(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for keyword in (*_LOWER_LIMITS, *_UPPER_LIMITS):
        before, after = old.get(keyword), new.get(keyword)
        if before == after:
            continue
        raised = before is not None and after is not None and after > before
        tightened = before is None or (after is not None and raised == (keyword in _LOWER_LIMITS))
        verdict = f"tightened: {_OLD}" if tightened else f"loosened: {_DEPLOYED}"
        yield f"{path}: {keyword} changed from {before} to {after}, {verdict}"


def _defaults(old: Schema, new: Schema, path: str) -> Iterator[str]:
    """What an absent property means. Objects are left out: their defaults grow with their optional properties."""
    before, after = old.get("default"), new.get("default")
    if before != after and not (isinstance(before, dict) and isinstance(after, dict)):
        yield f"{path}: default changed from {before!r} to {after!r}: absence would mean something else"
