"""Signatures: AWS's own published examples, and agreement with botocore on whatever there is to sign."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st
from router_bedrock.signature import Keys, signed
from yarl import URL

KEYS = Keys(id="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
HOST = "https://example.amazonaws.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

#: AWS's test suite for Signature Version 4: method, URL, headers, body, signature
PUBLISHED = [
    ("GET", "/", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("POST", "/", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "GET",
        "/?Param2=value2&Param1=value1",
        {},
        b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "GET",
        "/",
        {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
        b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    ("POST", "/", FORM, b"Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "signature"), PUBLISHED)
def test_published_examples(method: str, path: str, headers: dict[str, str], body: bytes, signature: str) -> None:
    url = URL(HOST + path, encoded=True)

    added = signed(KEYS, method, url, headers, body, region="us-east-1", service="service", now=NOW)

    names = ";".join(sorted(name.lower() for name in (*headers, "host", "x-amz-date")))
    scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
    assert added == {
        "X-Amz-Date": "20150830T123600Z",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}",
    }


MODELS = st.text(st.sampled_from("abz019.-_~:/ åé%+@$"), min_size=1, max_size=30)


@given(MODELS, st.binary(max_size=50), st.sampled_from(["", "token/+=="]), st.sampled_from(["", ":8443", ":443"]))
def test_the_same_as_botocore(model: str, body: bytes, token: str, port: str) -> None:
    url = URL(
        f"https://bedrock-runtime.eu-north-1.amazonaws.com{port}/model/m{quote(model, safe='')}/converse", encoded=True
    )
    headers = {"X-Amzn-Bedrock-Trace": "ENABLED"}
    theirs = AWSRequest(method="POST", url=str(url), headers=dict(headers), data=body)
    SigV4Auth(Credentials(KEYS.id, KEYS.secret, token or None), "bedrock", "eu-north-1").add_auth(theirs)

    keys = Keys(id=KEYS.id, secret=KEYS.secret, token=token)
    when = datetime.strptime(theirs.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = signed(keys, "POST", url, headers, body, region="eu-north-1", service="bedrock", now=when)

    assert ours["Authorization"] == theirs.headers["Authorization"]
    assert ours.get("X-Amz-Security-Token", "") == token


def test_keys_are_not_printed() -> None:
    assert KEYS.secret not in repr(KEYS)
