"""The SDKs of four client APIs, each as one function: it asks a model for text, whole or streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anthropic
import openai
from google import genai
from google.genai import errors, types
from msgspec import Struct

HELLO = "hello there"
WAIT_S = 20


class Heard(Struct):
    """What an SDK made of an answer: its text, and how it failed (the name of the SDK's exception or event, "" for not at all)."""

    text: str = ""
    failed: str = ""


Ask = Callable[[str, str, str, bool], Heard]


def chat(url: str, key: str, model: str, stream: bool) -> Heard:
    """OpenAI's chat."""
    heard = Heard()
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=WAIT_S) as client:
        try:
            if not stream:
                whole = client.chat.completions.create(model=model, messages=[{"role": "user", "content": HELLO}])
                return Heard(whole.choices[0].message.content or "")
            with client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": HELLO}], stream=True
            ) as chunks:
                for chunk in chunks:
                    heard.text += "".join(choice.delta.content or "" for choice in chunk.choices)
        except openai.APIError as error:
            heard.failed = type(error).__name__
    return heard


def responses(url: str, key: str, model: str, stream: bool) -> Heard:
    """OpenAI's Responses."""
    heard = Heard()
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=WAIT_S) as client:
        try:
            if not stream:
                return Heard(client.responses.create(model=model, input=HELLO).output_text)
            with client.responses.create(model=model, input=HELLO, stream=True) as events:
                for event in events:
                    if event.type == "response.output_text.delta":
                        heard.text += event.delta
                    elif event.type in ("response.failed", "error"):
                        heard.failed = event.type
        except openai.APIError as error:
            heard.failed = type(error).__name__
    return heard


def messages(url: str, key: str, model: str, stream: bool) -> Heard:
    """Anthropic's messages."""
    heard = Heard()
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=WAIT_S) as client:
        try:
            if not stream:
                whole = client.messages.create(
                    model=model, max_tokens=99, messages=[{"role": "user", "content": HELLO}]
                )
                return Heard("".join(block.text for block in whole.content if block.type == "text"))
            with client.messages.stream(
                model=model, max_tokens=99, messages=[{"role": "user", "content": HELLO}]
            ) as stream_of_text:
                for text in stream_of_text.text_stream:
                    heard.text += text
        except anthropic.APIError as error:
            heard.failed = type(error).__name__
    return heard


def gemini(url: str, key: str, model: str, stream: bool) -> Heard:
    """Google's generateContent."""
    heard = Heard()
    options = types.HttpOptions(base_url=url, timeout=WAIT_S * 1000)
    with genai.Client(api_key=key, http_options=options) as client:
        try:
            if not stream:
                return Heard(client.models.generate_content(model=model, contents=HELLO).text or "")
            for chunk in _chunks(client, model):
                heard.text += chunk
        except (errors.APIError, errors.UnknownApiResponseError) as error:
            heard.failed = type(error).__name__
    return heard


def _chunks(client: genai.Client, model: str) -> Iterator[str]:
    for chunk in client.models.generate_content_stream(model=model, contents=HELLO):
        if chunk.text:
            yield chunk.text


#: by the name of the client API: the SDK, and what it tells of an answer that broke in the middle
SDKS: dict[str, Ask] = {"chat": chat, "responses": responses, "messages": messages, "gemini": gemini}

__all__ = ["SDKS", "Ask", "Heard"]
