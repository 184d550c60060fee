"""What ships with the plugin about models agrees with what it does with them, costs nothing at the start; and what was recorded."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from router_bedrock import Bedrock
from router_bedrock.traits import is_claude, maker_of

from .conftest import RECORDINGS


def test_every_model_has_a_maker(bedrock: Bedrock) -> None:
    models = bedrock.catalogue()

    assert len({model.id for model in models}) == len(models) > 80
    assert [model.id for model in models if not maker_of(model.id)] == []
    assert [model.id for model in models if "claude" in model.id and not is_claude(model.id)] == []
    assert [model.id for model in models if is_claude(model.id) and model.price is None] == []


@pytest.mark.parametrize(
    ("model", "maker"),
    [
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-5", "anthropic"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.meta.llama4-scout-17b-instruct-v1:0", "meta"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", ""),
        ("global.amazon.nova-2-lite-v1:0", "amazon"),
    ],
)
def test_makers(model: str, maker: str) -> None:
    assert maker_of(model) == maker


def test_recordings_say_the_same_twice(
    recording: Callable[[str], Any], written: Callable[[Iterable[list[Any]]], bytes]
) -> None:
    recorded = {path.stem: recording(path.stem) for path in RECORDINGS.glob("*.json")}
    streams = {name: each for name, each in recorded.items() if "events" in each}

    assert len(streams) > 8
    for name, each in streams.items():
        assert base64.b64decode(each["response"]["body_base64"]) == written(each["events"]), name


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, router_bedrock; print([name for name in sys.modules if name.startswith(('botocore', 'boto'))])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)

    assert done.stdout.strip() == "[]"
