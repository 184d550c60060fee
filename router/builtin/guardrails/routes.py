"""Making, looking at, changing and assigning guardrails (api.md 14). For keys with the scope `guardrails:manage`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct

from ...api import Handler, Request, Route
from ...api.moments import moment
from ...api.typed import given
from ...errors import BadRequest, NotFound
from ...identity import DEFAULT_WORKSPACE
from ...store.guardrails import DEFAULT_PREFIX, Guardrail, Held, Joined, Rules, new_id
from .forms import GuardrailSettings, NewGuardrail, Shown, rules_of, shown

SCOPE = "guardrails:manage"
#: whoever works with this box, as organizations and assignments call them
ORGANIZATION = "local"
DEFAULT_PAGE, LONGEST_PAGE = 100, 1000
MOST_ASSIGNED = 1000

Ids = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=MOST_ASSIGNED)]
T = TypeVar("T")


class Page(Struct, kw_only=True):
    """Which part of a list."""

    offset: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=LONGEST_PAGE)] = DEFAULT_PAGE


class Which(Page, kw_only=True):
    """Which part of the guardrails, or of those of a workspace."""

    workspace_id: str | None = None


class GuardrailFound(Struct):
    """One guardrail."""

    data: Shown


class GuardrailList(Struct):
    """A part of the guardrails, newest first."""

    data: list[Shown]
    total_count: int


class GuardrailDeleted(Struct):
    """It is gone."""

    deleted: bool = True


class KeyNames(Struct, kw_only=True, forbid_unknown_fields=True):
    """Keys by hash or id, in any of three words."""

    key_hashes: Ids | None = None
    keys: Ids | None = None
    ids: Ids | None = None


class MemberNames(Struct, kw_only=True, forbid_unknown_fields=True):
    """Members by id, in any of three words."""

    member_user_ids: Ids | None = None
    user_ids: Ids | None = None
    members: Ids | None = None


class Assigned(Struct):
    """How many did not have it before."""

    assigned_count: int


class Unassigned(Struct):
    """How many had it."""

    unassigned_count: int


class KeyAssignment(Struct, kw_only=True):
    """That a key has a guardrail."""

    id: str
    guardrail_id: str
    key_hash: str
    key_name: str
    key_label: str
    assigned_by: str | None
    created_at: str


class MemberAssignment(Struct, kw_only=True):
    """That a member has a guardrail."""

    id: str
    guardrail_id: str
    user_id: str
    organization_id: str
    assigned_by: str | None
    created_at: str


class KeyAssignments(Struct):
    """A part of the assignments, the latest first."""

    data: list[KeyAssignment]
    total_count: int


class MemberAssignments(Struct):
    """A part of the assignments, the latest first."""

    data: list[MemberAssignment]
    total_count: int


# --- guardrails ------------------------------------------------------------------------------------------------------


async def listed(request: Request, query: Which) -> GuardrailList:
    """A part of them, newest first."""
    workspace = query.workspace_id and request.server.workspaces.known(query.workspace_id).id
    found = request.server.guardrails.all(workspace or None)
    return GuardrailList([shown(each) for each in _part(query, found)], len(found))


async def create(request: Request, body: NewGuardrail) -> GuardrailFound:
    """Make one."""
    server = request.server
    guardrail = Guardrail(
        id=new_id(),
        name=body.name,
        description=body.description or None,
        workspace_id=_workspace(request, body.workspace_id or DEFAULT_WORKSPACE),
        rules=rules_of(body, Rules()),
        created_unix=server.clock.wall(),
    )
    change = request.change("guardrail.create", guardrail.id, **_detail(body))
    return GuardrailFound(shown(await server.guardrails.put(guardrail, change)))


async def one(request: Request) -> GuardrailFound:
    """One of them. Raises NotFound."""
    return GuardrailFound(shown(_found(request)))


async def update(request: Request, body: GuardrailSettings) -> GuardrailFound:
    """Change what is named; null clears. Raises NotFound, BadRequest."""
    server, old = request.server, _found(request)
    said = given(body)
    new = Guardrail(
        id=old.id,
        name=said.get("name", old.name),
        description=said.get("description", old.description) or None,
        workspace_id=_workspace(request, said["workspace_id"] or DEFAULT_WORKSPACE)
        if "workspace_id" in said
        else old.workspace_id,
        rules=rules_of(body, old.rules),
        created_unix=old.created_unix,
        updated_unix=server.clock.wall(),
    )
    change = request.change("guardrail.update", old.id, **_detail(body))
    return GuardrailFound(shown(await server.guardrails.put(new, change)))


async def delete(request: Request) -> GuardrailDeleted:
    """Take it away, from whoever had it too. Raises NotFound."""
    server, old = request.server, _found(request)
    if server.guardrails.find(old.id) is not None:
        await server.guardrails.delete(old.id, request.change("guardrail.delete", old.id, name=old.name))
        await server.keys.reload()
    return GuardrailDeleted()


# --- keys ------------------------------------------------------------------------------------------------------------


async def assign_keys(request: Request, body: KeyNames) -> Assigned:
    """Give keys this guardrail in place of what they had. Raises NotFound."""
    server, id = request.server, _written(request)
    keys = await _keys(request, body)
    change = request.change("guardrail.assign_keys", id, keys=keys)
    count = await server.guardrails.assign_keys(id, keys, request.caller.creator_user_id, change)
    await server.keys.reload()
    return Assigned(count)


async def remove_keys(request: Request, body: KeyNames) -> Unassigned:
    """Take this guardrail from keys. Raises NotFound."""
    server, id = request.server, _written(request)
    keys = await _keys(request, body)
    change = request.change("guardrail.remove_keys", id, keys=keys)
    count = await server.guardrails.remove_keys(id, keys, change)
    await server.keys.reload()
    return Unassigned(count)


async def keys_of(request: Request, query: Page) -> KeyAssignments:
    """Which keys have this guardrail. Raises NotFound."""
    return await _key_assignments(request, query, _written(request))


async def keys_of_all(request: Request, query: Page) -> KeyAssignments:
    """Which keys have any."""
    return await _key_assignments(request, query, None)


async def _key_assignments(request: Request, query: Page, id: str | None) -> KeyAssignments:
    found, total = await request.server.guardrails.keys(query.limit, query.offset, id)
    return KeyAssignments([_held(each) for each in found], total)


async def _keys(request: Request, body: KeyNames) -> list[str]:
    """The ids of the keys that are named. Raises BadRequest, NotFound."""
    named = _one_of(body, "key_hashes")
    return [(await request.server.keys.one(each)).id for each in named]


# --- members ---------------------------------------------------------------------------------------------------------


async def assign_members(request: Request, body: MemberNames) -> Assigned:
    """Give members this guardrail in place of what they had. Raises NotFound."""
    id, members = _written(request), _one_of(body, "member_user_ids")
    change = request.change("guardrail.assign_members", id, members=members)
    return Assigned(await request.server.guardrails.assign_members(id, members, request.caller.creator_user_id, change))


async def remove_members(request: Request, body: MemberNames) -> Unassigned:
    """Take this guardrail from members. Raises NotFound."""
    id, members = _written(request), _one_of(body, "member_user_ids")
    change = request.change("guardrail.remove_members", id, members=members)
    return Unassigned(await request.server.guardrails.remove_members(id, members, change))


async def members_of(request: Request, query: Page) -> MemberAssignments:
    """Which members have this guardrail. Raises NotFound."""
    return _member_assignments(request, query, _written(request))


async def members_of_all(request: Request, query: Page) -> MemberAssignments:
    """Which members have any."""
    return _member_assignments(request, query, None)


def _member_assignments(request: Request, query: Page, id: str | None) -> MemberAssignments:
    found = request.server.guardrails.members(id)
    return MemberAssignments([_joined(each) for each in _part(query, found)], len(found))


# --- helpers ---------------------------------------------------------------------------------------------------------


def _found(request: Request) -> Guardrail:
    """The guardrail that the path names; that of a workspace is there, empty, before somebody has written it. Raises NotFound."""
    server, id = request.server, request.http.match_info["id"]
    if (guardrail := server.guardrails.find(id)) is not None:
        return guardrail
    workspace = server.workspaces.find(id.removeprefix(DEFAULT_PREFIX)) if id.startswith(DEFAULT_PREFIX) else None
    if workspace is None or workspace.id != id.removeprefix(DEFAULT_PREFIX):
        raise NotFound(f"there is no guardrail {id[:100]!r}; GET /guardrails lists what there is", param="id")
    return Guardrail(
        id=id,
        name=f"All keys of {workspace.name}"[:200],
        workspace_id=workspace.id,
        rules=Rules(),
        created_unix=workspace.created_unix,
    )


def _written(request: Request) -> str:
    """The id in the path, of a guardrail that somebody has written. Raises NotFound, BadRequest."""
    guardrail = _found(request)
    if guardrail.id.startswith(DEFAULT_PREFIX):
        raise BadRequest(
            "this guardrail holds for all keys of its workspace and is not assigned; make another one for single keys",
            param="id",
        )
    return guardrail.id


def _workspace(request: Request, reference: str) -> str:
    workspace = request.server.workspaces.find(reference)
    if workspace is None:
        raise BadRequest(
            f"there is no workspace {reference[:100]!r}; GET /workspaces lists what there is", param="workspace_id"
        )
    return workspace.id


def _one_of(body: KeyNames | MemberNames, usual: str) -> list[str]:
    """What a body names in whichever word. Raises BadRequest where it does in none, or in several."""
    found = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not None}
    if len(found) != 1:
        words = " or ".join(body.__struct_fields__)
        raise BadRequest(f"send a list as one of {words}", param=usual)
    (value,) = found.values()
    return list(value)


def _part(query: Page, found: Sequence[T]) -> Sequence[T]:
    return found[query.offset : query.offset + query.limit]


def _detail(body: GuardrailSettings) -> dict[str, Any]:
    return {name: value for name, value in given(body).items() if name != "id"}


def _held(each: Held) -> KeyAssignment:
    return KeyAssignment(
        id=each.id,
        guardrail_id=each.guardrail_id,
        key_hash=each.key_hash,
        key_name=each.key_name,
        key_label=each.key_label,
        assigned_by=each.assigned_by,
        created_at=moment(each.created_unix),
    )


def _joined(each: Joined) -> MemberAssignment:
    return MemberAssignment(
        id=each.id,
        guardrail_id=each.guardrail_id,
        user_id=each.user_id,
        organization_id=ORGANIZATION,
        assigned_by=each.assigned_by,
        created_at=moment(each.created_unix),
    )


def _route(method: str, path: str, handler: Handler, status: int = 200) -> Route:
    return Route(method=method, path=path, handler=handler, scope=SCOPE, status=status, alone=method in CHANGES)


#: what reads before it writes
CHANGES = ("PATCH", "DELETE")
ONE = "/guardrails/{id}"
ROUTES = [
    _route("GET", "/guardrails", listed),
    _route("POST", "/guardrails", create, 201),
    _route("GET", "/guardrails/assignments/keys", keys_of_all),
    _route("GET", "/guardrails/assignments/members", members_of_all),
    _route("GET", ONE, one),
    _route("PATCH", ONE, update),
    _route("DELETE", ONE, delete),
    *(
        route
        for path in ("assignments/", "")
        for route in (
            _route("GET", f"{ONE}/{path}keys", keys_of),
            _route("POST", f"{ONE}/{path}keys", assign_keys),
            _route("POST", f"{ONE}/{path}keys/remove", remove_keys),
            _route("GET", f"{ONE}/{path}members", members_of),
            _route("POST", f"{ONE}/{path}members", assign_members),
            _route("POST", f"{ONE}/{path}members/remove", remove_members),
        )
    ),
]
