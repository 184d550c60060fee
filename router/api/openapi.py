"""GET /openapi.json and /openapi.yaml: what the router answers, made of the handlers' annotations and docstrings (api.md 17).

A path that is served below several prefixes is described once, below /api/v1 where it is there. The bodies of client APIs are those of
their own makers' documents: here they are objects.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Any, NoReturn, get_args
from weakref import WeakKeyDictionary

import msgspec
from aiohttp import web

from .. import __version__
from ..dialects.base import Dialect
from . import Request, Route, shapes, typed

VERSION = "3.1.0"
REFERENCES = "#/components/schemas/{name}"
#: where a path stands whose document shows one of several prefixes, the first of these that it has
PREFERRED = ("/api/v1", "/v1beta", "/v1", "")
_PLACEHOLDER = re.compile(r"\{(\w+)(?::[^{}]*)?\}")

#: errors of the router's own API (api.md 4)
ERROR = {
    "type": "object",
    "required": ["error", "code", "request_id"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": ["string", "integer"]},
                "param": {"type": ["string", "null"]},
                "metadata": {"type": "object"},
                "availability": {"type": "object"},
            },
        },
        "code": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
#: the same as Anthropic's and Google's clients know them
ANTHROPIC_ERROR = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": "string"},
    },
}
GOOGLE_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string"},
                "status": {"type": "string"},
                "details": {"type": "array", "items": {"type": "object"}},
            },
        }
    },
}
ERRORS = {"Error": ERROR, "AnthropicError": ANTHROPIC_ERROR, "GoogleError": GOOGLE_ERROR}
#: who is below one of these has clients of several APIs
SHARED = frozenset({"/anthropic/v1", "/v1beta", "/api/v1beta"})


def document(routes: Iterable[Route], dialects: Iterable[Dialect]) -> dict[str, Any]:
    """The whole document."""
    described = [(route, typed.signature(route.handler), answers_of(route)) for route in routes]
    kinds = [
        kind for _, each, answers in described for given in (each.body, *answers.values()) for kind in _kinds(given)
    ]
    kinds.append(shapes.Explanation)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCES)
    known = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route, takes, answers in described:
        path = shown(route.prefixes, route.path)
        responses = {status: _schema(answer, known) for status, answer in answers.items()}
        body = None if takes.body is None else _schema(takes.body, known)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, takes, path, body, responses)
    for dialect in dialects:
        for each in dialect.paths:
            path = shown(dialect.prefixes, each.path)
            paths.setdefault(path, {})[each.method.lower()] = _client_operation(dialect, path, form=each.form)
    paths["/api/v1/explain"] = {"post": _explaining(known[id(shapes.Explanation)])}
    return {
        "openapi": VERSION,
        "info": {"title": "onebox-router", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**components, **ERRORS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "x-goog-api-key": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
            },
        },
    }


def shown(prefixes: Iterable[str], path: str) -> str:
    """The path below that of its prefixes which the document shows."""
    prefix = next((each for each in PREFERRED if each in prefixes), next(iter(prefixes)))
    return plain(prefix + path)


def plain(path: str) -> str:
    """A path whose placeholders have no patterns."""
    return _PLACEHOLDER.sub(r"{\1}", path)


def _kinds(given: Any) -> list[Any]:
    """The types that an annotation stands for, of which several are alternatives. None for answers that handlers make themselves."""
    kinds = get_args(given) if isinstance(given, UnionType) else (given,)
    return [
        kind
        for kind in kinds
        if kind is not None and not (isinstance(kind, type) and issubclass(kind, web.StreamResponse))
    ]


def _schema(given: Any, known: dict[int, Any]) -> dict[str, Any]:
    schemas = [known[id(kind)] for kind in _kinds(given)]
    return {"anyOf": schemas} if len(schemas) > 1 else schemas[0] if schemas else {}


def answers_of(route: Route) -> dict[int, Any]:
    """The types of what a route answers, by status; none where it can only refuse."""
    answer = typed.signature(route.handler).answer
    return route.answers if answer is NoReturn else {route.status: answer} | route.answers


def _operation(
    route: Route, takes: typed.Signature, path: str, body: dict[str, Any] | None, responses: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    summary, _, rest = (inspect.getdoc(route.handler) or "").partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-zA-Z0-9]+', '_', path).rstrip('_')}",
        "summary": " ".join(summary.split()),
        "security": [] if route.scope == "public" else [{"bearer": []}, {"x-api-key": []}, {"x-goog-api-key": []}],
        "x-scope": route.scope,
        "responses": {
            **{
                str(status): _answered("done" if status < 400 else "not so", each) for status, each in responses.items()
            },
            "default": _answered("an error", _error(route)),
        },
    }
    if rest:
        operation["description"] = " ".join(rest.split())
    if parameters := [*_in_path(path), *_in_query(takes.query)]:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def _explaining(schema: dict[str, Any]) -> dict[str, Any]:
    """The dry run, whose route stands in `app`."""
    return {
        "operationId": "post_api_v1_explain",
        "summary": "Where a call would go, and why; nobody is asked.",
        "security": [{"bearer": []}, {"x-api-key": []}, {"x-goog-api-key": []}],
        "x-scope": "inference",
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {
            "200": _answered("done", schema),
            "default": {"description": "an error, in the form of the API that `endpoint` belongs to"},
        },
    }


def _answered(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Without a schema it is no JSON: a page, text, events."""
    content = {"content": {"application/json": {"schema": schema}}} if schema else {}
    return {"description": description, **content}


def _error(route: Route) -> dict[str, Any]:
    """In the form of the API that the path belongs to; some belong to several."""
    shared = SHARED.intersection(route.prefixes)
    names = list(ERRORS) if shared else ["Error"]
    schemas = [{"$ref": REFERENCES.format(name=name)} for name in names]
    return {"anyOf": schemas} if len(schemas) > 1 else schemas[0]


def _client_operation(dialect: Dialect, path: str, *, form: bool) -> dict[str, Any]:
    """A path of a client API."""
    kind = "multipart/form-data" if form else "application/json"
    operation: dict[str, Any] = {
        "operationId": f"{dialect.name}_{re.sub(r'[^a-zA-Z0-9]+', '_', path).strip('_')}".replace(".", "_"),
        "summary": f"{dialect.name}, as its own clients send it",
        "security": [{"bearer": []}, {"x-api-key": []}, {"x-goog-api-key": []}],
        "x-scope": "inference",
        "requestBody": {"required": True, "content": {kind: {"schema": {"type": "object"}}}},
        "responses": {
            "200": {"description": "the answer, in the form of this API, whole or as events"},
            "default": {"description": "an error, in the form of this API"},
        },
    }
    if parameters := list(_in_path(path)):
        operation["parameters"] = parameters
    return operation


def _in_path(path: str) -> Iterator[dict[str, Any]]:
    for name in _PLACEHOLDER.findall(path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(kind: Any) -> Iterator[dict[str, Any]]:
    if kind is None:
        return
    for each in msgspec.structs.fields(kind):
        schema = msgspec.json.schema(each.type)
        schema.pop("$defs", None)
        yield {"name": each.encode_name, "in": "query", "required": each.required, "schema": schema}


# --- YAML ------------------------------------------------------------------------------------------------------------


def yaml(value: Any, indent: int = 0) -> str:
    """A JSON value as YAML (1.2): blocks, with every scalar as JSON writes it, which YAML reads the same."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{_scalar(key)}:{_under(each, indent)}" for key, each in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}-{_under(each, indent)}" for each in value)
    return f"{pad}{_scalar(value)}\n"


def _under(value: Any, indent: int) -> str:
    if isinstance(value, dict | list) and value:
        return "\n" + yaml(value, indent + 1)
    return f" {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# --- routes ----------------------------------------------------------------------------------------------------------


#: by server, since anybody may ask and it takes a tenth of a second to make: as JSON and as YAML
_made: WeakKeyDictionary[Any, tuple[bytes, str]] = WeakKeyDictionary()


def of(request: Request) -> tuple[bytes, str]:
    """The document of this server, its plugins' routes included, made once."""
    server = request.server
    if server not in _made:
        told = document(server.routes(), server.dialects)
        _made[server] = msgspec.json.encode(told), yaml(told)
    return _made[server]


async def as_json(request: Request) -> web.Response:
    """This document."""
    return web.Response(body=of(request)[0], content_type="application/json")


async def as_yaml(request: Request) -> web.Response:
    """This document as YAML."""
    return web.Response(text=of(request)[1], content_type="application/yaml")


ROUTES = [
    Route(
        method="GET",
        path="/openapi.json",
        handler=as_json,
        scope="public",
        prefixes=("",),
        answers={200: dict[str, Any]},
    ),
    Route(method="GET", path="/openapi.yaml", handler=as_yaml, scope="public", prefixes=("",)),
]
