"""What ships with the plugin about models agrees with what it does with them, and costs nothing at the start."""

from __future__ import annotations

import subprocess
import sys

import pytest
from router_bedrock import Bedrock
from router_bedrock.traits import is_claude, maker_of


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


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, router_bedrock; print([name for name in sys.modules if name.startswith(('botocore', 'boto'))])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)

    assert done.stdout.strip() == "[]"
