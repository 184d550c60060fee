// `ai` with `@ai-sdk/google`.

import { createGoogle } from "@ai-sdk/google";

import { surface } from "./ai.mjs";
import { run, scene } from "./scenarios.mjs";

const provider = (apiKey = scene.key) => createGoogle({ baseURL: `${scene.url}/v1beta`, apiKey });

await run("@ai-sdk/google", {
  gemini: surface({
    model: (id, key) => provider(key)(id),
    embeddingModel: (id) => provider().embeddingModel(id),
  }),
});
