"""What the operator sets: `[plugins.moderation]`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field


class ModerationSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """Without a model the plugin is not set up, and requests that ask for it are refused."""

    model: str = ""
    always: bool = False
    action: Literal["block", "flag"] = "block"
    scan: Literal["input", "output", "both"] = "input"
    thresholds: dict[str, Annotated[float, Meta(ge=0, le=1)]] = field(default_factory=dict)
    images: bool = True
    on_error: Literal["refuse", "allow"] = "refuse"
    charge: Literal["router", "client"] = "router"
    seconds: Annotated[float, Meta(gt=0, le=120)] = 10

    def __post_init__(self) -> None:
        """Raises ValueError: a guard that is switched on and looks at nothing is none."""
        if self.always and not self.model:
            raise ValueError("model: always = true needs the id of a moderation model")
