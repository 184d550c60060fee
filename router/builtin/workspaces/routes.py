"""Workspaces, their budgets and members, and the members of the organization (api.md 14). For keys with the scope `config:manage`.

One box belongs to one local user, who is the only member of everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from ...api import Handler, Request, Route
from ...api.moments import moment
from ...api.typed import given
from ...errors import BadRequest, Conflict, NotFound
from ...identity import LOCAL_USER
from ...prices import picodollars, usd
from ...store.guardrails import DEFAULT_PREFIX, INTERVALS
from ...store.workspaces import Amount, Workspace, new_id

SCOPE = "config:manage"
DEFAULT_PAGE, LONGEST_PAGE = 100, 1000

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Slug = Annotated[str, Meta(min_length=1, max_length=50, pattern="^[a-z0-9]+(?:-[a-z0-9]+)*$")]
Text = Annotated[str, Meta(max_length=200)]
T = TypeVar("T")


class Page(Struct, kw_only=True):
    """Which part of a list."""

    offset: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=LONGEST_PAGE)] = DEFAULT_PAGE


class WorkspaceSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a change names; null clears. Beyond name, slug and description the router keeps them and does not go by them."""

    name: Name | UnsetType = UNSET
    slug: Slug | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=500)] | UnsetType | None = UNSET
    default_text_model: Text | UnsetType | None = UNSET
    default_image_model: Text | UnsetType | None = UNSET
    default_provider_sort: Text | UnsetType | None = UNSET
    io_logging_api_key_ids: Annotated[list[int], Meta(max_length=1000)] | UnsetType | None = UNSET
    io_logging_sampling_rate: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    is_data_discount_logging_enabled: bool | UnsetType = UNSET
    is_observability_broadcast_enabled: bool | UnsetType = UNSET
    is_observability_io_logging_enabled: bool | UnsetType = UNSET


class NewWorkspace(WorkspaceSettings, kw_only=True, forbid_unknown_fields=True):
    """A new workspace. Its slug is made of its name where it has none."""

    name: Name


class Shown(Struct, kw_only=True):
    """A workspace. `default_guardrail_id`: what holds for all its keys."""

    id: str
    slug: str
    name: str
    description: str | None
    created_at: str
    updated_at: str | None
    created_by: str | None
    default_guardrail_id: str
    include_byok_in_budgets: bool
    default_text_model: str | None = None
    default_image_model: str | None = None
    default_provider_sort: str | None = None
    io_logging_api_key_ids: list[int] | None = None
    io_logging_sampling_rate: float = 1.0
    is_data_discount_logging_enabled: bool = False
    is_observability_broadcast_enabled: bool = False
    is_observability_io_logging_enabled: bool = False


class WorkspaceFound(Struct):
    """One workspace."""

    data: Shown


class WorkspaceList(Struct):
    """A part of the workspaces, the oldest first."""

    data: list[Shown]
    total_count: int


class Deleted(Struct):
    """It is gone."""

    deleted: bool = True


class BudgetForm(Struct, kw_only=True, forbid_unknown_fields=True):
    """A budget in USD."""

    limit_usd: Annotated[float, Meta(gt=0, lt=4_000_000)]
    include_byok_in_budgets: bool | None = None


class ShownBudget(Struct, kw_only=True):
    """A budget in USD; `reset_interval` null: for good."""

    id: str
    workspace_id: str
    limit_usd: float
    reset_interval: Literal["daily", "weekly", "monthly"] | None
    created_at: str
    updated_at: str


class BudgetFound(Struct):
    """One budget."""

    data: ShownBudget
    include_byok_in_budgets: bool


class BudgetList(Struct):
    """All budgets of a workspace, the broadest first."""

    data: list[ShownBudget]
    include_byok_in_budgets: bool


class Member(Struct, kw_only=True):
    """A member of a workspace."""

    id: str
    workspace_id: str
    user_id: str
    role: Literal["admin", "member"]
    created_at: str


class MemberList(Struct):
    """Who works in it."""

    data: list[Member]
    total_count: int


class Users(Struct, kw_only=True, forbid_unknown_fields=True):
    """Users by id."""

    user_ids: Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(min_length=1, max_length=1000)]


class MembersAdded(Struct):
    """Who was added, and who they are now."""

    added_count: int
    data: list[Member]


class Person(Struct, kw_only=True):
    """A member of the organization."""

    id: str
    email: str
    first_name: str | None
    last_name: str | None
    role: Literal["org:admin", "org:member"]


class People(Struct):
    """Everybody there is."""

    data: list[Person]
    total_count: int


# --- workspaces ------------------------------------------------------------------------------------------------------


async def listed(request: Request, query: Page) -> WorkspaceList:
    """A part of them, the oldest first."""
    found = request.server.workspaces.all()
    return WorkspaceList([shown(each) for each in _part(query, found)], len(found))


async def create(request: Request, body: NewWorkspace) -> WorkspaceFound:
    """Make one. Raises Conflict where its slug is taken."""
    server, said = request.server, dict(given(body))
    workspace = Workspace(
        id=new_id(),
        slug=said.pop("slug", None) or _slug(body.name),
        name=said.pop("name"),
        description=said.pop("description", None) or None,
        created_unix=server.clock.wall(),
        created_by=request.caller.creator_user_id or LOCAL_USER,
        settings=_kept(said),
    )
    change = request.change("workspace.create", workspace.id, **given(body))
    return WorkspaceFound(shown(await server.workspaces.put(workspace, change)))


async def one(request: Request) -> WorkspaceFound:
    """One by id or slug. Raises NotFound."""
    return WorkspaceFound(shown(_found(request)))


async def update(request: Request, body: WorkspaceSettings) -> WorkspaceFound:
    """Change what is named; null clears. Raises NotFound, Conflict."""
    server, old, said = request.server, _found(request), dict(given(body))
    new = Workspace(
        id=old.id,
        slug=said.pop("slug", old.slug),
        name=said.pop("name", old.name),
        description=said.pop("description", old.description) or None,
        created_unix=old.created_unix,
        updated_unix=server.clock.wall(),
        created_by=old.created_by,
        include_byok=old.include_byok,
        settings=_kept(old.settings | said),
    )
    change = request.change("workspace.update", old.id, **given(body))
    return WorkspaceFound(shown(await server.workspaces.put(new, change)))


async def delete(request: Request) -> Deleted:
    """Take one away that nothing lies in. Raises NotFound, Conflict."""
    old = _found(request)
    await request.server.workspaces.delete(old.id, request.change("workspace.delete", old.id, slug=old.slug))
    return Deleted()


# --- budgets ---------------------------------------------------------------------------------------------------------


async def budgets(request: Request) -> BudgetList:
    """All budgets, the broadest first. Raises NotFound."""
    workspace = _found(request)
    found = [
        _budget(workspace, interval, workspace.budgets[interval])
        for interval in reversed(INTERVALS)
        if interval in workspace.budgets
    ]
    return BudgetList(found, workspace.include_byok)


async def budget(request: Request) -> BudgetFound:
    """One budget. Raises NotFound."""
    workspace, interval = _found(request), _interval(request)
    return BudgetFound(_budget(workspace, interval, _amount(workspace, interval)), workspace.include_byok)


async def set_budget(request: Request, body: BudgetForm) -> BudgetFound:
    """Set a budget; a longer one is always greater than a shorter one. Raises NotFound, BadRequest."""
    server, workspace, interval = request.server, _found(request), _interval(request)
    amount = picodollars(body.limit_usd)
    _in_order({name: each.amount for name, each in workspace.budgets.items()} | {interval: amount}, interval)
    change = request.change("workspace.set_budget", workspace.id, interval=interval, **_said(body))
    await server.workspaces.set_budget(workspace.id, interval, amount, body.include_byok_in_budgets, change)
    return await budget(request)


async def drop_budget(request: Request) -> Deleted:
    """Take a budget away. Raises NotFound."""
    workspace, interval = _found(request), _interval(request)
    _amount(workspace, interval)
    change = request.change("workspace.drop_budget", workspace.id, interval=interval)
    await request.server.workspaces.drop_budget(workspace.id, interval, change)
    return Deleted()


def _in_order(amounts: dict[str, int], changed: str) -> None:
    """Raises BadRequest where a longer interval has no greater budget than a shorter one."""
    ordered = [(interval, amounts[interval]) for interval in INTERVALS if interval in amounts]
    for (short, less), (long, more) in pairwise(ordered):
        if less >= more:
            raise BadRequest(
                f"the {changed} budget: the {long} one (${usd(more):g}) must be greater than the {short} one (${usd(less):g})",
                param="limit_usd",
            )


def _amount(workspace: Workspace, interval: str) -> Amount:
    if (amount := workspace.budgets.get(interval)) is None:
        raise NotFound(f"the workspace {workspace.slug!r} has no {interval} budget; PUT sets one", param="interval")
    return amount


def _interval(request: Request) -> str:
    interval = request.http.match_info["interval"]
    if interval not in INTERVALS:
        raise BadRequest(f"the interval is one of {', '.join(INTERVALS)}, not {interval[:50]!r}", param="interval")
    return interval


# --- members ---------------------------------------------------------------------------------------------------------


async def members(request: Request, query: Page) -> MemberList:
    """The local user. Raises NotFound."""
    found = [_member(_found(request))]
    return MemberList(list(_part(query, found)), len(found))


async def add_members(request: Request, body: Users) -> MembersAdded:
    """The local user is there already, and there is nobody else. Raises NotFound."""
    workspace = _found(request)
    _only_local(body)
    return MembersAdded(0, [_member(workspace)])


async def remove_members(request: Request, body: Users) -> Any:
    """Raises Conflict: the local user stays."""
    _found(request)
    _only_local(body)
    raise Conflict("the local user is the only member of every workspace and stays")


async def people(request: Request, query: Page) -> People:
    """The local user."""
    local = Person(id=LOCAL_USER, email="local@localhost", first_name=None, last_name=None, role="org:admin")
    return People(list(_part(query, [local])), 1)


def _only_local(body: Users) -> None:
    if strange := [each for each in body.user_ids if each != LOCAL_USER]:
        raise NotFound(
            f"there is no user {strange[0][:100]!r}; GET /organization/members lists who there is", param="user_ids"
        )


def _member(workspace: Workspace) -> Member:
    return Member(
        id=f"member_of_{workspace.id}",
        workspace_id=workspace.id,
        user_id=LOCAL_USER,
        role="admin",
        created_at=moment(workspace.created_unix),
    )


# --- helpers ---------------------------------------------------------------------------------------------------------


def _found(request: Request) -> Workspace:
    return request.server.workspaces.known(request.http.match_info["id"])


def _part(query: Page, found: Sequence[T]) -> Sequence[T]:
    return found[query.offset : query.offset + query.limit]


def _slug(name: str) -> str:
    """Raises BadRequest where nothing of the name can be in one."""
    words = "".join(each if each.isascii() and each.isalnum() else " " for each in name.lower()).split()
    if not words:
        raise BadRequest("send a slug: lower-case letters, digits and single hyphens", param="slug")
    return "-".join(words)[:50].rstrip("-")


def _kept(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _said(body: BudgetForm) -> dict[str, Any]:
    return {"limit_usd": body.limit_usd, "include_byok_in_budgets": body.include_byok_in_budgets}


def shown(workspace: Workspace) -> Shown:
    """A workspace as the API shows it."""
    return Shown(
        id=workspace.id,
        slug=workspace.slug,
        name=workspace.name,
        description=workspace.description,
        created_at=moment(workspace.created_unix),
        updated_at=None if workspace.updated_unix is None else moment(workspace.updated_unix),
        created_by=workspace.created_by,
        default_guardrail_id=DEFAULT_PREFIX + workspace.id,
        include_byok_in_budgets=workspace.include_byok,
        **workspace.settings,
    )


def _budget(workspace: Workspace, interval: Any, amount: Amount) -> ShownBudget:
    return ShownBudget(
        id=amount.id,
        workspace_id=workspace.id,
        limit_usd=usd(amount.amount),
        reset_interval=None if interval == "lifetime" else interval,
        created_at=moment(amount.created_unix),
        updated_at=moment(amount.updated_unix),
    )


def _route(method: str, path: str, handler: Handler, status: int = 200) -> Route:
    return Route(method=method, path=path, handler=handler, scope=SCOPE, status=status, alone=method in CHANGES)


#: what reads before it writes
CHANGES = ("PATCH", "PUT", "DELETE")
ONE, BUDGET = "/workspaces/{id}", "/workspaces/{id}/budgets/{interval}"
ROUTES = [
    _route("GET", "/workspaces", listed),
    _route("POST", "/workspaces", create, 201),
    _route("GET", ONE, one),
    _route("PATCH", ONE, update),
    _route("DELETE", ONE, delete),
    _route("GET", f"{ONE}/budgets", budgets),
    _route("GET", BUDGET, budget),
    _route("PUT", BUDGET, set_budget),
    _route("DELETE", BUDGET, drop_budget),
    _route("GET", f"{ONE}/members", members),
    _route("POST", f"{ONE}/members/add", add_members),
    _route("POST", f"{ONE}/members/remove", remove_members),
    _route("GET", "/organization/members", people),
]
