"""Every hook there is. pluggy passes only the arguments that an implementation names.

*first*: the first answer that is not None wins; *all*: everybody is asked. Where a hook is awaited, the call itself is
synchronous and core awaits what comes back. Third parties run before the builtins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pluggy

from .events import Event
from .model import ChatRequest
from .prices import Usage

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from msgspec import Struct

    from .api import Route
    from .call import Attempt, Call, Candidate, Credential, Endpoint, Recalled, Sink
    from .dialects.base import Dialect
    from .generation import Generation
    from .identity import Identity, Restriction
    from .payments import Payments
    from .provider import Provider, Upstream
    from .server import Server
    from .store.migrations import Migration

hookspec = pluggy.HookspecMarker("router")
hookimpl = pluggy.HookimplMarker("router")

#: the version of this file; plugins are refused when theirs is another one
API = 1

Transform = Callable[[ChatRequest], Awaitable[ChatRequest]]
Filter = Callable[[AsyncIterator[Event]], AsyncIterator[Event]]
Rewrite = Callable[[bytes], bytes]

# --- once, at start --------------------------------------------------------------------------------------------------


@hookspec
def router_providers() -> Sequence[type[Provider]]:
    """Return the provider classes that this plugin brings. All; called once, when the plugin is loaded.

    The configuration makes instances of them: `[providers.<slug>] plugin = "<Provider.name>"`.

    .. versionadded:: 1
    """
    return ()


@hookspec
def router_dialects() -> Sequence[Dialect]:
    """Return further client APIs. All; called once at start, before the routes are made.

    .. versionadded:: 1
    """
    return ()


@hookspec
def router_settings() -> dict[str, type[Struct]]:
    """Return the schema of your own configuration table: `{"name": Struct}` for `[plugins.name]`. All; called once.

    .. versionadded:: 1
    """
    return {}


@hookspec
def router_routes(app: Server) -> Sequence[Route]:
    """Return web routes (`router.api.Route`), for management or dashboard pages. All; called once at start.

    `app` is the `router.server.Server` with settings, store, plugins and ledger. Each route names the scope that a key needs.

    .. versionadded:: 1
    """
    return ()


@hookspec
def router_commands(subparsers: _SubParsersAction[Any]) -> None:
    """Add commands to the command line. All; called before it is parsed. Set `run` by `set_defaults`: `run(args) -> int`.

    .. versionadded:: 1
    """


@hookspec
def router_migrations() -> Sequence[Migration]:
    """Return the migrations of your own tables, whose names begin with your plugin's. All; called once, before the start.

    .. versionadded:: 1
    """
    return ()


@hookspec
def router_lifespan(app: Server) -> AbstractAsyncContextManager[None]:
    """Return a context that is open while the server runs: background work. All; opened at start, closed in reverse.

    .. versionadded:: 1
    """
    raise TypeError("a specification is never called")


@hookspec(firstresult=True)
def router_payments(settings: Mapping[str, Struct]) -> Payments | None:
    """Return the service by which credits are paid for, or None where you are not set up. First; called once at start.

    `settings` are the tables `[plugins.<name>]` by name, each as its plugin's own Struct. A `Payments` makes charges and reads the
    notices of its service; that a charge is booked, and booked once, is seen to here.

    .. versionadded:: 1
    """


# --- per call, in this order -----------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def router_authenticate(call: Call) -> Awaitable[Identity] | Identity | None:
    """Recognise the credential (`call.presented`) or return None at once to leave it to the next plugin. First.

    The claim is synchronous; the work may be awaited. Called before the body is read. Raise `Unauthenticated` to refuse.
    `call.operation` and `call.asked_path` say what for: `Forbidden` is for who may not.

    .. versionadded:: 1
    """


@hookspec
def router_received(call: Call) -> None:
    """The client's body is here (`call.body`) and nobody has read it yet. All; synchronous; called for every call.

    What you leave in `call.body` is what the client is taken to have sent, and so is `call.path` (the model of Google's clients). Look
    for something cheap first: bodies have many megabytes. `call.identity` is set. Raise a `RouterError` to refuse.

    .. versionadded:: 1
    """


@hookspec(firstresult=True)
def router_answer(call: Call) -> Awaitable[bytes] | None:
    """Answer this call yourself, in place of any model: return a coroutine of the whole plain body, or None at once. First.

    `call.identity` and `call.head` are set. Called before `router_admit`: a call that is answered here is not checked against limits,
    not counted and not booked. Who answers because the work is done elsewhere gives it to a call of its own
    (`app.lifecycle.execute`), which is. Raise a `RouterError` from the coroutine to refuse.

    .. versionadded:: 1
    """


@hookspec
async def router_admit(call: Call) -> None:
    """Refuse by raising a `RouterError`: rate, credits, allowed models, moderation. All, awaited in order.

    `call.identity` and `call.head` are set, the plan is not. The first refusal ends the call. Implementations must be `async def`.

    A plugin that will turn files (or images, …) into text for models without them adds the modality to `call.head.converts` here,
    and changes the request in `router_transform`.

    .. versionadded:: 1
    """


@hookspec
def router_request_plugins() -> Sequence[str]:
    """Return the ids by which requests may ask for this plugin (`plugins: [{"id": …}]`, `transforms`). All; synchronous.

    Whoever is asked for finds its entry in `call.head.plugins`. An id that nobody returns is refused with 400, one of the contract's
    with 501 `not_configured`: so return it only where the plugin is set up.

    .. versionadded:: 1
    """
    return ()


@hookspec
def router_transform(call: Call) -> Transform | None:
    """Say that you will change the request: return `async (ChatRequest) -> ChatRequest`, or None. All; synchronous.

    `call.plan` is set. A call that somebody transforms leaves the raw lane. Not asked for operations other than chat (embeddings,
    moderations, …), which have no `ChatRequest`: `router_admit` sees those, `router_rewrite` their answers.

    .. versionadded:: 1
    """


@hookspec
def router_review(call: Call) -> Transform | None:
    """Say that you will look at what other plugins have made of the request: return as `router_transform` does. All; synchronous.

    Asked only where somebody transforms, and applied behind all of them: what plugins add (pages of the web, files as text) is in the
    `ChatRequest` then. Raise a `RouterError` to refuse.

    .. versionadded:: 1
    """


@hookspec
def router_restrict(identity: Identity) -> Restriction | None:
    """Say which endpoints this key may not use: return a `router.Restriction`, or None. All; synchronous.

    Asked for every plan, before `router_candidates`, and for the list of models that a key may ask. Routing remembers what an object
    has said and asks it once for each endpoint: return the same one for as long as it says the same.

    .. versionadded:: 1
    """


@hookspec
def router_candidates(call: Call) -> Sequence[Candidate]:
    """Where could this call go? Return candidates in the order of the models that the request names. All; synchronous.

    .. versionadded:: 1
    """
    return ()


@hookspec
def router_credentials(endpoint: Endpoint) -> Sequence[Credential]:
    """Bring further credentials for an endpoint: keys of clients, rented ones. All; synchronous.

    They are asked before the configured ones in the order given, or behind these where `last` is set; `serves` may keep one from a
    call. `label` tells each from all others of its provider: a credential that the upstream refuses is disabled by its label, until a
    reload. Called once for each endpoint and list of models, not for each call: after a change empty `app.table.pools`.

    .. versionadded:: 1
    """
    return ()


@hookspec(firstresult=True)
def router_rank(call: Call, candidates: Sequence[Candidate]) -> Sequence[Candidate] | None:
    """In which order? May drop some; say why in `call.plan.filtered`. First; synchronous.

    .. versionadded:: 1
    """


@hookspec(firstresult=True)
def router_recall(call: Call) -> Recalled | None:
    """Is the answer of this call there already? Return it in the client's own form, or None. First; synchronous.

    Called when the plan's candidates are known, before transforms and filters, which do not see such a call: no upstream is asked, no
    attempt is made, nothing is used and nothing charged. It is counted by the limits and gets its row. Raise a `RouterError` to refuse.

    .. versionadded:: 1
    """


@hookspec(firstresult=True)
def router_attempt(call: Call, candidate: Candidate) -> AbstractAsyncContextManager[Upstream] | None:
    """One try: return a context that opens `call.outgoing` at the candidate and closes it. First; wrap it (pluggy's
    `hookimpl(wrapper=True)`) to cache, replay, time, sign or inject faults.

    Raise `UpstreamError` leaves from the context; they decide whether the next candidate is asked.

    .. versionadded:: 1
    """


@hookspec
def router_filter(call: Call) -> Filter | None:
    """Say that you want to see or change the answer: return `(AsyncIterator[Event]) -> AsyncIterator[Event]`, or None. All.

    Asked once per call, never per chunk. A call that somebody filters leaves the raw lane.

    .. versionadded:: 1
    """


@hookspec
def router_rewrite(call: Call) -> Rewrite | None:
    """Say that you will change the answer of an operation other than chat (transcriptions, …): return `(bytes) -> bytes`, or None. All.

    Synchronous. The answer is held until it is whole then, also one that streams; `call.outcome.media_type` says what it is. Raise a
    `RouterError` to refuse: with `spent` set, what the upstream has done is charged all the same.

    .. versionadded:: 1
    """


@hookspec
def router_sink(call: Call) -> Callable[[Sink], Sink] | None:
    """Say that you want to see or change what goes to the client, in its own form: return `(Sink) -> Sink`, or None. All.

    Asked once per call, when it is admitted and its plan is made: refusals do not come through here. The call stays on its lane. The
    `finish` of a sink gets the whole plain body, or the terminal frames of a stream; what you do there is what the client waits for.

    .. versionadded:: 1
    """


@hookspec(firstresult=True)
def router_price(call: Call, usage: Usage) -> int | None:
    """Return what this call costs, in picodollars, or None to leave it to the next plugin. First; synchronous.

    Called once per settled call, on the path that must never wait. Refusing is not possible here; use `router_admit` for that.

    .. versionadded:: 1
    """


@hookspec(firstresult=True)
def router_rate_limit(identity: Identity) -> tuple[int, int, int] | None:
    """Return (limit, remaining, reset in unix seconds) of this key's tightest request window, or None where there is none. First;
    synchronous.

    Printed as `X-RateLimit-*` on answers that are no calls; a call has its own (`call.rate_limit`). Counts nothing.

    .. versionadded:: 1
    """


# --- told afterwards -------------------------------------------------------------------------------------------------


@hookspec
def router_attempted(call: Call, attempt: Attempt) -> None:
    """An attempt is over: `attempt.error` is None or says why it failed. All; synchronous; a failure is logged and skipped.

    The next candidate is asked where `attempt.error.falls_over` says so: you may set it.

    .. versionadded:: 1
    """


@hookspec
async def router_settled(generation: Generation) -> None:
    """A call's row is committed. All, awaited one after the other behind the answer; a failure is logged and skipped.

    .. versionadded:: 1
    """


@hookspec
def router_forget(identity: Identity) -> None:
    """A key was deleted: forget what you hold for it in memory. All; synchronous; a failure is logged and skipped.

    Called once for each secret of the key (those that rotation left in force have the same `id`), also where another process has
    deleted it. Your tables forget in the transaction of the deletion, by a trigger after the update of `key.deleted_unix`.

    .. versionadded:: 1
    """
