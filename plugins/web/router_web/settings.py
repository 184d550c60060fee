"""What the operator sets (`[plugins.web]`) and what a request may ask for (its entry in `plugins`)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from router import BadRequest, NotImplementedHere

#: where an engine is, unless `base_url` says so
PLACES = {"searxng": "", "brave": "https://api.search.brave.com", "tavily": "https://api.tavily.com"}
#: engines that OpenRouter's clients may name
FOREIGN = ("exa", "firecrawl", "parallel", "perplexity", "auto")
PICODOLLARS = 10**12


class WebSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.web]`. Without an engine only the pages are read that a message names."""

    engine: Literal["", "searxng", "brave", "tavily", "native"] = ""
    base_url: str = ""
    api_key: str = ""
    max_results: Annotated[int, Meta(ge=1, le=20)] = 5
    max_pages: Annotated[int, Meta(ge=1, le=20)] = 5
    read_results: Annotated[int, Meta(ge=0, le=20)] = 3
    page_chars: Annotated[int, Meta(ge=200, le=1_000_000)] = 20_000
    page_mb: Annotated[float, Meta(gt=0, le=20)] = 5
    seconds: Annotated[float, Meta(gt=0, le=120)] = 10
    search_prompt: str = ""
    price_per_search: str = "0"

    def __post_init__(self) -> None:
        """Raises ValueError where the values do not fit together."""
        if self.engine in PLACES and not self.place.startswith(("http://", "https://")):
            raise ValueError(f"base_url: the engine {self.engine} needs its http or https address")
        if self.engine in ("brave", "tavily") and not self.api_key:
            raise ValueError(f"api_key: the engine {self.engine} needs one")
        try:
            usd = Decimal(self.price_per_search)
        except InvalidOperation:
            usd = Decimal(-1)
        if not 0 <= usd <= 100:
            raise ValueError("price_per_search: an amount in USD, as text, is needed")

    @property
    def place(self) -> str:
        """The address of the engine."""
        return (self.base_url or PLACES.get(self.engine, "")).rstrip("/")

    @property
    def search_price(self) -> int:
        """Picodollars for one search."""
        return int(Decimal(self.price_per_search) * PICODOLLARS)


class Options(Struct, kw_only=True):
    """The members of `{"id": "web", …}` in a request, as OpenRouter has them."""

    engine: str | None = None
    max_results: Annotated[int, Meta(ge=1)] | None = None
    search_prompt: Annotated[str, Meta(max_length=20_000)] | None = None
    include_domains: list[str] = field(default_factory=list)
    exclude_domains: list[str] = field(default_factory=list)
    max_uses: Annotated[int, Meta(ge=1)] | None = None
    user_location: dict[str, str | None] | None = None


def options_of(entry: Mapping[str, Any], settings: WebSettings) -> Options:
    """What a request asks for. Raises BadRequest, and NotImplementedHere for an engine that is not the configured one."""
    try:
        options = msgspec.convert({name: value for name, value in entry.items() if value is not None}, Options)
    except msgspec.ValidationError as error:
        raise BadRequest(f"plugins: web: {error}", param="plugins") from None
    engine = options.engine
    if engine in (None, "auto", "native", settings.engine):
        return options
    if engine in PLACES or engine in FOREIGN:
        there = f"{settings.engine!r} is" if settings.engine else "none is"
        raise NotImplementedHere(
            f"the search engine {engine!r} is not set up here, {there}; leave `engine` out or set [plugins.web] engine",
            code="not_configured",
            param="plugins",
        )
    raise BadRequest(f"plugins: web: there is no search engine {str(engine)[:80]!r}", param="plugins")
