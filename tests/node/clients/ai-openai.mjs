// `ai` with `@ai-sdk/openai`: chat completions, and responses, which it prefers.

import { createOpenAI } from "@ai-sdk/openai";

import { surface } from "./ai.mjs";
import { run, scene } from "./scenarios.mjs";

const provider = (apiKey = scene.key) => createOpenAI({ baseURL: `${scene.url}/v1`, apiKey });

await run("@ai-sdk/openai", {
  chat: surface({
    model: (id, key) => provider(key).chat(id),
    embeddingModel: (id) => provider().embeddingModel(id),
    // it reads a chunk with choices and overlooks the error beside them; the finish_reason is left (4.0.118)
    complaint: "ended by error",
  }),
  responses: surface({ model: (id, key) => provider(key).responses(id) }),
});
