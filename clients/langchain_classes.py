"""LangChain's three chat classes, and its two of vectors: one interface, so one client with three ways to make it."""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings
from langchain_google_genai.chat_models import ChatGoogleGenerativeAIError
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from .client import CHAT, GEMINI, MESSAGES, RESPONSES, Call, Client, Refused


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    raise AssertionError(city)


class LangChain(Client):
    """What all chat models of LangChain have in common."""

    @abstractmethod
    def model(self, name: str, **more: Any) -> BaseChatModel:
        """The chat model of this name."""

    @abstractmethod
    def embeddings(self, name: str) -> Embeddings:
        """The model of vectors of this name."""

    def say(self, model: str, text: str, **more: Any) -> str:
        return self.model(model, **more).invoke(text).text

    def stream(self, model: str, text: str) -> Generator[str, None, None]:
        chunks: Any = self.model(model).stream(text)
        try:
            for chunk in chunks:
                if chunk.text:
                    yield chunk.text
        finally:
            chunks.close()

    def tools(self, model: str, text: str, results: Sequence[str], *, streamed: bool) -> tuple[list[Call], str]:
        bound = self.model(model).bind_tools([get_weather])
        history: list[Any] = [HumanMessage(text)]
        if streamed:
            message: Any = sum(bound.stream(history), AIMessageChunk([]))
        else:
            message = bound.invoke(history)
        calls = [Call(call["id"], call["name"], call["args"]) for call in message.tool_calls]
        history.append(message)
        for call, result in zip(calls, results, strict=True):
            history.append(ToolMessage(result, tool_call_id=call.id, name=call.name))
        return calls, bound.invoke(history).text

    def structured(self, model: str, text: str) -> Mapping[str, Any]:
        found = self.model(model).with_structured_output(Weather).invoke(text)
        assert isinstance(found, Weather)
        return found.model_dump()

    def see(self, model: str, text: str, png: bytes) -> str:
        picture = {"type": "image", "base64": base64.b64encode(png).decode(), "mime_type": "image/png"}
        return self.model(model).invoke([HumanMessage([{"type": "text", "text": text}, picture])]).text

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        return self.embeddings(model).embed_documents(list(texts))


class OfOpenAI(LangChain):
    """`ChatOpenAI`."""

    package, surface, raises = "langchain-openai", CHAT, openai.APIStatusError

    def model(self, name: str, **more: Any) -> BaseChatModel:
        how: Any = {"api_key": self.key, "max_retries": 0, "timeout": 20, "use_responses_api": False, **more}
        return ChatOpenAI(model=name, base_url=f"{self.stage.url}/v1", **how)

    def embeddings(self, name: str) -> Embeddings:
        # Without the check it sends texts; with it, numbers of tokens that only OpenAI's own models understand.
        how: Any = {"api_key": self.key, "max_retries": 0, "check_embedding_ctx_length": False}
        return OpenAIEmbeddings(model=name, base_url=f"{self.stage.url}/v1", **how)

    def refused(self, error: Exception) -> Refused:
        assert isinstance(error, openai.APIStatusError)
        return Refused(error.status_code, error.message, error.response.headers.get("retry-after"))


class OfResponses(OfOpenAI):
    """`ChatOpenAI(use_responses_api=True)`."""

    surface = RESPONSES

    def model(self, name: str, **more: Any) -> BaseChatModel:
        return super().model(name, use_responses_api=True, **more)


class OfAnthropic(LangChain):
    """`ChatAnthropic`."""

    package, surface, raises = "langchain-anthropic", MESSAGES, anthropic.APIStatusError

    def model(self, name: str, **more: Any) -> BaseChatModel:
        how: Any = {"api_key": self.key, "max_retries": 0, "timeout": 20, "max_tokens": 2000, **more}
        return ChatAnthropic(model=name, base_url=self.stage.url, **how)

    def embeddings(self, name: str) -> Embeddings:
        raise NotImplementedError

    def refused(self, error: Exception) -> Refused:
        assert isinstance(error, anthropic.APIStatusError)
        return Refused(error.status_code, error.message, error.response.headers.get("retry-after"))


class OfGoogle(LangChain):
    """`ChatGoogleGenerativeAI`."""

    package, surface, raises = "langchain-google-genai", GEMINI, ChatGoogleGenerativeAIError
    tells_wait = False

    def model(self, name: str, **more: Any) -> BaseChatModel:
        how: Any = {"google_api_key": self.key, "base_url": self.stage.url, "max_retries": 1, "timeout": 20, **more}
        return ChatGoogleGenerativeAI(model=name, **how)

    def embeddings(self, name: str) -> Embeddings:
        how: Any = {"google_api_key": self.key, "base_url": self.stage.url}
        return GoogleGenerativeAIEmbeddings(model=name, **how)

    def out_of_range(self, model: str) -> None:
        self.say(model, "Hello", max_output_tokens=-1)  # its own check of the temperature comes first

    def refused(self, error: Exception) -> Refused:
        cause: Any = error.__cause__
        return Refused(cause.code, str(error))


CLIENTS: list[type[Client]] = [OfOpenAI, OfResponses, OfAnthropic, OfGoogle]
