"""Our own default plugins: every core feature that decides something goes through the hooks that third parties get.

Each can be switched off by `[plugins] disabled = ["metrics"]`; the server starts without it. They are asked in the order here
(pluggy calls the last registered first, so the list is registered backwards).
"""

from __future__ import annotations

from .auth import Auth
from .byok import Byok
from .cache import Cache
from .catalogue import Catalogue
from .choices import Choices
from .compat import Compat
from .compression import Compression
from .content import Keeper
from .explain import Explain
from .guardrails import Guardrails
from .idempotency import Idempotency
from .limits import Limits
from .log import Log
from .metrics import Metrics
from .presets import Presets
from .pricing import Pricing
from .requested import Requested
from .responses import Responses
from .routing import Routing
from .statistics import Statistics
from .upstream import Send
from .webhooks import Webhooks
from .workspaces import Workspaces

DEFAULT_PLUGINS: dict[str, type] = {
    "upstream": Send,
    "choices": Choices,
    "byok": Byok,
    "webhooks": Webhooks,
    "pricing": Pricing,
    "routing": Routing,
    "metrics": Metrics,
    "catalogue": Catalogue,
    "cache": Cache,
    "compression": Compression,
    "compat": Compat,
    "responses": Responses,
    "presets": Presets,
    "statistics": Statistics,
    "log": Log,
    "content": Keeper,
    "requested": Requested,
    "workspaces": Workspaces,
    "guardrails": Guardrails,
    "limits": Limits,
    "explain": Explain,
    "idempotency": Idempotency,
    "auth": Auth,
}
