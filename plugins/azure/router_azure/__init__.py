"""OpenAI on Azure as a provider: OpenAI's API under another address, with other credentials, and deployments in place of models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from msgspec import Raw, field
from msgspec.structs import replace
from router_openai import OpenAI
from router_openai.deviations import completes, parameters_of, reasons

from router import (
    Automatic,
    Candidate,
    ChatRequest,
    Credential,
    Model,
    Outgoing,
    Provider,
    ProviderSettings,
    Timeouts,
    UpstreamError,
    hookimpl,
    load_catalogue,
)
from router.wire import openai as wire

from .tokens import Tokens

#: the API without dates: the deployment stands in the body
V1 = ("v1", "preview")
_DATED = re.compile(r"\d{4}-\d\d-\d\d(?:-preview)?")
#: the first dated version whose streams can be asked for usage
_COUNTS_STREAMS = "2024-09-01"
#: what people may have copied behind the resource's own address
_TAIL = re.compile(r"/openai(?:/(?:v1|deployments))?$")
#: models of others, which Azure has in chat completions only; a deployment with a name of its own is taken for one of OpenAI's
_OTHERS = re.compile(r"deepseek|grok|kimi|(?:meta-)?llama|mistral|ministral|codestral|phi-|mai-|gpt-oss", re.IGNORECASE)


class AzureSettings(ProviderSettings, kw_only=True, forbid_unknown_fields=True):
    """`[providers.<slug>]` with `plugin = "azure"`.

    `base_url` is the resource's address. `api_version` is "v1" (or "preview" of it), or a date as Azure's older API wants it.
    `deployments` says what the resource's deployments are called, by model, where that is another name.

    The credential is `api_key`, or `access_token` (of Entra ID, renewed by somebody else), or a service principal: `tenant_id`,
    `client_id`, `client_secret`. `authority` and `scope` are those of Azure's public cloud.
    """

    api_version: str = "v1"
    deployments: dict[str, str] = field(default_factory=dict)
    access_token: str = ""
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = ""
    authority: str = "https://login.microsoftonline.com"
    scope: str = "https://cognitiveservices.azure.com/.default"

    def __post_init__(self) -> None:
        if not self.base_url:
            raise ValueError("base_url: the resource's address is needed: https://NAME.openai.azure.com")
        if self.api_version not in V1 and not _DATED.fullmatch(self.api_version):
            raise ValueError(f'api_version: "v1", "preview" or a date such as "2024-10-21", not {self.api_version!r}')
        principal = (self.tenant_id, self.client_id, self.client_secret)
        if any(principal) and not all(principal):
            raise ValueError("tenant_id: a service principal needs tenant_id, client_id and client_secret")
        if self.discover:
            raise ValueError("discover: Azure lists what it sells, not what is deployed; name it in deployments")


class Azure(OpenAI):
    """One resource of Azure. What its models refuse is OpenAI's own list; a deployment without an entry in `deployments` is taken for
    the model that it is called after."""

    name = "azure"
    passes: Mapping[str, str] = {  # type: ignore[misc]  # as in the base class
        name: path for name, path in OpenAI.passes.items() if name != "openai.moderations"
    }
    Settings: ClassVar[type[ProviderSettings]] = AzureSettings
    automatic: ClassVar = (
        Automatic(slug="azure", environment="AZURE_OPENAI_API_KEY", variables={"base_url": "AZURE_OPENAI_ENDPOINT"}),
    )

    def __init__(self, slug: str, settings: AzureSettings, timeouts: Timeouts) -> None:
        self._v1 = settings.api_version in V1
        root = _TAIL.sub("", settings.base_url.rstrip("/"))
        place = "/openai/v1" if self._v1 else "/openai/deployments"
        super().__init__(slug, replace(settings, base_url=root + place), timeouts)  # type: ignore[arg-type]
        if not self._v1:
            self.speaks = {name: path for name, path in self.speaks.items() if name != "openai.responses"}
            self.stream_usage = settings.api_version >= _COUNTS_STREAMS
        self._tokens: Tokens | None = None
        self._bearer = not self.credentials
        if not self.credentials:
            self._identify(settings)

    def _identify(self, settings: AzureSettings) -> None:
        """Somebody of Entra ID in place of a key."""
        if settings.access_token:
            self.credentials = [Credential(secret=settings.access_token)]
        elif settings.client_secret:
            self._tokens = Tokens(
                f"{settings.authority.rstrip('/')}/{quote(settings.tenant_id, safe='')}/oauth2/v2.0/token",
                client_id=settings.client_id,
                client_secret=settings.client_secret,
                scope=settings.scope,
            )
            # Nobody sends it: it is there to be masked.
            self.credentials = [Credential(secret=settings.client_secret, label="entra")]

    # --- credentials ---

    def headers(self, key: str) -> dict[str, str]:
        """A key of the resource, or a token."""
        return {"Authorization": f"Bearer {key}"} if self._bearer else {"api-key": key}

    async def sign(self, outgoing: Outgoing, key: str) -> Outgoing:
        """The key, or the service principal's token of the moment."""
        if self._tokens is not None:
            assert self._session is not None
            key = await self._tokens.token(self._session)
        outgoing.headers.update(self.headers(key))
        return outgoing

    def cleaned(self, error: UpstreamError) -> UpstreamError:
        """The token of the moment is a credential too."""
        if self._tokens is not None and self._tokens.current:
            error.message = error.message.replace(self._tokens.current, "***")
        return super().cleaned(error)

    # --- deployments ---

    def catalogue(self) -> list[Model]:
        """The models of `deployments`; without such a table all that Azure sells, as any of them may be deployed under its own name."""
        known = {model.id: model for model in load_catalogue(__name__)}
        deployed = self.settings.deployments
        return [known.get(id) or self.unknown(id) for id in deployed] if deployed else list(known.values())

    def unknown(self, id: str) -> Model:
        """Whatever model a deployment has that is called so."""
        return Model(id=id, name=id, parameters=sorted(parameters_of(id)), reasoning=reasons(id))

    def relays(self, dialect: str, candidate: Candidate) -> bool:
        """The Responses API has no date, and no models of others."""
        if dialect not in self.speaks:
            return False
        model = candidate.endpoint.model.id
        if dialect == "openai.responses" and _OTHERS.match(model):
            return False
        if dialect == "openai.completions":
            return completes(model.replace("gpt-35", "gpt-3.5"))  # Azure's name of it
        return super().relays(dialect, candidate)

    def raw_path(self, dialect: str, candidate: Candidate, stream: bool) -> str:
        """Where a deployment's operation is."""
        return self._path(super().raw_path(dialect, candidate, stream), candidate.endpoint.model.id)

    def pass_path(self, dialect: str, candidate: Candidate, operation: str) -> str | None:
        """The same for operations other than chat."""
        path = super().pass_path(dialect, candidate, operation)
        return None if path is None else self._path(path, candidate.endpoint.model.id)

    def raw_patch(self, dialect: str, members: dict[str, Raw], candidate: Candidate) -> None:
        """What OpenAI's models would refuse goes, and the deployment is the model."""
        super().raw_patch(dialect, members, candidate)
        members["model"] = Raw(wire.encode(self._deployment(candidate.endpoint.model.id)))

    def encode(self, request: ChatRequest) -> Outgoing:
        """The request as a chat completion of a deployment."""
        outgoing = super().encode(request)
        outgoing.path = self._path(outgoing.path, request.model)
        return outgoing

    def body(self, request: ChatRequest) -> tuple[dict[str, Any], list[str], list[str]]:
        """The body with the deployment as its model."""
        told, dropped, warnings = super().body(request)
        return told | {"model": self._deployment(request.model)}, dropped, warnings

    def _deployment(self, model: str) -> str:
        name: str = self.settings.deployments.get(model, model)
        return name

    def _path(self, path: str, model: str) -> str:
        version = self.settings.api_version
        if self._v1:
            return path if version == "v1" else f"{path}?api-version={version}"
        return f"/{quote(self._deployment(model), safe='')}{path}?api-version={version}"


@hookimpl
def router_providers() -> list[type[Provider]]:
    """OpenAI on Azure."""
    return [Azure]
