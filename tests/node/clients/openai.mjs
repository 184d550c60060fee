// The `openai` package: chat completions and responses.

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

import { run, result, scene, TOOLS } from "./scenarios.mjs";

const Plan = z.object({ steps: z.array(z.object({ text: z.string(), minutes: z.number() })), sure: z.boolean() });
const client = (key) => new OpenAI({ baseURL: `${scene.url}/v1`, apiKey: key ?? scene.key, maxRetries: 0 });
const user = (content) => [{ role: "user", content }];

function problem(error) {
  if (!(error instanceof OpenAI.APIError)) return undefined;
  return { status: error.status, message: error.message, retryAfter: error.headers?.get("retry-after") };
}

async function embeddings(model, input) {
  const { data } = await client().embeddings.create({ model, input });
  return data.map((each) => each.embedding);
}

const chat = {
  problem,
  embeddings,

  async plain(model, prompt, { key }) {
    const answer = await client(key).chat.completions.create({ model, messages: user(prompt) });
    const { prompt_tokens: input, completion_tokens: output } = answer.usage;
    return { text: answer.choices[0].message.content, input, output };
  },

  async stream(model, prompt, { signal, heard }) {
    const ask = { model, messages: user(prompt), stream: true, stream_options: { include_usage: true } };
    const words = [];
    let usage = {};
    for await (const chunk of await client().chat.completions.create(ask, { signal })) {
      const word = chunk.choices[0]?.delta.content;
      if (word) {
        words.push(word);
        heard(word);
      }
      usage = chunk.usage ?? usage;
    }
    return { words, input: usage.prompt_tokens, output: usage.completion_tokens };
  },

  async tools(model, prompt, streaming) {
    const tools = TOOLS.map(({ name, description, schema }) => ({
      type: "function",
      function: { name, description, parameters: schema },
    }));
    const messages = user(prompt);
    const ask = async () => {
      const completions = client().chat.completions;
      if (streaming) return completions.stream({ model, messages, tools }).finalMessage();
      return (await completions.create({ model, messages, tools })).choices[0].message;
    };
    const message = await ask();
    messages.push(message);
    message.tool_calls.forEach(({ id }, number) =>
      messages.push({ role: "tool", tool_call_id: id, content: result(number) }),
    );
    const calls = message.tool_calls.map(({ id, function: { name, arguments: text } }) => ({
      id,
      name,
      arguments: JSON.parse(text),
    }));
    return { calls, text: (await ask()).content };
  },

  async structured(model, prompt) {
    const response_format = zodResponseFormat(Plan, "plan");
    const answer = await client().chat.completions.parse({ model, messages: user(prompt), response_format });
    return answer.choices[0].message.parsed;
  },

  async images(model, prompt, picture) {
    const image = { type: "image_url", image_url: { url: `data:image/png;base64,${picture}` } };
    const messages = user([{ type: "text", text: prompt }, image]);
    return (await client().chat.completions.create({ model, messages })).choices[0].message.content;
  },
};

const responses = {
  problem,

  async plain(model, prompt, { key }) {
    const answer = await client(key).responses.create({ model, input: prompt, store: false });
    const { input_tokens: input, output_tokens: output } = answer.usage;
    return { text: answer.output_text, input, output };
  },

  async stream(model, prompt, { signal, heard }) {
    const words = [];
    let usage = {};
    for await (const event of await client().responses.create({ model, input: prompt, stream: true }, { signal })) {
      if (event.type === "response.output_text.delta") {
        words.push(event.delta);
        heard(event.delta);
      }
      // no exception of the SDK, but what it tells a program
      if (event.type === "response.failed") throw event.response.error;
      usage = event.response?.usage ?? usage;
    }
    return { words, input: usage.input_tokens, output: usage.output_tokens };
  },

  async tools(model, prompt, streaming) {
    const tools = TOOLS.map(({ name, description, schema }) => ({
      type: "function",
      name,
      description,
      parameters: schema,
      strict: false,
    }));
    const input = user(prompt);
    const ask = () => {
      const how = { model, input, tools, store: false };
      return streaming ? client().responses.stream(how).finalResponse() : client().responses.create(how);
    };
    const { output } = await ask();
    const asked = output.filter((item) => item.type === "function_call");
    input.push(...output);
    asked.forEach(({ call_id }, number) =>
      input.push({ type: "function_call_output", call_id, output: result(number) }),
    );
    const calls = asked.map((item) => ({
      id: item.call_id,
      name: item.name,
      arguments: JSON.parse(item.arguments),
    }));
    return { calls, text: (await ask()).output_text };
  },

  async structured(model, input) {
    const answer = await client().responses.parse({ model, input, text: { format: zodTextFormat(Plan, "plan") } });
    return answer.output_parsed;
  },

  async images(model, prompt, picture) {
    const image = { type: "input_image", image_url: `data:image/png;base64,${picture}`, detail: "auto" };
    const input = user([{ type: "input_text", text: prompt }, image]);
    return (await client().responses.create({ model, input })).output_text;
  },
};

await run("openai", { chat, responses });
