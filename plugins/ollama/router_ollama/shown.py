"""What `/api/show` tells of a model."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from router import Model, UpstreamUnavailable

_REASONING = {"reasoning", "include_reasoning", "reasoning_effort"}
_TOOLS = {"tools", "tool_choice"}


class Shown(Struct):
    """`capabilities` are Ollama's words: completion, tools, vision, thinking, embedding, insert. `model_info` is its file's."""

    capabilities: list[str] = field(default_factory=list)
    model_info: dict[str, Any] = field(default_factory=dict)

    def model(self, bare: Model) -> Model:
        """The model with what is known of it now."""
        length = next(
            (
                value
                for name, value in self.model_info.items()
                if name.endswith(".context_length") and type(value) is int
            ),
            0,
        )
        model = replace(bare, context_length=length, open_weights=True)
        if not self.capabilities:
            return model
        if "completion" not in self.capabilities:
            return replace(model, output_modalities=["embeddings"], parameters=[])
        thinks, taken = "thinking" in self.capabilities, set(model.parameters)
        taken = taken | _REASONING if thinks else taken - _REASONING
        if "tools" not in self.capabilities:
            taken -= _TOOLS
        inputs = ["text", "image"] if "vision" in self.capabilities else ["text"]
        return replace(model, input_modalities=inputs, reasoning=thinks, parameters=sorted(taken))


_decode = msgspec.json.Decoder(Shown).decode


def shown(body: bytes) -> Shown:
    """What the answer tells. Raises UpstreamUnavailable where it cannot be read."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamUnavailable("what the upstream tells of a model cannot be read") from error
