"""Who calls, and which endpoints the key or somebody else lets them use."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from .call import Endpoint

#: all scopes there are (api.md 2); an inference key has the first five unless it names its own
SCOPES = (
    "inference",
    "models:read",
    "generation:read",
    "credits:read",
    "usage:read",
    "keys:manage",
    "guardrails:manage",
    "billing:manage",
    "config:manage",
    "logs:read",
    "replay",
)
INFERENCE_SCOPES = frozenset(SCOPES[:5])
MANAGEMENT_SCOPES = frozenset(SCOPES[1:])
#: the workspace that is always there
DEFAULT_WORKSPACE = "default"
#: who works with this box, where a key does not say whose it is
LOCAL_USER = "local"


class Identity(Struct, kw_only=True):
    """Who calls: one key with its settings, as the store holds it (never the key itself).

    `hash` is the SHA-256 of the key as 64 lower hex. `limit` is picodollars, None for no limit; `limit_reset` daily, weekly, monthly
    or None (lifetime). `rpm`, `tpm`, `rpd` are per minute and per UTC day, None for the configured default, -1 for none. `label` is
    made of the key, `own_label` shown in its place. `workspace_id` None is the default one.
    """

    hash: str
    id: str = ""
    name: str = ""
    label: str = ""
    management: bool = False
    scopes: frozenset[str] = INFERENCE_SCOPES
    disabled: bool = False
    expires_unix: float | None = None
    limit: int | None = None
    limit_reset: str | None = None
    include_byok_in_limit: bool = False
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    max_parallel: int | None = None
    allowed_providers: list[str] | None = None
    allowed_models: list[str] | None = None
    allowed_endpoints: list[str] | None = None
    tags: list[str] = field(default_factory=list)
    default_model: str | None = None
    compat: dict[str, Any] = field(default_factory=dict)
    guardrail_id: str | None = None
    workspace_id: str | None = None
    created_unix: float = 0.0
    updated_unix: float | None = None
    own_label: str | None = None
    creator_user_id: str | None = None

    def usable(self, at_unix: float) -> bool:
        """Whether the key is taken at this moment: neither disabled nor over."""
        return not self.disabled and (self.expires_unix is None or at_unix < self.expires_unix)

    @property
    def allowed(self) -> tuple[tuple[str, ...] | None, ...]:
        """All that `excludes` goes by, for those who remember its answers; empty where it excludes nothing."""
        if self.allowed_providers is None and self.allowed_models is None:
            return ()
        return tuple(None if each is None else tuple(each) for each in (self.allowed_providers, self.allowed_models))

    def excludes(self, endpoint: Endpoint) -> str | None:
        """Why this key may not use the endpoint ("key: provider", "key: model"), None where it may."""
        if self.allowed_providers is not None:
            names = (endpoint.provider.slug, endpoint.tag)
            if not any(name in names for name in self.allowed_providers):
                return "key: provider"
        models = self.allowed_models
        if models is not None and not any(fnmatch.fnmatchcase(endpoint.model_id, glob) for glob in models):
            return "key: model"
        return None


class Restriction:
    """What somebody else than the key itself says about what it may use (`router_restrict`). Routing remembers answers by the object:
    one that says something else is another object."""

    def excludes(self, endpoint: Endpoint) -> str | None:
        """Why the endpoint may not be used, None where it may. A reason begins with its name in `availability.excluded_by` (api.md 4.2)
        and a colon."""
        return None
