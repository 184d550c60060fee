"""A 400 about a parameter that the next endpoint of the same model is known to take: that one is asked too, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.settings import EndpointSettings, ModelSettings
from router.testing import json_answer
from router.testing.upstream import Handler

from .lanes import RELAYED, TEXT
from .stage import PRICE, stage
from .talk import talk

WHOLE = RELAYED.whole(False)


def refuses(param: str | None, status: int = 400) -> Handler:
    error = {
        "message": "Unsupported value",
        "type": "invalid_request_error",
        "param": param,
        "code": "unsupported_value",
    }
    return json_answer({"error": error}, status=status)


def model(*parameters: list[str]) -> ModelSettings:
    """One endpoint for each list of what it takes."""
    return ModelSettings(
        endpoints=[
            EndpointSettings(
                provider=f"p{number}", model=RELAYED.model, pricing=PRICE, priority=number, supported_parameters=each
            )
            for number, each in enumerate(parameters)
        ]
    )


BOTH = model(["temperature", "tools"], ["temperature", "tools"])


@pytest.mark.parametrize(
    ("members", "refused"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].function.name"),
    ],
)
async def test_the_other_endpoint_may_take_it(tmp_path: Path, members: dict[str, Any], refused: str) -> None:
    async with stage(tmp_path, RELAYED, [refuses(refused)], [WHOLE], models={"test/m": BOTH}) as play:
        async with talk(play.router.url, play.router.key, {"stream": False, **members}) as conversation:
            told = await conversation.end()

        assert (told.status, told.text) == (200, TEXT)
        assert play.asked == [1, 1]
        assert not play.circuit(0).failures


@pytest.mark.parametrize(
    ("served", "members", "handler"),
    [
        pytest.param(BOTH, {"temperature": 1}, refuses(None), id="no parameter is named"),
        pytest.param(BOTH, {"temperature": 1}, refuses("messages[0].content"), id="it is no parameter"),
        pytest.param(BOTH, {}, refuses("temperature"), id="the client did not send it"),
        pytest.param(BOTH, {"temperature": 1}, refuses("temperature", 422), id="another kind of refusal"),
        pytest.param(
            model(["temperature"], ["tools"]),
            {"temperature": 1},
            refuses("temperature"),
            id="the other does not take it",
        ),
        pytest.param(
            BOTH,
            {"temperature": 1, "provider": {"allow_fallbacks": False}},
            refuses("temperature"),
            id="nobody else may be asked",
        ),
    ],
)
async def test_else_the_refusal_is_the_answer(
    tmp_path: Path, served: ModelSettings, members: dict[str, Any], handler: Handler
) -> None:
    async with stage(tmp_path, RELAYED, [handler], [WHOLE], models={"test/m": served}) as play:
        async with talk(play.router.url, play.router.key, {"stream": False, **members}) as conversation:
            told = await conversation.end()

        assert told.status in (400, 422)
        assert play.asked == [1, 0]


async def test_there_is_no_third_opinion(tmp_path: Path) -> None:
    three = model(["temperature"], ["temperature"], ["temperature"])
    answers = [refuses("temperature")], [refuses("temperature")], [WHOLE]
    async with stage(tmp_path, RELAYED, *answers, models={"test/m": three}) as play:
        async with talk(play.router.url, play.router.key, {"stream": False, "temperature": 1.5}) as conversation:
            told = await conversation.end()

        assert told.status == 400
        assert play.asked == [1, 1, 0]
