"""What a call used and what that costs: counts are integers, money is integer picodollars (1e-12 USD)."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import astuple

PICODOLLARS = 10**12
#: a count beyond this is not believed (reliability: upstream usage is untrusted input)
MAX_TOKENS = 10**9


class Usage(Struct, kw_only=True, omit_defaults=True):
    """What one call consumed, as the upstream reported it.

    All counts are tokens unless named otherwise. `input` includes `cache_read`, `cache_write`, `cache_write_1h` and `audio_input`;
    `cache_write` is the five-minute class, `cache_write_1h` the one-hour class; `output` includes `reasoning`, `audio_output` and
    `image_output`. `searches` and `images` are numbers of things. `billed_input` and `billed_output` are set where the upstream charges
    for fewer tokens than it counts (Cohere: not for what it puts around a prompt itself). `cost` is what the upstream itself says it
    charged, in picodollars.
    `source` tells whether the upstream said so or we estimated it from relayed text.
    """

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    searches: int = 0
    images: int = 0
    billed_input: int = 0
    billed_output: int = 0
    cost: int | None = None
    source: Literal["upstream", "estimated"] = "upstream"

    def __add__(self, other: Usage) -> Usage:
        """Both together (n calls that make one answer)."""
        total = Usage(source="estimated" if "estimated" in (self.source, other.source) else "upstream")
        for name in COUNTS:
            setattr(total, name, getattr(self, name) + getattr(other, name))
        if self.cost is not None or other.cost is not None:
            total.cost = (self.cost or 0) + (other.cost or 0)
        return total

    def clamped(self) -> Usage:
        """This usage made sane: counts within 0 and 10^9, classes no larger than their whole, no negative cost."""
        counts = astuple(self)[: len(COUNTS)]
        if min(counts) < 0 or max(counts) > MAX_TOKENS:
            for name, value in zip(COUNTS, counts, strict=True):
                if not 0 <= value <= MAX_TOKENS:
                    setattr(self, name, 0)
        if self.cache_read or self.cache_write or self.cache_write_1h:
            self.cache_read = min(self.cache_read, self.input)
            self.cache_write = min(self.cache_write, self.input - self.cache_read)
            self.cache_write_1h = min(self.cache_write_1h, self.input - self.cache_read - self.cache_write)
        self.reasoning = min(self.reasoning, self.output)
        if self.cost is not None and not 0 <= self.cost <= 10_000 * PICODOLLARS:
            self.cost = None
        return self


#: all but `cost` and `source`, the last two
COUNTS = Usage.__struct_fields__[:-2]


class Price(Struct, kw_only=True, omit_defaults=True):
    """What a model costs, in picodollars per token (`request`, `image`, `web_search`: per piece).

    None: no price of its own, then `prompt` or `completion` holds for that class. `overrides` are rows for long prompts or hours of
    the day; the last one that matches wins.
    """

    prompt: int = 0
    completion: int = 0
    request: int = 0
    image: int = 0
    web_search: int = 0
    internal_reasoning: int | None = None
    input_cache_read: int | None = None
    input_cache_write: int | None = None
    input_cache_write_1h: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    overrides: list[PriceOverride] = field(default_factory=list)

    def cost(self, usage: Usage, at_unix: float) -> Cost:
        """What this usage costs. `at_unix` (seconds) picks the override by the hour of day."""
        if usage.billed_input or usage.billed_output:
            usage = Usage(
                input=usage.billed_input, output=usage.billed_output, searches=usage.searches, images=usage.images
            )
        rate = self.at(usage.input, at_unix) if self.overrides else self
        cached = (
            usage.cache_read * _or(rate.input_cache_read, rate.prompt)
            + usage.cache_write * _or(rate.input_cache_write, rate.prompt)
            + usage.cache_write_1h * _or(rate.input_cache_write_1h, _or(rate.input_cache_write, rate.prompt))
        )
        cached_tokens = usage.cache_read + usage.cache_write + usage.cache_write_1h
        # audio and images may be cached too: what is left of the uncached prompt bounds what is priced apart
        uncached = usage.input - cached_tokens
        audio = min(usage.audio_input, uncached)
        images = min(usage.image_input, uncached - audio)
        prompt = (
            (uncached - audio - images) * rate.prompt
            + audio * _or(rate.audio_input, rate.prompt)
            + images * _or(rate.image_input, rate.prompt)
        )
        thinking = usage.reasoning if rate.internal_reasoning else 0
        audio_out = min(usage.audio_output, usage.output - thinking)
        images_out = min(usage.image_output, usage.output - thinking - audio_out)
        completion = (
            (usage.output - thinking - audio_out - images_out) * rate.completion
            + thinking * (rate.internal_reasoning or 0)
            + audio_out * _or(rate.audio_output, rate.completion)
            + images_out * _or(rate.image_output, rate.completion)
        )
        return Cost(
            prompt=prompt + cached,
            completion=completion,
            other=rate.request + usage.images * rate.image + usage.searches * rate.web_search,
            cache_discount=cached_tokens * rate.prompt - cached,
        )

    def at(self, prompt_tokens: int, at_unix: float) -> Price:
        """The price that holds for a prompt of this length at this time (seconds)."""
        rate = self
        for row in self.overrides:
            if prompt_tokens >= row.min_prompt_tokens and row.holds_at(at_unix):
                changes = {name: value for name in OVERRIDABLE if (value := getattr(row, name)) is not None}
                rate = msgspec.structs.replace(self, **changes)
        return rate


class PriceOverride(Struct, kw_only=True, omit_defaults=True):
    """A row of `Price.overrides`: holds from `min_prompt_tokens` on, or between two UTC times of day ("HH:MM")."""

    min_prompt_tokens: int = 0
    utc_start: str = ""
    utc_end: str = ""
    prompt: int | None = None
    completion: int | None = None
    input_cache_read: int | None = None
    input_cache_write: int | None = None
    input_cache_write_1h: int | None = None
    internal_reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None

    def holds_at(self, at_unix: float) -> bool:
        """True where the row has no hours, or the UTC time of day lies within them (they may pass midnight)."""
        if not self.utc_start or not self.utc_end:
            return True
        now = time.strftime("%H:%M", time.gmtime(at_unix))
        if self.utc_start <= self.utc_end:
            return self.utc_start <= now < self.utc_end
        return now >= self.utc_start or now < self.utc_end


OVERRIDABLE = PriceOverride.__struct_fields__[3:]


class Cost(Struct, kw_only=True):
    """A price applied to a usage, in picodollars. `cache_discount` is what caching saved (negative where writing cost more)."""

    prompt: int = 0
    completion: int = 0
    other: int = 0
    cache_discount: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.prompt + self.completion + self.other


def _or(price: int | None, default: int) -> int:
    return default if price is None else price


def picodollars(usd: str | float | Decimal) -> int:
    """An amount of USD as integer picodollars, rounded up. Raises ValueError if it is not a number or negative."""
    try:
        amount = Decimal(str(usd)) * PICODOLLARS
    except ArithmeticError:
        raise ValueError(f"{usd!r} is not an amount in USD") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{usd!r} is not an amount in USD")
    return int(amount.to_integral_value(rounding="ROUND_CEILING"))


def usd(amount: int) -> float:
    """Picodollars as the number of USD that the API prints."""
    return amount / PICODOLLARS


def usd_text(amount: int) -> str:
    """Picodollars as a decimal string in USD, never in scientific notation."""
    whole, rest = divmod(abs(amount), PICODOLLARS)
    text = f"{whole}.{rest:012}".rstrip("0").rstrip(".")
    return f"-{text}" if amount < 0 else text
