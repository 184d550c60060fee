"""What the suite asks of every client, and what it needs to know about one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

CHAT = "OpenAI chat completions"
RESPONSES = "OpenAI Responses"
MESSAGES = "Anthropic Messages"
GEMINI = "Gemini generateContent"

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "its name"}},
    "required": ["city"],
    "additionalProperties": False,
}
ABOUT = "The weather of a city."


@dataclass(frozen=True, eq=False)
class Stage:
    """Where the router is, and what `tests.clients.stage` told about it."""

    url: str
    key: str
    management: str
    upstream: str
    models: Mapping[str, str]


class Call(NamedTuple):
    """A call of a tool, as the client gives it to a program."""

    id: str | None
    name: str
    arguments: Mapping[str, Any]


class Refused(NamedTuple):
    """An error, as the client tells it; `wait` where it tells how long to wait."""

    status: int | None
    message: str
    wait: str | None = None


class Client(ABC):
    """One client on one surface. Every method asks the model once and returns what a program sees.

    `lacks` are features that it does not have, with the reason; `raises` is what it raises when it is refused.
    """

    package: ClassVar[str]
    surface: ClassVar[str]
    raises: ClassVar[type[Exception]]
    lacks: ClassVar[Mapping[str, str]] = {}
    #: errors say how long to wait
    tells_wait: ClassVar[bool] = True

    def __init__(self, stage: Stage, key: str | None = None) -> None:
        self.stage = stage
        self.key = key or stage.key

    @abstractmethod
    def say(self, model: str, text: str, **more: Any) -> str:
        """Ask, and wait for the whole answer."""

    @abstractmethod
    def stream(self, model: str, text: str) -> Generator[str, None, None]:
        """Ask for a stream."""

    def leave(self, model: str, text: str) -> None:
        """Ask for a stream and go after its first word."""
        words = self.stream(model, text)
        assert next(words)
        words.close()

    @abstractmethod
    def tools(self, model: str, text: str, results: Sequence[str], *, streamed: bool) -> tuple[list[Call], str]:
        """Ask with a tool `get_weather`, answer its calls with these results: the calls, and what the model says then."""

    @abstractmethod
    def structured(self, model: str, text: str) -> Mapping[str, Any]:
        """Ask for `city` and `degrees`, in the way that the client offers for it."""

    @abstractmethod
    def see(self, model: str, text: str, png: bytes) -> str:
        """Ask about a picture."""

    @abstractmethod
    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of these texts."""

    @abstractmethod
    def refused(self, error: Exception) -> Refused:
        """Read what was raised."""

    def models(self, page: int) -> Iterator[str]:
        """The ids of all models, so many at a time where the client has pages. Only SDKs have such a list."""
        raise NotImplementedError

    def out_of_range(self, model: str) -> None:
        """Ask for what the router refuses: a number that is too large, or where the client looks itself, one that is too small."""
        self.say(model, "Hello", temperature=3)
