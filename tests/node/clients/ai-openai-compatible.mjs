// `ai` with `@ai-sdk/openai-compatible`.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

import { surface } from "./ai.mjs";
import { run, scene } from "./scenarios.mjs";

const provider = (apiKey = scene.key) =>
  createOpenAICompatible({
    name: "router",
    baseURL: `${scene.url}/v1`,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });

await run("@ai-sdk/openai-compatible", {
  chat: surface({
    model: (id, key) => provider(key).chatModel(id),
    embeddingModel: (id) => provider().embeddingModel(id),
  }),
});
