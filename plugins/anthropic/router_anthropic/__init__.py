"""Anthropic's Messages API as a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from router import (
    Automatic,
    ChatRequest,
    Credential,
    Event,
    MessageEvent,
    Model,
    Outgoing,
    Provider,
    ProviderSettings,
    Reply,
    Timeouts,
    Upstream,
    UpstreamError,
    UpstreamUnavailable,
    hookimpl,
    load_catalogue,
)
from router.wire import anthropic as wire

from . import decode, encode
from .failures import failure
from .traits import traits

#: members of a request that make its prompt longer or shorter
COUNTED = (
    *("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"),
    *("mcp_servers", "context_management"),
)


class Anthropic(Provider):
    """Claude by Anthropic, or another maker's model behind the same API."""

    name = "anthropic"
    speaks: ClassVar[dict[str, str]] = {"anthropic.messages": "/v1/messages"}
    automatic = (Automatic(slug="anthropic", environment="ANTHROPIC_API_KEY"),)
    many_choices = False

    class Settings(ProviderSettings):
        """`[providers.<slug>]` with `plugin = "anthropic"`. `version` is sent as `anthropic-version`; further headers, such as
        `anthropic-beta`, belong in `headers`."""

        base_url: str = "https://api.anthropic.com"
        version: str = "2023-06-01"

    def __init__(self, slug: str, settings: Any, timeouts: Timeouts) -> None:
        super().__init__(slug, settings, timeouts)
        self._max_output = {id: model.max_output for model in self.catalogue() for id in (model.id, *model.aliases)}
        self._betas = next((text for name, text in settings.headers.items() if name.lower() == "anthropic-beta"), "")

    def headers(self, key: str) -> dict[str, str]:
        """The key, and the version of the API that is spoken."""
        headers = {"anthropic-version": self.settings.version}
        return {"x-api-key": key, **headers} if key else headers

    async def sign(self, outgoing: Outgoing, key: str) -> Outgoing:
        """Add key and version. The client's own version and betas belong to its body: they stand, beside the configured betas."""
        outgoing.headers = {**self.headers(key), **outgoing.headers}
        if self._betas and "anthropic-beta" in outgoing.headers:
            outgoing.headers["anthropic-beta"] = encode.joined(self._betas, outgoing.headers["anthropic-beta"])
        return outgoing

    def searches(self, model: str) -> bool:
        """Claude does, since 3.5."""
        return not model.startswith(
            ("claude-2", "claude-instant", "claude-3-opus", "claude-3-sonnet", "claude-3-haiku")
        )

    def encode(self, request: ChatRequest) -> Outgoing:
        """The Messages body."""
        return encode.outgoing(request, max_output=self._max_output.get(request.model, 0), betas=self._betas)

    async def count_tokens(self, request: ChatRequest, credential: Credential) -> int | None:
        """`POST /v1/messages/count_tokens`, which takes the prompt and what changes its length."""
        outgoing = self.encode(request)
        members = wire.decode_members(outgoing.body)
        outgoing.path = "/v1/messages/count_tokens"
        outgoing.body = msgspec.json.encode({name: members[name] for name in COUNTED if name in members})
        try:
            return wire.decode_count(await self.exchange(outgoing, credential)).input_tokens
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("anthropic's count of tokens cannot be read") from error

    def decode(self, body: bytes) -> Reply:
        """A whole message."""
        return decode.reply(body)

    def events(self, stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
        """A streamed message."""
        return decode.events(stream)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What went wrong, by Anthropic's own names for it."""
        return failure(status, headers, body)

    def catalogue(self) -> list[Model]:
        """The models that ship with the plugin."""
        return load_catalogue(__name__)

    async def models(self) -> list[Model]:
        """All pages of `GET /v1/models`."""
        found: list[Model] = []
        path = "/v1/models?limit=1000"
        while path:
            page = await self._page(path)
            found += [_model(info) for info in page.data]
            path = f"/v1/models?limit=1000&after_id={page.last_id}" if page.has_more and page.last_id else ""
        return found

    async def _page(self, path: str) -> wire.ModelPage:
        response = await self.request(Outgoing(path=path, method="GET"), self.credentials[0])
        async with response:
            body = await Upstream(response=response).read()
        if response.status != 200:
            raise self.cleaned(self.error(response.status, response.headers, body))
        try:
            return wire.decode_model_page(body)
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("anthropic's list of models cannot be read") from error


def _model(info: wire.ModelInfo) -> Model:
    """A model as Anthropic lists it; what it takes is told by its name. No price: that is not in the list."""
    can = traits(info.id)
    parameters = ["max_tokens", "stop", "tools", "tool_choice", "response_format"]
    if can.sampling != "none":
        parameters += ["temperature", "top_p", "top_k"]
    if can.structured:
        parameters.append("structured_outputs")
    if can.thinking != "none":
        parameters += ["reasoning", "include_reasoning"]
    return Model(
        id=info.id,
        name=info.display_name or info.id,
        created=int(datetime.fromisoformat(info.created_at).timestamp()) if info.created_at else 0,
        context_length=info.max_input_tokens or 0,
        max_output=info.max_tokens or 0,
        input_modalities=["text", "image", "file"],
        parameters=parameters,
        reasoning=can.thinking != "none",
        efforts=list(can.efforts),
        tokenizer="Claude",
        deprecated=info.lifecycle in ("deprecated", "retired"),
    )


@hookimpl
def router_providers() -> list[type[Provider]]:
    """Register the provider."""
    return [Anthropic]
