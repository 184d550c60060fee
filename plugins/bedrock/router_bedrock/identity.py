"""Where the keys come from: the configuration, the environment, or a profile, in this order, as AWS's own tools have it.

Keys that hold for a while only, and must be fetched (single sign-on, an assumed role, the role of a machine or container), are
botocore's business: it is asked where it is installed and nothing else is found.
"""

from __future__ import annotations

import asyncio
import configparser
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from router import UpstreamUnauthorized

from .signature import Keys

if TYPE_CHECKING:
    from . import BedrockSettings


class Identity(Protocol):
    """Something that knows the keys of the moment. `secret` is the part that nobody may see, "" where it changes."""

    secret: str

    async def keys(self) -> Keys: ...


class Fixed:
    """Keys that stay."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.secret = keys.secret

    async def keys(self) -> Keys:
        """They."""
        return self._keys


class Fetched:
    """Keys that botocore fetches, and again before they expire. It looks for them when the first request is sent, since it asks
    the network too."""

    def __init__(self, profile: str | None) -> None:
        self.secret = ""
        self._profile = profile
        self._credentials: Any = None

    async def keys(self) -> Keys:
        """Those of the moment, by a thread, since fetching may take seconds. Raises UpstreamUnauthorized where there are none."""
        keys = await asyncio.to_thread(self._now)
        if keys is None:
            raise UpstreamUnauthorized(
                "no credentials for AWS: neither configuration, environment, profile nor machine has any"
            )
        return keys

    def _now(self) -> Keys | None:
        import botocore.exceptions
        import botocore.session

        try:
            if self._credentials is None:
                self._credentials = botocore.session.Session(profile=self._profile).get_credentials()
            if self._credentials is None:
                return None
            frozen = self._credentials.get_frozen_credentials()
        except botocore.exceptions.BotoCoreError as error:
            raise UpstreamUnauthorized(f"AWS gives no credentials ({type(error).__name__})") from error
        return Keys(id=frozen.access_key, secret=frozen.secret_key, token=frozen.token or "")


def find(settings: BedrockSettings, environ: Mapping[str, str]) -> Identity | None:
    """Who we are for AWS, None where nothing tells."""
    if settings.access_key_id:
        return Fixed(Keys(id=settings.access_key_id, secret=settings.secret_access_key, token=settings.session_token))
    if not settings.profile and environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        return Fixed(_keys(environ, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
    profile = profile_of(settings.profile, environ)
    if profile.get("aws_access_key_id") and profile.get("aws_secret_access_key") and "role_arn" not in profile:
        return Fixed(_keys(profile, "aws_access_key_id", "aws_secret_access_key", "aws_session_token"))
    if importlib.util.find_spec("botocore") is not None:
        return Fetched(settings.profile or environ.get("AWS_PROFILE"))
    return None


def region_of(settings: BedrockSettings, environ: Mapping[str, str]) -> str:
    """Where our models run; "" where nothing tells."""
    return (
        settings.region
        or environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION")
        or profile_of(settings.profile, environ).get("region", "")
    )


def profile_of(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What both of AWS's files say of a profile. The one with the credentials wins."""
    name = name or environ.get("AWS_PROFILE") or "default"
    home = Path.home() / ".aws"
    config = _section(Path(environ.get("AWS_CONFIG_FILE") or home / "config"), name, f"profile {name}")
    return config | _section(Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"), name)


def _section(path: Path, *names: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    return dict(next((parser.items(name) for name in names if parser.has_section(name)), []))


def _keys(source: Mapping[str, str], id: str, secret: str, token: str) -> Keys:
    return Keys(id=source[id], secret=source[secret], token=source.get(token, ""))
