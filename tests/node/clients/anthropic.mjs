// The `@anthropic-ai/sdk` package.

import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";

import { run, result, scene, TOOLS } from "./scenarios.mjs";

const Plan = z.object({ steps: z.array(z.object({ text: z.string(), minutes: z.number() })), sure: z.boolean() });
const client = (key) => new Anthropic({ baseURL: scene.url, apiKey: key ?? scene.key, maxRetries: 0 });
const max_tokens = 500;
const user = (content) => [{ role: "user", content }];
const textOf = (message) => message.content.map((block) => (block.type === "text" ? block.text : "")).join("");
// input_tokens leaves out what came from a cache
const read = (usage) => usage.input_tokens + (usage.cache_read_input_tokens ?? 0);

const messages = {
  problem(error) {
    if (!(error instanceof Anthropic.APIError)) return undefined;
    return { status: error.status, message: error.message, retryAfter: error.headers?.get("retry-after") };
  },

  async plain(model, prompt, { key }) {
    const answer = await client(key).messages.create({ model, max_tokens, messages: user(prompt) });
    return { text: textOf(answer), input: read(answer.usage), output: answer.usage.output_tokens };
  },

  async stream(model, prompt, { signal, heard }) {
    const stream = client().messages.stream({ model, max_tokens, messages: user(prompt) }, { signal });
    const words = [];
    stream.on("text", (word) => {
      words.push(word);
      heard(word);
    });
    const { usage } = await stream.finalMessage();
    return { words, input: read(usage), output: usage.output_tokens };
  },

  async tools(model, prompt, streaming) {
    const tools = TOOLS.map(({ name, description, schema }) => ({ name, description, input_schema: schema }));
    const history = user(prompt);
    const ask = () => {
      const how = { model, max_tokens, messages: history, tools };
      return streaming ? client().messages.stream(how).finalMessage() : client().messages.create(how);
    };
    const { content } = await ask();
    const calls = content.filter((block) => block.type === "tool_use");
    const results = calls.map(({ id }, number) => ({
      type: "tool_result",
      tool_use_id: id,
      content: result(number),
    }));
    history.push({ role: "assistant", content }, ...user(results));
    return { calls: calls.map(({ id, name, input }) => ({ id, name, arguments: input })), text: textOf(await ask()) };
  },

  async structured(model, prompt) {
    const output_config = { format: zodOutputFormat(Plan) };
    const answer = await client().messages.parse({ model, max_tokens, messages: user(prompt), output_config });
    return answer.parsed_output;
  },

  async images(model, prompt, picture) {
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: picture } };
    const content = [{ type: "text", text: prompt }, image];
    return textOf(await client().messages.create({ model, max_tokens, messages: user(content) }));
  },
};

await run("@anthropic-ai/sdk", { messages });
