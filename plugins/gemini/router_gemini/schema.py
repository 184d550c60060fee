"""JSON Schema made into Google's own kind of schema, for models that do not take the former as it is.

Google's kind is a part of OpenAPI 3.0: no references, no unions of types, enumerations of strings only; an unknown keyword is
answered with 400. What cannot be said is left out.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

#: keywords that go over as they are
_KEPT = (
    "description",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "pattern",
    "nullable",
)
_TYPES = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT"})
_FORMATS = {
    "STRING": frozenset({"enum", "date-time"}),
    "NUMBER": frozenset({"float", "double"}),
    "INTEGER": frozenset({"int32", "int64"}),
}
MAX_DEPTH = 48
#: references may repeat: a few hundred bytes could become gigabytes
MAX_SCHEMAS = 5000


def clean(schema: Any) -> Schema | None:
    """The schema in Google's form, None where nothing is left to say: an object without members.

    References are put in place, one that leads to itself becomes an object without members; so does what is nested too deep.
    """
    cleaned = _Cleaner(schema).clean(schema, 0, ())
    if cleaned.get("type") == "OBJECT" and not cleaned.get("properties"):
        return None
    return cleaned


class _Cleaner:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = MAX_SCHEMAS

    def clean(self, schema: Any, depth: int, seen: tuple[str, ...]) -> Schema:
        """One schema. `seen` are the references that led here."""
        self._left -= 1
        if not isinstance(schema, dict) or depth > MAX_DEPTH or self._left < 0:
            return {"type": "OBJECT"}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._referenced(schema, reference, depth, seen)
        if isinstance(schema.get("allOf"), list):
            return self.clean(self._merged(schema), depth + 1, seen)
        types, nullable = _types(schema)
        nullable = nullable or schema.get("nullable") is True
        if len(types) > 1:
            branches = [schema | {"type": each} for each in types]
            cleaned = self._any_of(branches, depth, seen)
        elif (
            isinstance(union := schema.get("anyOf", schema.get("oneOf")), list) and union and "properties" not in schema
        ):
            cleaned = self._any_of(union, depth, seen)
            nullable = nullable or any(_is_null(each) for each in union)
            if "description" in schema:
                cleaned["description"] = schema["description"]
        else:
            cleaned = self._one(schema, types[0] if types else "", depth, seen)
        if nullable:
            cleaned["nullable"] = True
        return _checked(cleaned)

    def _referenced(self, schema: Schema, reference: str, depth: int, seen: tuple[str, ...]) -> Schema:
        target = _at(self._root, reference)
        if reference in seen or not isinstance(target, dict):
            return {"type": "OBJECT"}
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        return self.clean(target | beside, depth + 1, (*seen, reference))

    def _merged(self, schema: Schema) -> Schema:
        """`allOf` as one schema: members and required names of all, otherwise the last word counts."""
        merged: Schema = {}
        for each in (*schema["allOf"], {name: value for name, value in schema.items() if name != "allOf"}):
            target = _at(self._root, str(each["$ref"])) if isinstance(each, dict) and "$ref" in each else each
            if isinstance(target, dict):
                properties = _dict(merged.get("properties")) | _dict(target.get("properties"))
                required = [*_list(merged.get("required")), *_list(target.get("required"))]
                merged |= target | ({"properties": properties} if properties else {}) | {"required": required}
        return merged

    def _any_of(self, union: list[Any], depth: int, seen: tuple[str, ...]) -> Schema:
        branches = [self.clean(each, depth + 1, seen) for each in union if not _is_null(each)]
        if not branches:
            return {"type": "STRING"}
        return branches[0] if len(branches) == 1 else {"anyOf": branches}

    def _one(self, schema: Schema, type_: str, depth: int, seen: tuple[str, ...]) -> Schema:
        cleaned: Schema = {name: schema[name] for name in _KEPT if name in schema}
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        type_ = type_ or _guessed(schema, values)
        if isinstance(values, list) and (words := [_word(each) for each in values if each is not None]):
            # an enumeration of numbers is one of their names: Google has no other
            type_ = "STRING"
            cleaned["enum"] = list(dict.fromkeys(words))
            if None in values:
                cleaned["nullable"] = True
        cleaned["type"] = type_
        if isinstance(form := schema.get("format"), str) and form in _FORMATS.get(type_, ()):
            cleaned["format"] = form
        if type_ == "OBJECT":
            self._object(cleaned, schema, depth, seen)
        if type_ == "ARRAY":
            cleaned["items"] = self._items(schema, depth, seen)
        return cleaned

    def _object(self, cleaned: Schema, schema: Schema, depth: int, seen: tuple[str, ...]) -> None:
        properties = {name: self.clean(each, depth + 1, seen) for name, each in _dict(schema.get("properties")).items()}
        if properties:
            cleaned["properties"] = properties
            if required := [name for name in dict.fromkeys(_list(schema.get("required"))) if name in properties]:
                cleaned["required"] = required

    def _items(self, schema: Schema, depth: int, seen: tuple[str, ...]) -> Schema:
        items = schema.get("items")
        places = schema.get("prefixItems") if isinstance(schema.get("prefixItems"), list) else items
        if isinstance(places, list) and places:
            return self._any_of(places, depth, seen)
        return self.clean(items, depth + 1, seen) if isinstance(items, dict) and items else {"type": "STRING"}


def _types(schema: Schema) -> tuple[list[str], bool]:
    """The types of a schema in capitals, and whether null is one of them."""
    declared = schema.get("type")
    names = [each.upper() for each in (declared if isinstance(declared, list) else [declared]) if isinstance(each, str)]
    return list(dict.fromkeys(each for each in names if each in _TYPES)), "NULL" in names


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and _types(schema) == ([], True)


def _guessed(schema: Schema, values: Any) -> str:
    """The type of a schema that does not name it."""
    if "items" in schema or "prefixItems" in schema:
        return "ARRAY"
    if isinstance(values, list) and "properties" not in schema:
        return "STRING"
    return "OBJECT"


def _checked(schema: Schema) -> Schema:
    """Without members whose values are of the wrong kind: they would be a 400."""
    for name in _KEPT:
        value = schema.get(name)
        kind = str if name in ("description", "pattern") else bool if name == "nullable" else (int, float)
        if value is not None and (not isinstance(value, kind) or (kind == (int, float) and isinstance(value, bool))):
            del schema[name]
    return {name: value for name, value in schema.items() if value is not None}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _at(root: Any, reference: str) -> Any:
    """What a reference within the document points to (RFC 6901), None where there is nothing."""
    if not reference.startswith("#"):
        return None
    found = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found
