// The `@google/genai` package.

import { ApiError, GoogleGenAI } from "@google/genai";

import { run, result, scene, TOOLS } from "./scenarios.mjs";

const PLAN = {
  type: "object",
  properties: {
    steps: {
      type: "array",
      items: {
        type: "object",
        properties: { text: { type: "string" }, minutes: { type: "number" } },
        required: ["text", "minutes"],
      },
    },
    sure: { type: "boolean" },
  },
  required: ["steps", "sure"],
};
const client = (key) =>
  new GoogleGenAI({
    apiKey: key ?? scene.key,
    httpOptions: { baseUrl: scene.url, retryOptions: { attempts: 1 } },
  });
const tokens = ({ promptTokenCount = 0, candidatesTokenCount = 0, thoughtsTokenCount = 0 } = {}) => ({
  input: promptTokenCount,
  output: candidatesTokenCount + thoughtsTokenCount,
});

const gemini = {
  // its errors have no headers
  problem(error) {
    return error instanceof ApiError ? { status: error.status, message: error.message } : undefined;
  },

  async plain(model, contents, { key }) {
    const answer = await client(key).models.generateContent({ model, contents });
    return { text: answer.text, ...tokens(answer.usageMetadata) };
  },

  async stream(model, contents, { signal, heard }) {
    const words = [];
    let usage;
    const ask = { model, contents, config: { abortSignal: signal } };
    for await (const chunk of await client().models.generateContentStream(ask)) {
      if (chunk.text) {
        words.push(chunk.text);
        heard(chunk.text);
      }
      usage = chunk.usageMetadata ?? usage;
    }
    return { words, ...tokens(usage) };
  },

  async tools(model, prompt, streaming) {
    const functionDeclarations = TOOLS.map(({ name, description, schema }) => ({
      name,
      description,
      parametersJsonSchema: schema,
    }));
    const contents = [{ role: "user", parts: [{ text: prompt }] }];
    const ask = async () => {
      const how = { model, contents, config: { tools: [{ functionDeclarations }] } };
      if (!streaming) return (await client().models.generateContent(how)).candidates[0].content.parts;
      const parts = [];
      for await (const chunk of await client().models.generateContentStream(how)) {
        parts.push(...(chunk.candidates?.[0]?.content?.parts ?? []));
      }
      return parts;
    };
    const parts = await ask();
    const calls = parts.map((part) => part.functionCall).filter(Boolean);
    const results = calls.map(({ id, name }, number) => ({
      functionResponse: { id, name, response: { output: result(number) } },
    }));
    contents.push({ role: "model", parts }, { role: "user", parts: results });
    const text = (await ask()).map((part) => part.text ?? "").join("");
    return { calls: calls.map(({ id, name, args }) => ({ id, name, arguments: args ?? {} })), text };
  },

  async structured(model, contents) {
    const config = { responseMimeType: "application/json", responseJsonSchema: PLAN };
    return JSON.parse((await client().models.generateContent({ model, contents, config })).text);
  },

  async images(model, prompt, picture) {
    const parts = [{ text: prompt }, { inlineData: { mimeType: "image/png", data: picture } }];
    return (await client().models.generateContent({ model, contents: [{ role: "user", parts }] })).text;
  },

  async embeddings(model, contents) {
    return (await client().models.embedContent({ model, contents })).embeddings.map((each) => each.values);
  },
};

await run("@google/genai", { gemini });
