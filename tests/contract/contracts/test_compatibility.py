"""Each kind of break is found, and nothing else is called one."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from shared.contracts.compatibility import Schema, breaking_changes
from shared.contracts.envelope import EventData
from shared.contracts.generate import json_schema
from tests.contract.contracts.samples import KINDS

TEXT: Schema = {"type": "string"}
NULL: Schema = {"type": "null"}
NUMBER: Schema = {"type": "number"}


def thing(required: tuple[str, ...] = (), **properties: Any) -> Schema:
    return {"type": "object", "title": "Thing", "properties": properties, "required": list(required)}


def listed(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def either(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def closed(schema: Schema, rest: Any = False) -> Schema:
    return schema | {"additionalProperties": rest}


def defined(part: Schema, **properties: Any) -> Schema:
    return thing(**(properties or {"a": {"$ref": "#/$defs/Part"}})) | {"$defs": {"Part": part}}


TREE = {"type": "array", "items": {"$ref": "#/$defs/Part"}}

BREAKS: list[tuple[str, Schema, Schema, str]] = [
    ("required property added", thing(), thing(("a",), a=TEXT), "$.a: required now"),
    ("optional became required", thing(a=TEXT), thing(("a",), a=TEXT), "$.a: required now"),
    ("required property removed", thing(("a",), a=TEXT), thing(), "$.a: required and removed"),
    ("required property renamed", thing(("a",), a=TEXT), thing(("b",), b=TEXT), "$.b: required now"),
    ("required became optional", thing(("a",), a=TEXT), thing(a=TEXT), "$.a: no longer required"),
    ("type changed", thing(a=TEXT), thing(a=NUMBER), "$.a: type changed from string to number"),
    ("type narrowed", thing(a=NUMBER), thing(a={"type": "integer"}), "$.a: type changed from number to integer"),
    ("type widened", thing(a={"type": "integer"}), thing(a=NUMBER), "$.a: type changed from integer to number"),
    ("type added", thing(a={}), thing(a=TEXT), "$.a: type changed from anything to string"),
    ("list of types", thing(a={"type": ["string", "null"]}), thing(a=TEXT), "$.a: null is no longer allowed"),
    ("enum value removed", thing(a=listed("x", "y")), thing(a=listed("x")), "$.a: value 'y' removed"),
    ("enum value added", thing(a=listed("x")), thing(a=listed("x", "y")), "$.a: value 'y' added"),
    ("enum introduced", thing(a=TEXT), thing(a=listed("x")), "$.a: limited to a list"),
    ("enum dropped", thing(a=listed("x")), thing(a=TEXT), "$.a: no longer limited"),
    ("const changed", thing(a={"const": 1}), thing(a={"const": 2}), "$.a: value 1 removed"),
    ("pattern", thing(a=TEXT | {"pattern": "^a"}), thing(a=TEXT | {"pattern": "^b"}), "$.a: pattern changed"),
    ("pattern added", thing(a=TEXT), thing(a=TEXT | {"pattern": "^b"}), "$.a: pattern changed from None"),
    ("format", thing(a=TEXT | {"format": "uuid"}), thing(a=TEXT), "$.a: format changed from 'uuid' to None"),
    ("multipleOf", thing(a=NUMBER), thing(a=NUMBER | {"multipleOf": 2}), "$.a: multipleOf changed"),
    ("unknown keyword", thing(a=TEXT), thing(a=TEXT | {"not": NULL}), "$.a: not changed"),
    ("null removed", thing(a=either(TEXT, NULL)), thing(a=TEXT), "$.a: null is no longer allowed"),
    ("null added", thing(a=TEXT), thing(a=either(TEXT, NULL)), "$.a: null is newly allowed"),
    ("in a union", thing(a=either(listed("x"), NULL)), thing(a=either(NULL, listed("y"))), "$.a: value 'x' removed"),
    ("default", thing(a=TEXT | {"default": "x"}), thing(a=TEXT | {"default": "y"}), "$.a: default changed"),
    ("items", {"type": "array", "items": TEXT}, {"type": "array", "items": NUMBER}, "$.items: type changed"),
    ("items added", {"type": "array"}, {"type": "array", "items": TEXT}, "$.items: less is allowed"),
    ("items dropped", {"type": "array", "items": TEXT}, {"type": "array"}, "$.items: more is allowed"),
    ("tuple", {"prefixItems": [TEXT]}, {"prefixItems": [NUMBER]}, "$.prefixItems[0]: type changed"),
    ("tuple length", {"prefixItems": [TEXT]}, {"prefixItems": [TEXT, TEXT]}, "$: prefixItems changed from 1 to 2"),
    ("closed", thing(), closed(thing()), "$.additionalProperties: less is allowed"),
    ("opened", closed(thing()), thing(), "$.additionalProperties: more is allowed"),
    ("map values", closed(thing(), TEXT), closed(thing(), NUMBER), "$.additionalProperties: type changed"),
    ("map narrowed", thing(), closed(thing(), TEXT), "$.additionalProperties: less is allowed"),
    ("map widened", closed(thing(), TEXT), thing(), "$.additionalProperties: more is allowed"),
    ("map closed", closed(thing(), TEXT), closed(thing()), "$.additionalProperties: less is allowed"),
    ("map opened", closed(thing()), closed(thing(), TEXT), "$.additionalProperties: more is allowed"),
    ("map keys", thing() | {"propertyNames": {"maxLength": 9}}, thing(), "$.propertyNames: more is allowed"),
    ("added to closed", closed(thing()), closed(thing(a=TEXT)), "$.a: added where nothing else was allowed"),
    ("removed from closed", closed(thing(a=TEXT)), closed(thing()), "$.a: removed where nothing else is allowed"),
    ("named in a map", closed(thing(), TEXT), closed(thing(a=NUMBER), TEXT), "$.a: type changed from string"),
    ("in $defs", defined(listed("x")), defined(listed("y")), "$.a: value 'x' removed"),
    ("in a nested part", defined(thing(b=TEXT)), defined(thing(("b",), b=TEXT)), "$.a.b: required now"),
    ("in a tree", defined(thing(b=TREE, c=TEXT)), defined(thing(b=TREE, c=NUMBER)), "$.a.c: type changed"),
    ("in an array", defined(TEXT, a=TREE), defined(NUMBER, a=TREE), "$.a.items: type changed"),
    (
        "beside a reference",
        defined(TEXT, a={"$ref": "#/$defs/Part", "maxLength": 5}),
        defined(TEXT, a={"$ref": "#/$defs/Part", "maxLength": 4}),
        "$.a: maxLength changed from 5 to 4, tightened",
    ),
]


@pytest.mark.parametrize(("old", "new", "line"), [pytest.param(*case[1:], id=case[0]) for case in BREAKS])
def test_a_break_is_found_at_its_place(old: Schema, new: Schema, line: str) -> None:
    before = copy.deepcopy((old, new))
    assert any(found.startswith(line) for found in breaking_changes(old, new)), breaking_changes(old, new)
    assert (old, new) == before


@pytest.mark.parametrize("keyword", ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"])
@pytest.mark.parametrize(
    ("old", "new", "verdict"), [(1, 2, "tightened"), (2, 1, "loosened"), (None, 1, "tightened"), (1, None, "loosened")]
)
def test_lower_limits(keyword: str, old: int | None, new: int | None, verdict: str) -> None:
    assert limits(keyword, old, new) == [verdict]


@pytest.mark.parametrize("keyword", ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"])
@pytest.mark.parametrize(
    ("old", "new", "verdict"), [(2, 1, "tightened"), (1, 2, "loosened"), (None, 1, "tightened"), (1, None, "loosened")]
)
def test_upper_limits(keyword: str, old: int | None, new: int | None, verdict: str) -> None:
    assert limits(keyword, old, new) == [verdict]


def limits(keyword: str, old: int | None, new: int | None) -> list[str]:
    before, after = ({} if value is None else {keyword: value} for value in (old, new))
    return [line.split(", ")[1].split(":")[0] for line in breaking_changes(thing(a=before), thing(a=after))]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(thing(), thing(a=TEXT), id="optional property added"),
        pytest.param(thing(a=TEXT), thing(), id="optional property removed"),
        pytest.param(thing(a=TEXT), thing(a=TEXT | {"title": "A", "description": "…", "examples": ["x"]}), id="texts"),
        pytest.param(thing(("a", "b"), a=TEXT, b=TEXT), thing(("b", "a"), b=TEXT, a=TEXT), id="order"),
        pytest.param(thing(a=listed("x", "y")), thing(a=listed("y", "x")), id="order of values"),
        pytest.param(thing(a=either(TEXT, NULL)), thing(a=either(NULL, TEXT)), id="order of a union"),
        pytest.param(thing(a={"const": 1}), thing(a={"enum": [1]}), id="const is an enum of one"),
        pytest.param(thing(a=TEXT), defined(TEXT), id="moved into $defs"),
        pytest.param(
            defined(thing(b=TREE)),
            thing(a={"$ref": "#/$defs/P"})
            | {"$defs": {"P": thing(b={"type": "array", "items": {"$ref": "#/$defs/P"}})}},
            id="recursive part renamed",
        ),
        pytest.param(
            thing(a=thing(b=TEXT) | {"default": {"b": None}}),
            thing(a=thing(b=TEXT, c=TEXT) | {"default": {"b": None, "c": None}}),
            id="default of a part grows with it",
        ),
        pytest.param(closed(thing(), TEXT), closed(thing(a=TEXT), TEXT), id="a map entry gets a name"),
        pytest.param(closed(thing(), True), thing(), id="additionalProperties: true is the default"),
    ],
)
def test_what_breaks_nobody(old: Schema, new: Schema) -> None:
    assert breaking_changes(old, new) == []


def objects(schema: Schema) -> Iterator[Schema]:
    """The parts of a document that have properties."""
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            yield part


def plain(node: Schema) -> Schema:
    """The first alternative of a nullable property."""
    first: Schema = node.get("anyOf", [node])[0]
    return first


def drop(part: Schema, name: str) -> None:
    del part["properties"][name]
    part["required"].remove(name)


def spoilt(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Copies of a real schema, each broken at one place."""
    for i, part in enumerate(objects(schema)):
        for name, node in part["properties"].items():
            where = f"{part['title']}.{name}"

            def copied(i: int = i) -> tuple[Schema, Schema]:
                whole = copy.deepcopy(schema)
                return whole, list(objects(whole))[i]

            whole, place = copied()
            if name in place.get("required", ()):
                drop(place, name)
            else:
                place.setdefault("required", []).append(name)
            yield f"{where} required", whole
            whole, place = copied()
            place["properties"][name] = {"type": "boolean"} if plain(node).get("type") != "boolean" else TEXT
            yield f"{where} type", whole
            for keyword, value in plain(node).items():
                whole, place = copied()
                target = plain(place["properties"][name])
                if keyword == "enum":
                    target[keyword] = value[:-1]
                elif keyword in {"pattern", "format"}:
                    target[keyword] = "other"
                elif keyword.startswith(("max", "min", "exclusive")):
                    target[keyword] = value + 1
                else:
                    continue
                yield f"{where} {keyword}", whole


@pytest.mark.parametrize("kind", KINDS)
def test_every_place_of_a_real_schema_is_watched(kind: type[EventData]) -> None:
    schema = json_schema(kind)
    cases = list(spoilt(schema))
    assert len(cases) > 2 * len(schema["properties"])
    assert [where for where, broken in cases if not breaking_changes(schema, broken)] == []
    assert [where for where, broken in cases if not breaking_changes(broken, schema)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_a_real_schema_may_grow(kind: type[EventData]) -> None:
    schema = json_schema(kind)
    grown = copy.deepcopy(schema)
    for part in objects(grown):
        part["properties"]["of_a_later_version"] = {"anyOf": [TEXT, NULL], "default": None}
    assert breaking_changes(schema, grown) == []
    assert breaking_changes(schema, schema) == []
