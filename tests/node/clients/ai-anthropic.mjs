// `ai` with `@ai-sdk/anthropic`.

import { createAnthropic } from "@ai-sdk/anthropic";

import { surface } from "./ai.mjs";
import { run, scene } from "./scenarios.mjs";

const provider = (apiKey) => createAnthropic({ baseURL: `${scene.url}/v1`, apiKey: apiKey ?? scene.key });

await run("@ai-sdk/anthropic", { messages: surface({ model: (id, key) => provider(key)(id) }) });
