"""What the strict SDKs of OpenRouter insist on in answers: a name with "!" must be there and not be null, the others must be there.

The facts were measured with the Python SDK 1.3.84.
"""

from __future__ import annotations

from typing import Any

REQUIRED = {
    "ChatResult": "choices! created! id! model! object! system_fingerprint",
    "ChatChoice": "finish_reason index! message!",
    "ChatStreamChunk": "choices! created! id! model! object!",
    "ChatStreamChoice": "delta! finish_reason index!",
    "ChatUsage": "completion_tokens! prompt_tokens! total_tokens!",
    "Model": """architecture! canonical_slug! context_length created! default_parameters id! links! name! per_request_limits
        pricing! supported_parameters! supported_voices top_provider!""",
    "ModelArchitecture": "input_modalities! modality output_modalities!",
    "TopProviderInfo": "is_moderated!",
    "PublicPricing": "completion! prompt!",
    "GenerationResponseData": """api_type app_id cache_discount cancelled created_at! data_region! external_user finish_reason
        generation_time http_referer id! is_byok! latency model! moderation_latency native_finish_reason native_tokens_cached
        native_tokens_completion native_tokens_completion_images native_tokens_prompt native_tokens_reasoning num_fetches
        num_input_audio_prompt num_media_completion num_media_prompt num_search_results origin! preset_id provider_name
        provider_responses router service_tier streamed tokens_completion tokens_prompt total_cost! upstream_id
        upstream_inference_cost usage! user_agent web_search_engine workspace_id""",
    "CreateKeysData": """byok_usage! byok_usage_daily! byok_usage_monthly! byok_usage_weekly! created_at! creator_user_id disabled!
        external_user hash! include_byok_in_limit! label! last_used_at limit limit_remaining limit_reset name! updated_at usage!
        usage_daily! usage_monthly! usage_weekly! workspace_id!""",
    "GetCurrentKeyData": """allowed_data_regions! budgets! byok_usage! byok_usage_daily! byok_usage_monthly! byok_usage_weekly!
        creator_user_id effective_budget free_model_daily_requests! include_byok_in_limit! is_free_tier! is_management_key!
        is_provisioning_key! label! limit limit_remaining limit_reset organization_id rate_limit! usage! usage_daily!
        usage_monthly! usage_weekly! workspace_id""",
    "Preset": """created_at! creator_user_id description designated_version_id id! name! slug! status! status_updated_at updated_at!
        workspace_id""",
    "PresetDesignatedVersion": "config! created_at! creator_id! id! preset_id! system_prompt updated_at! version!",
    "ActivityItem": """byok_usage_inference! cached_tokens! completion_tokens! date! endpoint_id! model! model_permaslug!
        prompt_tokens! provider_name! reasoning_tokens! requests! usage!""",
    "ListProvidersData": "name! privacy_policy_url slug!",
}


def assert_complete(kind: str, value: dict[str, Any]) -> None:
    """Nothing that the SDK needs is missing."""
    for name in REQUIRED[kind].split():
        assert name.removesuffix("!") in value, f"{kind} has no {name}"
        assert not name.endswith("!") or value[name[:-1]] is not None, f"{kind}: {name} is null"
