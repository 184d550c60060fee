"""Keys that clients bring for providers (BYOK, api.md 14): credentials beside the configured ones, whose use costs nothing here.

`vault` encrypts them, `routes` is their API, `store.byok` keeps them.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ...api import Route
from ...call import Call, Credential, Endpoint
from ...errors import NotImplementedHere
from ...hookspecs import hookimpl
from ...identity import DEFAULT_WORKSPACE
from ...store.byok import ByokKey, ByokKeys
from .routes import routes
from .vault import Locked, Vault, available

if TYPE_CHECKING:
    from ...server import Server

log = logging.getLogger(__name__)


class Byok:
    """The plugin. Without it there are no such keys."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.keys: ByokKeys
        #: the keys in clear, by id and version, opened when they are first needed; None for what cannot be opened
        self._opened: dict[tuple[str, int], str | None] = {}
        self._secret = ""
        self._loaded = False

    # --- hooks ---

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """Bringing, looking at and changing them."""
        return routes(self)

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """They are in memory while the server runs."""
        return self._running()

    @hookimpl
    def router_credentials(self, endpoint: Endpoint) -> Sequence[Credential]:
        """Those of the endpoint's provider, as far as they may be used for its model."""
        keys = self.keys.all() if self._loaded else []
        if not keys or not self.configured:
            return ()
        return [
            credential
            for key in keys
            if key.provider == endpoint.provider.slug and not key.disabled and _for_model(key, endpoint)
            if (credential := self._credential(key)) is not None
        ]

    # --- what it is encrypted with ---

    @property
    def configured(self) -> bool:
        """Can keys be encrypted?"""
        return bool(self._server.settings.byok.key) and available()

    @property
    def vault(self) -> Vault:
        """Raises NotImplementedHere where there is none, with what to do."""
        if not self.configured:
            raise NotImplementedHere(
                "keys of clients need `pip install 'onebox-router[byok]'` and a secret of at least 32 characters in byok.key, such as "
                'key = "env:ROUTER_BYOK_KEY" in [byok]',
                code="not_configured",
            )
        return Vault(self._server.settings.byok.key)

    def _credential(self, key: ByokKey) -> Credential | None:
        secret = self._open(key)
        if secret is None:
            return None
        label = f"byok {key.id} {key.version}"
        return Credential(secret=secret, label=label, byok=True, last=key.is_fallback, serves=self._serves(key))

    def _open(self, key: ByokKey) -> str | None:
        if self._secret != self._server.settings.byok.key:  # a reload
            self._secret = self._server.settings.byok.key
            self._opened.clear()
        at = (key.id, key.version)
        if at not in self._opened:
            try:
                self._opened[at] = self.vault.open(key.sealed, key.id)
            except Locked:
                log.error("the provider key %s was encrypted with another byok.key and is not used", key.id)
                self._opened[at] = None
        return self._opened[at]

    # --- whom it serves ---

    def _serves(self, key: ByokKey) -> Callable[[Call], bool] | None:
        hashes, users, workspace = key.allowed_api_key_hashes, key.allowed_user_ids, key.workspace_id
        if hashes is None and users is None and workspace is None:
            return None

        def serves(call: Call) -> bool:
            caller = call.identity
            if caller is None:
                return False
            if workspace is not None and (caller.workspace_id or DEFAULT_WORKSPACE) != workspace:
                return False
            if users is not None and caller.creator_user_id not in users:
                return False
            return hashes is None or caller.hash in hashes or any(self._same(caller.id, hash) for hash in hashes)

        return serves

    def _same(self, id: str, hash: str) -> bool:
        """Is this hash one of an earlier secret of the key with this id?"""
        found = self._server.keys.get(hash)
        return found is not None and found.id == id

    # --- while the server runs ---

    def _changed(self) -> None:
        self._server.table.pools.clear()
        known = {(key.id, key.version) for key in self.keys.all()}
        for gone in self._opened.keys() - known:
            del self._opened[gone]

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self.keys = ByokKeys(self._server.database, self._changed)
        await self.keys.load()
        self._loaded = True
        if self.keys.all() and not self.configured:
            log.warning("%s provider keys are not used: byok.key or the extra `byok` is missing", len(self.keys.all()))
        yield


def _for_model(key: ByokKey, endpoint: Endpoint) -> bool:
    allowed = key.allowed_models
    names = (endpoint.model_id, endpoint.model.id)
    return allowed is None or any(fnmatchcase(name, glob) for glob in allowed for name in names)
