"""The conversations of the kit: what every chat provider must be able to express, and the exchanges that a recorder makes of them.

Nothing here needs pytest: `router record` uses it where only the router is installed.
"""

from __future__ import annotations

from msgspec import Raw, Struct
from msgspec.structs import replace

from ..model import (
    ChatRequest,
    Message,
    Model,
    Reasoning,
    ReasoningConfig,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

WEATHER = Tool(
    name="get_weather",
    description="The weather of a city",
    parameters=Raw(b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'),
)
CAPITAL = Raw(
    b'{"type":"object","properties":{"city":{"type":"string"},"country":{"type":"string"}},'
    b'"required":["city","country"],"additionalProperties":false}'
)
#: enough for a model that thinks first, too little to cost anything
ENOUGH = 1024
SHORT = 16
UNKNOWN_MODEL = "a-model-that-is-not-there"


def conversations() -> dict[str, ChatRequest]:
    """Requests that every chat provider must be able to express."""
    asked = said("What is the weather in Oslo?")
    foreign = Message(
        role="assistant",
        content=[Reasoning(text="hm", signature="c2lnbmF0dXJl", format="somebody-elses-v1"), Text(text="Hello.")],
    )
    return {
        "text": ChatRequest(messages=[asked]),
        "sampling": ChatRequest(messages=[asked], temperature=0.5, top_p=0.9, max_tokens=100, stop=["END"], seed=7),
        "system": ChatRequest(messages=[Message(role="system", content=[Text(text="Be brief.")]), asked]),
        "turns": ChatRequest(messages=[asked, Message(role="assistant", content=[Text(text="Cold.")]), asked]),
        "unicode": ChatRequest(messages=[Message(role="user", content=[Text(text='"\\\n\u2028 😀 ünï')])]),
        "tools": ChatRequest(messages=[asked, *_called_and_answered()], tools=[WEATHER]),
        "forced": ChatRequest(
            messages=[asked], tools=[WEATHER], tool_choice=ToolChoice(mode="named", name="get_weather")
        ),
        "foreign reasoning": ChatRequest(messages=[asked, foreign, asked]),
    }


class Exchange(Struct, kw_only=True):
    """One exchange to record. `needs` is the parameter of `Model.parameters` without which the model cannot do it; `fails`: an error is
    what is wanted."""

    about: str
    request: ChatRequest
    needs: str = ""
    fails: bool = False

    def possible(self, model: Model) -> bool:
        """Can the model do it? One without known facts is given the benefit of the doubt."""
        return not self.needs or not model.parameters or self.needs in model.parameters

    def asked(self, model: str) -> ChatRequest:
        """The request for this model."""
        return replace(self.request, model=self.request.model or model)


def exchanges() -> dict[str, Exchange]:
    """What is recorded, by the name of the file."""
    greeting = ChatRequest(messages=[said("Say hello in five words or fewer.")], max_tokens=ENOUGH)
    weather = ChatRequest(
        messages=[said("What is the weather in Oslo? Use the tool.")], tools=[WEATHER], max_tokens=ENOUGH
    )
    result = replace(weather, messages=[*weather.messages, *_called_and_answered()], stream=True)
    count = ChatRequest(messages=[said("Count from one to one hundred, in words.")], max_tokens=SHORT)
    capital = ChatRequest(
        messages=[said("What is the capital of Norway?")],
        response_format=ResponseFormat(type="json_schema", name="capital", schema=CAPITAL, strict=True),
        max_tokens=ENOUGH,
    )
    thinking = ChatRequest(
        messages=[said("Is 91 a prime number? Answer with yes or no.")],
        reasoning=ReasoningConfig(effort="low"),
        max_tokens=4 * ENOUGH,
        stream=True,
    )
    nobody = replace(greeting, model=UNKNOWN_MODEL)
    return {
        "text": Exchange(about="a plain answer", request=greeting),
        "text_stream": Exchange(about="the same as a stream", request=replace(greeting, stream=True)),
        "tools": Exchange(about="a tool call", request=weather, needs="tools"),
        "tools_stream": Exchange(about="the same as a stream", request=replace(weather, stream=True), needs="tools"),
        "result_stream": Exchange(about="the answer to a tool's result", request=result, needs="tools"),
        "length_stream": Exchange(about="an answer that is cut off", request=replace(count, stream=True)),
        "json": Exchange(about="an answer of a given form", request=capital, needs="structured_outputs"),
        "thinking_stream": Exchange(about="thinking, as a stream", request=thinking, needs="reasoning"),
        "error_model": Exchange(about="a model that is not there", request=nobody, fails=True),
        "error_request": Exchange(
            about="a temperature of 99", request=replace(greeting, temperature=99.0), fails=True, needs="temperature"
        ),
    }


def said(text: str) -> Message:
    """What a user says."""
    return Message(role="user", content=[Text(text=text)])


def _called_and_answered() -> list[Message]:
    return [
        Message(role="assistant", content=[ToolCall(id="call_1", name="get_weather", arguments='{"city":"Oslo"}')]),
        Message(
            role="tool", content=[ToolResult(tool_call_id="call_1", name="get_weather", content=[Text(text="4 °C")])]
        ),
    ]
