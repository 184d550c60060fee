"""Simon Willison's `llm`, with models of the router in its extra-openai-models.yaml."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import llm
import openai
from pydantic import BaseModel

from .client import CHAT, Call, Client, Refused, Stage


class Weather(BaseModel):
    """What structured answers hold."""

    city: str
    degrees: int


class Llm(Client):
    """`llm.get_model(…)`."""

    package, surface, raises = "llm", CHAT, openai.APIStatusError
    lacks: ClassVar = {"embeddings": "It knows OpenAI's own models of vectors only."}

    def __init__(self, stage: Stage, key: str | None = None) -> None:
        super().__init__(stage, key)
        self.folder = Path(tempfile.mkdtemp())

    def say(self, model: str, text: str, **more: Any) -> str:
        return self._model(model).prompt(text, stream=False, key=self.key, **more).text()

    def stream(self, model: str, text: str) -> Generator[str, None, None]:
        yield from self._model(model).prompt(text, key=self.key)

    def leave(self, model: str, text: str) -> None:
        """As people do it: at the command line, by Ctrl-C. Its Python interface has no way to close an answer."""
        self._model(model)
        command = [sys.executable, "-m", "llm", "prompt", "--no-log", "--model", model, "--key", self.key, text]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process:
            assert process.stdout.read(4) == b"word"
            process.send_signal(signal.SIGINT)

    def tools(self, model: str, text: str, results: Sequence[str], *, streamed: bool) -> tuple[list[Call], str]:
        def get_weather(city: str) -> str:
            """The weather of a city."""
            calls.append(Call(None, "get_weather", {"city": city}))
            return results[len(calls) - 1]

        calls: list[Call] = []
        chain = self._model(model).chain(text, tools=[get_weather], stream=streamed, key=self.key)
        return calls, chain.text()

    def structured(self, model: str, text: str) -> Mapping[str, Any]:
        answer = self._model(model).prompt(text, schema=Weather, stream=False, key=self.key)
        return Weather.model_validate_json(answer.text()).model_dump()

    def see(self, model: str, text: str, png: bytes) -> str:
        picture = llm.Attachment(type="image/png", content=png)
        return self._model(model).prompt(text, attachments=[picture], key=self.key).text()

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        raise NotImplementedError

    def out_of_range(self, model: str) -> None:
        self.say(model, "Hello", max_tokens=-1)  # its own check of the temperature comes first

    def refused(self, error: Exception) -> Refused:
        assert isinstance(error, openai.APIStatusError)
        return Refused(error.status_code, error.message, error.response.headers.get("retry-after"))

    def _model(self, model: str) -> Any:
        lines = [f"- model_id: {model}", f"  model_name: {model}", f"  api_base: {self.stage.url}/v1"]
        lines.append("  api_key_name: router")
        lines += [f"  {can}: true" for can in ("vision", "supports_schema", "supports_tools")]
        (self.folder / "extra-openai-models.yaml").write_text("\n".join(lines))
        os.environ["LLM_USER_PATH"] = str(self.folder)
        return llm.get_model(model)


CLIENTS: list[type[Client]] = [Llm]
