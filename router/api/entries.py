"""The public form of a model, which clients of all services understand (api.md 10)."""

from __future__ import annotations

import time
from typing import Any

from ..model import Model
from ..planning import Entry
from ..prices import Price, usd_text

#: names of `capabilities` and `capability_list`
CAPABILITIES = (
    "chat",
    "function_calling",
    "tool_use",
    "structured_outputs",
    "vision",
    "streaming",
    "audio",
    "embeddings",
)


def entry(each: Entry) -> dict[str, Any]:
    """The public form of a model: facts of the table, prices as decimal strings in USD per token."""
    model, best = each.model, each.endpoints[0]
    author = each.id.partition("/")[0]
    capabilities = _capabilities(each)
    shown: dict[str, Any] = {
        "id": each.id,
        "object": "model",
        "type": "model",
        "created": model.created,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(model.created)),
        "owned_by": author,
        "name": model.name or each.id,
        "display_name": model.name or each.id,
        "canonical_slug": each.id,
        "description": model.description,
        "provider": best.provider.slug,
        "category": _category(model),
        "context_length": model.context_length or None,
        "hugging_face_id": None,
        "knowledge_cutoff": model.knowledge_cutoff,
        "expiration_date": None,
        "architecture": architecture(model),
        "pricing": pricing(best.price),
        "top_provider": {
            "context_length": best.model.context_length or None,
            "max_completion_tokens": best.model.max_output or None,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "default_parameters": {},
        "supported_voices": None,
        "supported_parameters": model.parameters,
        "capabilities": capabilities,
        "capability_list": _capability_list(capabilities),
        "supported_endpoint_types": ["openai", "anthropic", "gemini"],
        "links": {"details": f"/api/v1/models/{each.id}/endpoints"},
    }
    # Strict clients take no null here.
    return shown | {"reasoning": _reasoning(model)} if model.reasoning else shown


def architecture(model: Model) -> dict[str, Any]:
    """What goes in and comes out."""
    return {
        "modality": "+".join(model.input_modalities) + "->" + "+".join(model.output_modalities),
        "input_modalities": model.input_modalities,
        "output_modalities": model.output_modalities,
        "tokenizer": model.tokenizer,
        "instruct_type": None,
    }


def _category(model: Model) -> str:
    outputs = model.output_modalities
    if "text" in outputs or not outputs:
        return "text"
    return "embedding" if "embeddings" in outputs else outputs[0]


def pricing(price: Price | None) -> dict[str, Any]:
    """Prices in USD per token or piece, as decimal strings; empty strings would break clients, so unknown reads "-1"."""
    if price is None:
        return {"prompt": "-1", "completion": "-1", "request": "0", "image": "0", "web_search": "0"}
    shown: dict[str, Any] = {
        "prompt": usd_text(price.prompt),
        "completion": usd_text(price.completion),
        "request": usd_text(price.request),
        "image": usd_text(price.image),
        "web_search": usd_text(price.web_search),
        "internal_reasoning": usd_text(price.internal_reasoning or 0),
        # A class without a price of its own costs what its side costs: a zero would read as free.
        "input_cache_read": usd_text(price.prompt if price.input_cache_read is None else price.input_cache_read),
        "input_cache_write": usd_text(price.prompt if price.input_cache_write is None else price.input_cache_write),
        "input_per_1k": price.prompt / 1e9,
        "output_per_1k": price.completion / 1e9,
    }
    if price.audio_input is not None:
        shown["audio"] = usd_text(price.audio_input)
    return shown


def _reasoning(model: Model) -> dict[str, Any]:
    return {
        "supported_efforts": model.efforts,
        "default_effort": "medium" if "medium" in model.efforts else None,
        "default_enabled": True,
        "mandatory": False,
    }


def _capabilities(each: Entry) -> dict[str, bool]:
    model = each.model
    tools = "tools" in model.parameters
    return {
        "function_calling": tools,
        "tool_use": tools,
        "structured_outputs": "structured_outputs" in model.parameters,
        "vision": "image" in model.input_modalities,
        "streaming": "text" in model.output_modalities,
        "audio": "audio" in model.input_modalities,
        "embeddings": "embeddings" in model.output_modalities,
    }


def _capability_list(capabilities: dict[str, bool]) -> list[str]:
    chat = [
        name
        for name, there in (("chat", capabilities["streaming"]), ("embeddings", capabilities["embeddings"]))
        if there
    ]
    return chat + [name for name in ("tool_use", "vision", "structured_outputs", "audio") if capabilities[name]]
