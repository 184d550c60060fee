"""The `anthropic` SDK."""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import anthropic
from anthropic.resources.beta.messages import Messages as Beta
from anthropic.resources.messages import Messages as Stable

from .client import ABOUT, MESSAGES, WEATHER, Call, Client, Refused, Stage

FORM: Any = {
    "type": "json_schema",
    "schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
        "required": ["city", "degrees"],
        "additionalProperties": False,
    },
}
TOOL: Any = {"name": "get_weather", "description": ABOUT, "input_schema": WEATHER}


def takes(method: Any, name: str) -> bool:
    """Whether this version has this argument."""
    return name in inspect.signature(method).parameters


class Messages(Client):
    """`client.messages`."""

    package, surface, raises = "anthropic", MESSAGES, anthropic.APIStatusError
    in_beta = takes(Beta.create, "output_format")
    lacks = (
        {}
        if in_beta or takes(Stable.create, "output_config")
        else {"structured": "It is older than the structured answers of Anthropic's API."}
    )

    def __init__(self, stage: Stage, key: str | None = None) -> None:
        super().__init__(stage, key)
        self.sdk = anthropic.Anthropic(base_url=stage.url, api_key=self.key, max_retries=0, timeout=20)

    def say(self, model: str, text: str, **more: Any) -> str:
        return self._text(self._ask(model, [{"role": "user", "content": text}], **more))

    def stream(self, model: str, text: str) -> Generator[str, None, None]:
        asked: Any = [{"role": "user", "content": text}]
        with self.sdk.messages.stream(model=model, messages=asked, max_tokens=100) as stream:
            yield from stream.text_stream

    def tools(self, model: str, text: str, results: Sequence[str], *, streamed: bool) -> tuple[list[Call], str]:
        history: list[Any] = [{"role": "user", "content": text}]
        if streamed:
            with self.sdk.messages.stream(model=model, messages=history, max_tokens=100, tools=[TOOL]) as stream:
                message = stream.get_final_message()
        else:
            message = self._ask(model, history, tools=[TOOL])
        made = [block for block in message.content if block.type == "tool_use"]
        calls: list[Call] = [Call(block.id, block.name, block.input) for block in made]  # type: ignore[arg-type]
        answers = [
            {"type": "tool_result", "tool_use_id": call.id, "content": result}
            for call, result in zip(calls, results, strict=True)
        ]
        history += [{"role": "assistant", "content": message.content}, {"role": "user", "content": answers}]
        return calls, self._text(self._ask(model, history, tools=[TOOL]))

    def structured(self, model: str, text: str) -> Mapping[str, Any]:
        asked: Any = [{"role": "user", "content": text}]
        if takes(Stable.create, "output_config"):
            message: Any = self._ask(model, asked, output_config={"format": FORM})
        else:
            betas = ["structured-outputs-2025-11-13"]
            create: Any = self.sdk.beta.messages.create
            message = create(model=model, messages=asked, max_tokens=100, output_format=FORM, betas=betas)
        found: Mapping[str, Any] = json.loads(self._text(message))
        return found

    def see(self, model: str, text: str, png: bytes) -> str:
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png).decode()}
        parts = [{"type": "text", "text": text}, {"type": "image", "source": source}]
        return self._text(self._ask(model, [{"role": "user", "content": parts}]))

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        raise NotImplementedError

    def models(self, page: int) -> Iterator[str]:
        yield from (model.id for model in self.sdk.models.list(limit=page))

    def refused(self, error: Exception) -> Refused:
        assert isinstance(error, anthropic.APIStatusError)
        return Refused(error.status_code, error.message, error.response.headers.get("retry-after"))

    def out_of_range(self, model: str) -> None:
        self.say(model, "Hello", extra_body={"temperature": 3})

    def _ask(self, model: str, messages: list[Any], **more: Any) -> anthropic.types.Message:
        message: anthropic.types.Message = self.sdk.messages.create(
            model=model, messages=messages, max_tokens=100, **more
        )
        return message

    def _text(self, message: Any) -> str:
        return "".join(block.text for block in message.content if block.type == "text")


CLIENTS: list[type[Client]] = [Messages]
