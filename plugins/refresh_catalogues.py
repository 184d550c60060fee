"""Rewrite the catalogues that ship with the plugins from a copy of models.dev's data.

    python plugins/refresh_catalogues.py SOURCE_DIR

SOURCE_DIR holds `models.jsonl`: one model of one provider a line, as models.dev (https://models.dev, MIT licence, Copyright (c)
2025 models.dev) describes it: `provider`, `id`, `name`, `modalities`, `limit` (tokens), `cost` (USD per million tokens),
`reasoning_options`, …; and `openrouter-models.json`, an answer of OpenRouter's `GET /models` that models.dev keeps.

Only facts are carried over, in our own form: `router.Model` as JSON, prices as integer picodollars per token (1e-12 USD), one model
a line, so that a refresh is a readable diff. Models that are gone from the source go from the catalogue. Run it, read the diff,
run the tests of the plugins, commit.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from router_bedrock.traits import traits as bedrock_traits
from router_cohere import PARAMETERS as COHERE
from router_mistral import PARAMETERS as MISTRAL
from router_ollama.encode import PARAMETERS as OLLAMA
from router_openai.deviations import parameters_of
from router_openai_compatible.presets import LOGPROBS, PENALTIES, PRESETS, TOOLS, Preset
from router_openrouter.listed import models_of

from router.model import Model
from router.prices import Price, PriceOverride

PLUGINS = Path(__file__).parent
#: presets whose name in the source is another one
SOURCE_NAMES = {
    "together": "togetherai",
    "fireworks": "fireworks-ai",
    "moonshot": "moonshotai",
}
EFFORTS = ("max", "xhigh", "high", "medium", "low", "minimal", "none")
#: USD per million tokens -> picodollars per token
PICODOLLARS_PER_TOKEN = 10**6
#: what the source counts in USD per thousand pieces
PICODOLLARS_PER_THOUSANDTH = 10**9
#: what a thousand web searches cost, in USD: maker, beginning of the model's id, price. From the makers' own price lists (2026-11);
#: the source does not have it
SEARCHES = (
    ("openai", "", 10),
    ("anthropic", "", 10),
    *(
        (maker, start, usd)
        for maker in ("google", "google-vertex")
        for start, usd in (("gemini-3", 14), ("gemini-2.5", 35))
    ),
)
#: who sells Claude: there the cache has a class of an hour
CLAUDES = ("anthropic", "amazon-bedrock", "google-vertex")
#: families of tokenizers, in OpenRouter's words, by what the id holds
TOKENIZERS = {
    "gpt-oss": "GPT",
    "gpt": "GPT",
    "claude": "Claude",
    "gemini": "Gemini",
    "gemma": "Gemini",
    "grok": "Grok",
    "deepseek": "DeepSeek",
    "qwen": "Qwen",
    "qwq": "Qwen",
    "llama-4": "Llama4",
    "llama-3": "Llama3",
    "llama": "Llama3",
    "mistral": "Mistral",
    "mixtral": "Mistral",
    "ministral": "Mistral",
}

Fact = dict[str, Any]
Parameters = Callable[[Fact], set[str]]


class Target(Struct):
    """A catalogue file: where it goes, whose models it holds, what their requests may have, and which ids it leaves out."""

    path: Path
    source: str
    parameters: Parameters
    holds: Callable[[str], bool] = lambda id: True


def main(arguments: list[str]) -> int:
    """Write all catalogues. Prints how many models each got."""
    if len(arguments) != 1:
        print("usage: python plugins/refresh_catalogues.py SOURCE_DIR", file=sys.stderr)  # noqa: T201
        return 2
    for path, text in catalogues(Path(arguments[0])).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{text.count(chr(10)) - 2:5} {path.relative_to(PLUGINS)}")  # noqa: T201
    return 0


def catalogues(source: Path) -> dict[Path, str]:
    """The text of every catalogue file, by its path."""
    openrouter = models_of((source / "openrouter-models.json").read_bytes())
    lines = (source / "models.jsonl").read_text(encoding="utf-8").splitlines()
    facts = [json.loads(line, parse_float=Decimal) for line in lines]
    _complete_inputs(facts)
    return {
        target.path: _printed(
            _model(fact, target)
            for fact in facts
            if fact["provider"] == target.source and _is_language(fact) and target.holds(fact["id"])
        )
        for target in targets()
    } | {PLUGINS / "openrouter/router_openrouter/catalogue.json": _printed(openrouter)}


def _complete_inputs(facts: list[Fact]) -> None:
    """OpenAI's models that see images read PDF files too; for some the source says so in OpenRouter's rows only. Mistral's do by its
    reference, and the source never says so."""
    readers = {
        fact["id"].removeprefix("openai/")
        for fact in facts
        if fact["provider"] == "openrouter" and {"image", "pdf"} <= set(fact["modalities"]["input"])
    }
    for fact in facts:
        inputs = fact["modalities"]["input"]
        if fact["provider"] == "openai" and fact["id"] in readers and "pdf" not in inputs:
            inputs.append("pdf")
        if fact["provider"] == "mistral" and "image" in inputs:
            inputs.append("pdf")


def targets() -> list[Target]:
    """All catalogue files. Echo's is written by hand."""
    own = [
        Target(PLUGINS / "openai/router_openai/catalogue.json", "openai", lambda fact: parameters_of(fact["id"])),
        Target(PLUGINS / "anthropic/router_anthropic/catalogue.json", "anthropic", _anthropic),
        Target(PLUGINS / "gemini/router_gemini/catalogue.json", "google", _gemini),
        Target(PLUGINS / "bedrock/router_bedrock/catalogue.json", "amazon-bedrock", _bedrock),
        Target(PLUGINS / "vertex/router_vertex/catalogue.json", "google-vertex", _vertex, _on_vertex),
        Target(PLUGINS / "mistral/router_mistral/catalogue.json", "mistral", lambda fact: set(MISTRAL)),
        Target(PLUGINS / "cohere/router_cohere/catalogue.json", "cohere", lambda fact: set(COHERE)),
        Target(
            PLUGINS / "azure/router_azure/catalogue.json", "azure", lambda fact: parameters_of(fact["id"]), _on_azure
        ),
        Target(PLUGINS / "ollama/router_ollama/catalogue.json", "ollama-cloud", lambda fact: set(OLLAMA)),
    ]
    folder = PLUGINS / "openai-compatible/router_openai_compatible/catalogues"
    presets = [
        Target(folder / f"{name}.json", SOURCE_NAMES.get(name, name), _compatible(preset))
        for name, preset in PRESETS.items()
        if preset.catalogue
    ]
    return own + presets


def _printed(models: Iterable[Model]) -> str:
    """A JSON list, one model a line."""
    lines = [msgspec.json.encode(model).decode() for model in sorted(models, key=lambda each: each.id)]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _is_language(fact: Fact) -> bool:
    """False for detectors, protein folders and others that are no business of a router."""
    return bool({"text", "audio"} & set(fact["modalities"]["input"]))


# --- one model -------------------------------------------------------------------------------------------------------


def _model(fact: Fact, target: Target) -> Model:
    limit = fact["limit"]
    outputs = _outputs(fact)
    chats = "text" in outputs
    reasons = chats and bool(fact["reasoning"])
    return Model(
        id=fact["id"],
        name=fact["name"],
        created=_unix(fact["release_date"]),
        context_length=limit["context"],
        max_output=limit["output"] if chats else 0,
        input_modalities=_modalities(fact["modalities"]["input"]),
        output_modalities=outputs,
        price=_price(fact, chats),
        parameters=sorted(_parameters(fact, target)) if chats else [],
        reasoning=reasons,
        efforts=_efforts(fact) if reasons else [],
        knowledge_cutoff=fact.get("knowledge"),
        tokenizer=_tokenizer(fact),
        open_weights=fact["open_weights"],
        deprecated=fact.get("status") == "deprecated",
    )


def _outputs(fact: Fact) -> list[str]:
    """What comes out, in OpenRouter's words; the source calls embeddings and transcripts text."""
    id, (inputs, outputs) = fact["id"].lower(), (fact["modalities"]["input"], fact["modalities"]["output"])
    if "embed" in id or "bge-" in id:
        return ["embeddings"]
    if "rerank" in id:
        return ["rerank"]
    if "text" not in inputs:
        return ["transcription"]
    if outputs == ["audio"]:
        return ["speech"]
    if "gpt-image" in id or "chatgpt-image" in id:
        return ["image"]
    return _modalities(outputs)


def _modalities(words: list[str]) -> list[str]:
    return ["file" if word == "pdf" else word for word in words]


def _unix(date: str) -> int:
    """A day or a month as unix seconds of its beginning."""
    return int(datetime.strptime(f"{date}-01"[:10], "%Y-%m-%d").replace(tzinfo=UTC).timestamp())


def _efforts(fact: Fact) -> list[str]:
    """The words of `reasoning_effort`, strongest first; where thinking can be switched off, `none` is one of them."""
    options = fact.get("reasoning_options") or []
    words = {word for option in options if option["type"] == "effort" for word in option["values"]}
    if any(option["type"] == "toggle" for option in options):
        words.add("none")
    return [word for word in EFFORTS if word in words]


def _tokenizer(fact: Fact) -> str:
    name = fact["id"].lower().rpartition("/")[2]
    if re.match(r"o\d|chatgpt|text-embedding", name):
        return "GPT"
    return next((family for part, family in TOKENIZERS.items() if part in name), "Other")


# --- prices ----------------------------------------------------------------------------------------------------------


def _price(fact: Fact, chats: bool) -> Price | None:
    """None where the source gives none: not known is not free."""
    cost = fact.get("cost")
    if not cost:
        return None
    price = Price(prompt=_per_token(cost["input"]), completion=_per_token(cost["output"]))
    price.input_cache_read = _cache(cost, "cache_read", "cached_input", "cache_input")
    price.input_cache_write = _cache(cost, "cache_write", "cached_write")
    if fact["provider"] in CLAUDES and price.input_cache_write == price.prompt * 5 // 4:
        # The five-minute class costs 1.25 times the prompt and the one-hour class twice: docs.anthropic.com, prompt caching.
        price.input_cache_write_1h = price.prompt * 2
    price.audio_input = _optional(cost, "input_audio")
    price.audio_output = _optional(cost, "output_audio")
    price.internal_reasoning = _optional(cost, "reasoning") if cost.get("reasoning") != cost["output"] else None
    if "request" in cost:  # Perplexity's deep research: USD per thousand searches
        price.web_search = int(cost["request"] * PICODOLLARS_PER_THOUSANDTH)
    elif chats:
        prices = (usd for maker, start, usd in SEARCHES if maker == fact["provider"] and fact["id"].startswith(start))
        price.web_search = next(prices, 0) * PICODOLLARS_PER_THOUSANDTH
    price.overrides = [_tier(tier) for tier in cost.get("tiers", [])]
    return price


def _tier(tier: Fact) -> PriceOverride:
    """Prices of prompts of more than `size` tokens."""
    kind = tier["tier"].get("type", "context")
    if kind != "context":
        raise ValueError(f"a tier by {kind!r} is not known here")
    return PriceOverride(
        min_prompt_tokens=tier["tier"]["size"] + 1,
        prompt=_per_token(tier["input"]),
        completion=_per_token(tier["output"]),
        input_cache_read=_cache(tier, "cache_read"),
        input_cache_write=_cache(tier, "cache_write"),
        audio_input=_optional(tier, "input_audio"),
    )


def _per_token(usd_per_million: Decimal | int) -> int:
    """Picodollars, exactly."""
    # Some prices were floats on their way into the source: 0.049999999999999996.
    amount = round(Decimal(usd_per_million) * PICODOLLARS_PER_TOKEN, 6)
    if amount != int(amount) or amount < 0:
        raise ValueError(f"{usd_per_million} USD per million tokens is no whole number of picodollars per token")
    return int(amount)


def _optional(cost: Fact, name: str) -> int | None:
    return _per_token(cost[name]) if name in cost else None


def _cache(cost: Fact, *names: str) -> int | None:
    """A price of cached tokens. 0 beside a prompt that is not free means in the source that there is no such price."""
    value = next((cost[name] for name in names if name in cost), None)
    return None if value is None or (not value and cost["input"]) else _per_token(value)


# --- supported parameters --------------------------------------------------------------------------------------------

#: thinking by a budget of tokens, which an effort is turned into
BUDGETS = ("anthropic", "google", "amazon-bedrock", "google-vertex", "cohere")
LENGTH = frozenset({"max_tokens", "max_completion_tokens"})
REASONING = frozenset({"reasoning", "include_reasoning"})
STRUCTURED = frozenset({"response_format", "structured_outputs"})
COMPATIBLE = (
    LENGTH
    | PENALTIES
    | LOGPROBS
    | TOOLS
    | STRUCTURED
    | {"temperature", "top_p", "stop", "seed", "logit_bias", "n", "user"}
)


def _parameters(fact: Fact, target: Target) -> set[str]:
    """What the API takes, less what this model does not, in the words of OpenAI's chat completions."""
    taken = target.parameters(fact) | REASONING | {"reasoning_effort"}
    if not fact["tool_call"]:
        taken -= TOOLS
    if fact.get("temperature") is False:
        taken -= {"temperature", "top_p", "top_k"}
    if fact.get("structured_output") is False:
        taken -= {"structured_outputs"}
    if not fact["reasoning"]:
        taken -= REASONING
    if not fact["reasoning"] or not (_efforts(fact) or target.source in BUDGETS):
        taken -= {"reasoning_effort"}
    return taken


def _anthropic(fact: Fact) -> set[str]:
    return {*LENGTH, *TOOLS, *STRUCTURED, "temperature", "top_p", "top_k", "stop", "user", "cache_control"}


def _gemini(fact: Fact) -> set[str]:
    return {*LENGTH, *PENALTIES, *LOGPROBS, *STRUCTURED, "tools", "tool_choice"} | {
        *("temperature", "top_p", "top_k", "stop", "seed", "n")
    }


def _bedrock(fact: Fact) -> set[str]:
    can = bedrock_traits(fact["id"])
    common = {*LENGTH, *STRUCTURED, "tools", "tool_choice", "temperature", "top_p", "stop", "user"}
    return common | ({"top_k"} if can.top_k else set()) | ({"cache_control"} if can.caches else set())


def _vertex(fact: Fact) -> set[str]:
    return _anthropic(fact) if fact["id"].startswith("claude") else _gemini(fact) | {"user"}


def _on_vertex(id: str) -> bool:
    """Gemini and Claude: other makers' models on Vertex speak another API."""
    return id.startswith(("gemini", "claude"))


def _on_azure(id: str) -> bool:
    """Claude speaks Anthropic's API there, and Cohere its own; what the router of models costs is what the chosen model does."""
    return not id.startswith(("claude", "cohere-command", "model-router"))


def _compatible(preset: Preset) -> Parameters:
    return lambda fact: preset.parameters(fact["id"], reasoning=bool(fact["reasoning"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
