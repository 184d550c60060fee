"""What each maker's models take of Converse, read off the id: `anthropic.claude-…`, with a region in front (`us.`, `global.`) or in an
ARN. https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html, November 2026.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from msgspec import Struct


class Traits(Struct, frozen=True, kw_only=True):
    """What one model takes."""

    maker: str = ""
    #: what can be forced: any call and a certain one, any call, or none
    forced: Literal["named", "any", "none"] = "none"
    #: cache marks
    caches: bool = False
    #: temperature and top_p beside each other
    both: bool = True
    #: where `top_k` goes among the model's own fields; "" where it has none
    top_k: str = "top_k"
    #: how thinking is asked for
    thinking: Literal["none", "claude", "nova", "effort"] = "none"
    #: images in the results of tools
    media_results: bool = False


_MAKER = re.compile(
    r"(?:^|[./:])(amazon|anthropic|meta|mistral|cohere|ai21|deepseek|openai|qwen|moonshot|moonshotai|minimax|writer|zai|google|nvidia"
    r"|xai)\."
)


@lru_cache(maxsize=512)
def traits(model: str) -> Traits:
    """What this model takes."""
    maker = maker_of(model)
    match maker:
        case "anthropic":
            return Traits(maker=maker, forced="named", caches=True, both=False, thinking="claude", media_results=True)
        case "amazon" if "nova" in model:
            thinks: Literal["none", "nova"] = "nova" if "nova-2" in model else "none"
            return Traits(
                maker=maker,
                forced="named",
                caches=True,
                top_k="inferenceConfig.topK",
                thinking=thinks,
                media_results=True,
            )
        case "mistral":
            return Traits(maker=maker, forced="any")
        case "cohere":
            return Traits(maker=maker, top_k="k")
        case "openai":
            return Traits(maker=maker, top_k="", thinking="effort")
        case "amazon" | "meta" | "deepseek" | "ai21":
            return Traits(maker=maker, top_k="")
    return Traits(maker=maker)


def maker_of(model: str) -> str:
    """Who made it, "" where the id does not tell (an ARN of an inference profile or a deployment of one's own)."""
    if found := _MAKER.search(model):
        return found[1]
    return "anthropic" if "claude" in model else ""


def is_claude(model: str) -> bool:
    """True for Anthropic's models."""
    return maker_of(model) == "anthropic"
