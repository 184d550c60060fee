// Vercel's `ai`, which does the same on top of any of its providers. Imported by one file for each of these.

import { APICallError, embedMany, generateText, isStepCount, jsonSchema, Output, streamText, tool } from "ai";
import { z } from "zod";

import { result, scene, TOOLS } from "./scenarios.mjs";

// it warns of what a provider does not know of a model; only errors matter here
globalThis.AI_SDK_LOG_WARNINGS = false;

const Plan = z.object({ steps: z.array(z.object({ text: z.string(), minutes: z.number() })), sure: z.boolean() });

// `model(id, key)` makes the provider's model, `embeddingModel(id)`, where there is one, that of vectors; `complaint` is what it says
// when a stream breaks, where that is not what the router said.
export function surface({ model, embeddingModel, complaint }) {
  const functions = {
    complaint,

    problem(error) {
      if (!APICallError.isInstance(error)) return undefined;
      const { statusCode: status, message, responseHeaders } = error;
      return { status, message, retryAfter: responseHeaders?.["retry-after"] ?? null };
    },

    async plain(id, prompt, { key }) {
      const { text, usage } = await generateText({ model: model(id, key), prompt, maxRetries: 0 });
      return { text, input: usage.inputTokens, output: usage.outputTokens };
    },

    async stream(id, prompt, { signal, heard }) {
      const answer = streamText({
        model: model(id, scene.key),
        prompt,
        maxRetries: 0,
        abortSignal: signal,
        onError: () => {},
      });
      const words = [];
      for await (const part of answer.fullStream) {
        if (part.type === "error") throw part.error;
        if (part.type === "finish" && part.finishReason === "other") throw new Error(`ended by ${part.rawFinishReason}`);
        if (part.type === "text-delta" && part.text) {
          words.push(part.text);
          heard(part.text);
        }
      }
      if (signal?.aborted) return { words };
      const usage = await answer.usage;
      return { words, input: usage.inputTokens, output: usage.outputTokens };
    },

    // it runs the tools by itself
    async tools(id, prompt, streaming) {
      let number = 0;
      const tools = Object.fromEntries(
        TOOLS.map(({ name, description, schema }) => [
          name,
          tool({ description, inputSchema: jsonSchema(schema), execute: async () => result(number++) }),
        ]),
      );
      const how = { model: model(id, scene.key), prompt, tools, stopWhen: isStepCount(2), maxRetries: 0 };
      const answer = streaming ? streamText({ ...how, onError: () => {} }) : await generateText(how);
      if (streaming) await answer.consumeStream();
      const [first, last] = await answer.steps;
      const calls = first.toolCalls.map(({ toolCallId, toolName, input }) => ({
        id: toolCallId,
        name: toolName,
        arguments: input,
      }));
      return { calls, text: last.text };
    },

    async structured(id, prompt) {
      const how = { model: model(id, scene.key), prompt, output: Output.object({ schema: Plan }), maxRetries: 0 };
      return (await generateText(how)).output;
    },

    async images(id, prompt, picture) {
      const content = [
        { type: "text", text: prompt },
        { type: "file", data: Buffer.from(picture, "base64"), mediaType: "image/png" },
      ];
      const messages = [{ role: "user", content }];
      return (await generateText({ model: model(id, scene.key), messages, maxRetries: 0 })).text;
    },
  };
  if (!embeddingModel) return functions;
  return {
    ...functions,
    async embeddings(id, values) {
      return (await embedMany({ model: embeddingModel(id), values, maxRetries: 0 })).embeddings;
    },
  };
}
