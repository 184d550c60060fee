// `ai` with `@openrouter/ai-sdk-provider`.

import { createOpenRouter } from "@openrouter/ai-sdk-provider";

import { surface } from "./ai.mjs";
import { run, scene } from "./scenarios.mjs";

const provider = (apiKey = scene.key) => createOpenRouter({ baseURL: `${scene.url}/api/v1`, apiKey });

await run("@openrouter/ai-sdk-provider", {
  chat: surface({
    model: (id, key) => provider(key).chat(id),
    embeddingModel: (id) => provider().textEmbeddingModel(id),
  }),
});
