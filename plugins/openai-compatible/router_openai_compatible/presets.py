"""What each service and server does differently from OpenAI. One entry each: read it to know what happens to a request.

Seen in the services' own documentation between July and November 2026.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

#: `reasoning_effort`: OpenAI's word. `thinking`: `{"type": "enabled"}`, and `reasoning_effort` beside it where there are efforts.
#: `reasoning`: `{"enabled": true}`, or `reasoning_effort` for models with efforts. `enable_thinking`: a top-level switch.
#: `chat_template_kwargs`: the switch inside of it, as servers of open models have it. `none`: cannot be asked for.
ReasoningForm = Literal["reasoning_effort", "thinking", "reasoning", "enable_thinking", "chat_template_kwargs", "none"]

#: sampling members that are not OpenAI's; an upstream gets those that its preset names
SAMPLERS = frozenset({"top_k", "min_p", "top_a", "repetition_penalty"})
#: what decides how tokens are drawn
SAMPLING = SAMPLERS | {"temperature", "top_p", "frequency_penalty", "presence_penalty"}
#: members of OpenAI's own that many compatible services refuse with 400
LOGPROBS = frozenset({"logprobs", "top_logprobs"})
PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})
TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
#: members that only OpenAI itself knows
OPENAI_ONLY = frozenset(
    {
        *("store", "metadata", "prediction", "modalities", "audio", "web_search_options", "verbosity", "service_tier"),
        *("safety_identifier", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "moderation"),
        *("image_config", "cache_control"),
    }
)
EFFORTS = frozenset({"low", "medium", "high"})
#: what a chat completion may have, for the lists of supported parameters
CHAT = (
    frozenset(
        {"max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "logit_bias", "n", "user"}
    )
    | PENALTIES
    | LOGPROBS
    | TOOLS
    | {"response_format", "structured_outputs", "reasoning", "include_reasoning", "reasoning_effort"}
)


class Preset(Struct, kw_only=True, frozen=True):
    """One service or server. The defaults are what most of them do.

    `environment` is the variable that holds the key; with it the provider exists without any configuration. `probe` is a URL on
    loopback that tells that a local server runs. `catalogue`: there is a file of this name in `catalogues/`.

    `drops` are members of a request that are refused or ignored, `reasoning_drops` those that only reasoning models refuse,
    `fixed` is a pattern of models that take no sampling members at all, `adds` are members that reasoning models other than gpt-oss
    need. `samplers` are the members of SAMPLERS that are taken, `renames` members that are called otherwise, `stop_limit` how many
    stop sequences are taken, `temperature_limit` the highest temperature.

    `efforts` are the words of `reasoning_effort` for models that the catalogue does not know. `replays` is the member of an assistant
    message in which thinking is wanted back ("": it is not). `json_schema` False: there is only `json_object`, and the schema goes
    into a system message. `tool_choices` are the forms of `tool_choice` that are taken; in place of another one goes `auto`.
    `stream_usage` False: `stream_options` are refused, and usage comes anyway. `names` False: `name` of a message is refused.
    `image_urls` False: images must come as data, so the router fetches them. `think_tags`: thinking comes inside of the text.
    `completions`: there is the API of text completions too, whose clients are relayed to it.
    """

    title: str
    base_url: str
    environment: str = ""
    probe: str = ""
    local: bool = False
    catalogue: bool = False
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    samplers: frozenset[str] = frozenset()
    drops: frozenset[str] = OPENAI_ONLY
    reasoning_drops: frozenset[str] = frozenset()
    adds: dict[str, str] = {}
    fixed: str = ""
    renames: dict[str, str] = {}
    stop_limit: int | None = None
    temperature_limit: float = 2
    reasoning: ReasoningForm = "reasoning_effort"
    efforts: frozenset[str] = EFFORTS
    replays: Literal["", "reasoning_content", "reasoning"] = ""
    developer_role: bool = False
    many_choices: bool = True
    json_schema: bool = True
    tool_choices: frozenset[str] = frozenset({"none", "auto", "required", "named"})
    stream_usage: bool = True
    names: bool = True
    image_urls: bool = True
    think_tags: bool = False
    reports_cost: bool = False
    completions: bool = False

    def parameters(self, model: str, *, reasoning: bool) -> set[str]:
        """The request members that a model takes, `reasoning` or not."""
        taken = (CHAT | self.samplers) - self.drops
        if reasoning:
            taken -= self.reasoning_drops
        if self.fixed and re.match(self.fixed, model):
            taken -= SAMPLING
        return set(taken if self.json_schema else taken - {"structured_outputs"})


PRESETS: dict[str, Preset] = {
    # --- services -----------------------------------------------------------------------------------------------------
    "groq": Preset(
        # console.groq.com/docs/openai: 400 for logprobs, logit_bias, top_logprobs, messages[].name and n other than 1
        title="Groq",
        base_url="https://api.groq.com/openai/v1",
        environment="GROQ_API_KEY",
        catalogue=True,
        max_tokens="max_completion_tokens",
        drops=(OPENAI_ONLY - {"service_tier"}) | LOGPROBS | {"logit_bias"},
        adds={"reasoning_format": "parsed"},  # else qwen3 thinks inside of its text; gpt-oss has no such member
        stop_limit=4,
        many_choices=False,
        names=False,
    ),
    "together": Preset(
        # docs.together.ai/docs/inference/chat/reasoning: hybrids by `reasoning.enabled`, gpt-oss by effort
        title="Together AI",
        base_url="https://api.together.xyz/v1",
        environment="TOGETHER_API_KEY",
        catalogue=True,
        samplers=frozenset({"top_k", "min_p", "repetition_penalty"}),
        drops=OPENAI_ONLY | LOGPROBS,  # its `logprobs` is a number, its answer another form
        reasoning="reasoning",
        completions=True,
    ),
    "deepseek": Preset(
        # api-docs.deepseek.com/guides/thinking_mode: `thinking` on by default; tool loops need reasoning_content back
        title="DeepSeek",
        base_url="https://api.deepseek.com/v1",
        environment="DEEPSEEK_API_KEY",
        catalogue=True,
        drops=OPENAI_ONLY | {"logit_bias", "seed", "parallel_tool_calls"},
        reasoning="thinking",
        efforts=frozenset({"low", "high", "max"}),
        replays="reasoning_content",
        many_choices=False,
        json_schema=False,
    ),
    "xai": Preset(
        # Reasoning models answer 400 to penalties and stop, and to an effort where they have none. Usage leaves reasoning out
        # of completion_tokens: added back by its own arithmetic (total = prompt + completion + reasoning). It states what it charges,
        # with the searches and tools that it ran.
        title="xAI",
        base_url="https://api.x.ai/v1",
        environment="XAI_API_KEY",
        catalogue=True,
        max_tokens="max_completion_tokens",
        drops=OPENAI_ONLY | {"logit_bias"},
        reasoning_drops=PENALTIES | {"stop"},
        reports_cost=True,
    ),
    "fireworks": Preset(
        # Refuses members that it does not know ("Extra inputs are not permitted")
        title="Fireworks AI",
        base_url="https://api.fireworks.ai/inference/v1",
        environment="FIREWORKS_API_KEY",
        catalogue=True,
        samplers=frozenset({"top_k", "min_p", "repetition_penalty"}),
        efforts=EFFORTS | {"none"},
        replays="reasoning_content",
        completions=True,
    ),
    "cerebras": Preset(
        # inference-docs.cerebras.ai/resources/openai: 400 for penalties and logit_bias
        title="Cerebras",
        base_url="https://api.cerebras.ai/v1",
        environment="CEREBRAS_API_KEY",
        catalogue=True,
        max_tokens="max_completion_tokens",
        drops=(OPENAI_ONLY - {"service_tier"}) | PENALTIES | {"logit_bias"},
        efforts=EFFORTS | {"none"},
        stop_limit=4,
        many_choices=False,
    ),
    "perplexity": Preset(
        # docs.perplexity.ai: no tools; every chunk has the usage so far, and the cost that it charges
        title="Perplexity",
        base_url="https://api.perplexity.ai",
        environment="PERPLEXITY_API_KEY",
        catalogue=True,
        samplers=frozenset({"top_k"}),
        drops=(OPENAI_ONLY - {"web_search_options"}) | TOOLS | LOGPROBS | {"logit_bias", "seed", "stop", "user"},
        efforts=EFFORTS | {"minimal"},
        many_choices=False,
        stream_usage=False,
        think_tags=True,
        reports_cost=True,
    ),
    "moonshot": Preset(
        # platform.moonshot.ai: kimi-k2.5 and later fix their sampling; tool loops need reasoning_content back; no image URLs
        title="Moonshot AI",
        base_url="https://api.moonshot.ai/v1",
        environment="MOONSHOT_API_KEY",
        catalogue=True,
        drops=(OPENAI_ONLY - {"prompt_cache_key", "safety_identifier"})
        | LOGPROBS
        | {"logit_bias", "seed", "parallel_tool_calls"},
        stop_limit=5,
        temperature_limit=1,
        fixed=r"kimi-k(?:2\.[5-9]|[3-9])",
        reasoning="thinking",
        efforts=frozenset(),
        replays="reasoning_content",
        many_choices=False,
        image_urls=False,
        tool_choices=frozenset({"none", "auto", "named"}),
    ),
    "zai": Preset(
        # docs.z.ai: only tool_choice auto (yet a named one is obeyed), only json_object
        title="Z.ai",
        base_url="https://api.z.ai/api/paas/v4",
        environment="ZAI_API_KEY",
        catalogue=True,
        drops=OPENAI_ONLY | PENALTIES | LOGPROBS | {"logit_bias", "seed", "parallel_tool_calls", "user"},
        stop_limit=1,
        temperature_limit=1,
        reasoning="thinking",
        efforts=frozenset(),
        replays="reasoning_content",
        many_choices=False,
        json_schema=False,
        tool_choices=frozenset({"auto", "named"}),
    ),
    "huggingface": Preset(
        # A router to many services: what the one behind it does not know, it refuses itself
        title="Hugging Face",
        base_url="https://router.huggingface.co/v1",
        environment="HF_TOKEN",
        catalogue=True,
    ),
    "nvidia": Preset(
        # build.nvidia.com: models with the switches of their chat templates
        title="NVIDIA",
        base_url="https://integrate.api.nvidia.com/v1",
        environment="NVIDIA_API_KEY",
        catalogue=True,
        drops=OPENAI_ONLY | {"logit_bias", "parallel_tool_calls", "user"},
        reasoning="chat_template_kwargs",
        many_choices=False,
    ),
    "deepinfra": Preset(
        title="DeepInfra",
        base_url="https://api.deepinfra.com/v1/openai",
        environment="DEEPINFRA_API_KEY",
        catalogue=True,
        samplers=frozenset({"top_k", "min_p", "repetition_penalty"}),
        drops=OPENAI_ONLY | {"logit_bias"},
        efforts=EFFORTS | {"none"},
    ),
    "nebius": Preset(
        title="Nebius Token Factory",
        base_url="https://api.tokenfactory.nebius.com/v1",
        environment="NEBIUS_API_KEY",
        catalogue=True,
        samplers=frozenset({"top_k"}),
    ),
    "alibaba": Preset(
        # Model Studio's compatible mode: `enable_thinking`, thinking in reasoning_content
        title="Alibaba Model Studio",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        environment="DASHSCOPE_API_KEY",
        catalogue=True,
        samplers=frozenset({"top_k", "repetition_penalty"}),
        drops=(OPENAI_ONLY - {"modalities", "audio"}) | {"logit_bias", "frequency_penalty"},
        reasoning="enable_thinking",
    ),
    # --- servers on one's own machine: their models are found by asking, and cost nothing -------------------------------
    "vllm": Preset(
        title="vLLM",
        base_url="http://127.0.0.1:8000/v1",
        probe="http://127.0.0.1:8000/v1/models",
        local=True,
        samplers=frozenset({"top_k", "min_p", "repetition_penalty"}),
        reasoning="chat_template_kwargs",
        think_tags=True,
        completions=True,
    ),
    "sglang": Preset(
        title="SGLang",
        base_url="http://127.0.0.1:30000/v1",
        local=True,
        samplers=frozenset({"top_k", "min_p", "repetition_penalty"}),
        reasoning="chat_template_kwargs",
        think_tags=True,
        completions=True,
    ),
    "llamacpp": Preset(
        # Its own port is 8080, which is ours too; the probe looks where people move it
        title="llama.cpp",
        base_url="http://127.0.0.1:8081/v1",
        probe="http://127.0.0.1:8081/v1/models",
        local=True,
        samplers=frozenset({"top_k", "min_p", "repetition_penalty"}),
        renames={"repetition_penalty": "repeat_penalty"},
        reasoning="chat_template_kwargs",
        think_tags=True,
        completions=True,
    ),
    "lmstudio": Preset(
        title="LM Studio",
        base_url="http://127.0.0.1:1234/v1",
        probe="http://127.0.0.1:1234/v1/models",
        local=True,
        samplers=frozenset({"top_k", "min_p", "repetition_penalty"}),
        renames={"repetition_penalty": "repeat_penalty"},
        image_urls=False,
        think_tags=True,
        completions=True,
    ),
    "ollama": Preset(
        # docs.ollama.com/api/openai-compatibility: no tool_choice, logit_bias, user, n. No probe: the plugin `ollama` has one, and
        # speaks Ollama's own API
        title="Ollama",
        base_url="http://127.0.0.1:11434/v1",
        local=True,
        drops=OPENAI_ONLY | {"tool_choice", "parallel_tool_calls", "logit_bias", "user"},
        efforts=EFFORTS | {"none"},
        many_choices=False,
        image_urls=False,
        think_tags=True,
        completions=True,
    ),
}

#: a server that is not in the list: as OpenAI, with the samplers of open models
PLAIN = Preset(title="", base_url="", samplers=SAMPLERS, drops=frozenset(), completions=True)
