"""The `google-genai` SDK."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from google import genai
from google.genai import errors, types

from .client import ABOUT, GEMINI, Call, Client, Refused, Stage

CITY: Any = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
FORM: Any = {
    "type": "OBJECT",
    "properties": {"city": {"type": "STRING"}, "degrees": {"type": "INTEGER"}},
    "required": ["city", "degrees"],
}
DECLARED = types.FunctionDeclaration(
    name="get_weather", description=ABOUT, parameters=types.Schema.model_validate(CITY)
)
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)


class Models(Client):
    """`client.models`."""

    package, surface, raises = "google-genai", GEMINI, errors.APIError
    tells_wait = False

    def __init__(self, stage: Stage, key: str | None = None) -> None:
        super().__init__(stage, key)
        options = types.HttpOptions(base_url=stage.url, timeout=20_000)
        self.client = genai.Client(api_key=self.key, http_options=options)
        self.sdk = self.client.models

    def say(self, model: str, text: str, **more: Any) -> str:
        config: Any = more or None
        return self.sdk.generate_content(model=model, contents=text, config=config).text or ""

    def stream(self, model: str, text: str) -> Generator[str, None, None]:
        chunks: Any = self.sdk.generate_content_stream(model=model, contents=text)
        try:
            for chunk in chunks:
                if chunk.text:
                    yield chunk.text
        finally:
            chunks.close()

    def tools(self, model: str, text: str, results: Sequence[str], *, streamed: bool) -> tuple[list[Call], str]:
        tools: Any = [types.Tool(function_declarations=[DECLARED])]
        ask: Any = {"model": model, "config": {"tools": tools, "automatic_function_calling": BY_HAND}}
        history = [types.Content(role="user", parts=[types.Part(text=text)])]
        if streamed:
            answers = list(self.sdk.generate_content_stream(contents=history, **ask))
        else:
            answers = [self.sdk.generate_content(contents=history, **ask)]
        contents = [candidate.content for answer in answers for candidate in answer.candidates or ()]
        parts = [part for content in contents if content for part in content.parts or ()]
        made = [part.function_call for part in parts if part.function_call]
        calls = [Call(each.id, each.name or "", each.args or {}) for each in made]
        said = [
            types.FunctionResponse(id=call.id, name=call.name, response={"output": result})
            for call, result in zip(calls, results, strict=True)
        ]
        history.append(types.Content(role="model", parts=parts))
        history.append(types.Content(role="user", parts=[types.Part(function_response=each) for each in said]))
        return calls, self.sdk.generate_content(contents=history, **ask).text or ""

    def structured(self, model: str, text: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(
            self.say(model, text, response_mime_type="application/json", response_schema=FORM)
        )
        return found

    def see(self, model: str, text: str, png: bytes) -> str:
        picture: Any = types.Part.from_bytes(data=png, mime_type="image/png")
        return self.sdk.generate_content(model=model, contents=[text, picture]).text or ""

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        found = self.sdk.embed_content(model=model, contents=list(texts)).embeddings
        return [each.values or [] for each in found or ()]

    def models(self, page: int) -> Iterator[str]:
        yield from ((model.name or "").removeprefix("models/") for model in self.sdk.list(config={"page_size": page}))

    def refused(self, error: Exception) -> Refused:
        assert isinstance(error, errors.APIError)
        return Refused(error.code, error.message or "")


CLIENTS: list[type[Client]] = [Models]
