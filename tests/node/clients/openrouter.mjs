// The `@openrouter/sdk` package, which checks all that it gets: one JSON line for each of the things that it does.

import { createHash, randomUUID } from "node:crypto";

import { OpenRouter } from "@openrouter/sdk";

const scene = JSON.parse(process.env.SCENE);
const sdk = (apiKey) =>
  new OpenRouter({ apiKey, serverURL: `${scene.url}/api/v1`, timeoutMs: 20_000, retryConfig: { strategy: "none" } });
const asker = sdk(scene.key);
const manager = sdk(scene.management);
const messages = [{ role: "user", content: "one two three" }];

const expect = (what, found, wanted) => {
  const [left, right] = [found, wanted].map((each) => JSON.stringify(each));
  if (left !== right) throw new Error(`${what}: ${left} and not ${right}`);
};
const whole = async (first) => {
  const found = [];
  for await (const page of first) {
    found.push(...page.result.data);
    if (!page.result.data.length) break;
  }
  return found;
};
const status = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error.statusCode;
  }
  return "done";
};
const chat = (client, more = {}) => client.chat.send({ chatRequest: { model: "echo/echo", messages, ...more } });
const key = async (more = {}) =>
  manager.apiKeys.create({ requestBody: { name: `a key ${randomUUID()}`, ...more } });

const DONE = {
  models: async () => {
    const all = await whole(await asker.models.list({ limit: 40 }));
    expect("count", (await asker.models.count()).data.count, all.length);
    const one = await asker.models.get({ author: "echo", slug: "echo" });
    expect("model", one.data.id, "echo/echo");
    expect("nothing", await status(asker.models.get({ author: "nobody", slug: "nothing" })), 404);
  },

  "endpoints, zdr, providers": async () => {
    const { data } = await asker.endpoints.list({ author: "echo", slug: "echo" });
    expect("endpoints", data.endpoints.map((each) => each.providerName), ["echo"]);
    await asker.endpoints.listZdrEndpoints();
    const providers = (await asker.providers.list()).data.map((each) => each.slug);
    if (!providers.includes("echo")) throw new Error(`${providers}`);
  },

  keys: async () => {
    const made = await key({ limit: 5, limitReset: "weekly", expiresAt: new Date("2999-01-02T00:00:00Z") });
    const { hash } = made.data;
    expect("limit", [made.data.limit, made.data.limitReset], [5, "weekly"]);
    const listed = (await manager.apiKeys.list()).data.map((each) => each.hash);
    if (!listed.includes(hash)) throw new Error(`not on the list: ${hash}`);
    expect("current", (await sdk(made.key).apiKeys.getCurrentKeyMetadata()).data.limit, 5);
    const changed = await manager.apiKeys.update({ hash, requestBody: { limit: null, disabled: true } });
    expect("changed", [changed.data.limit, changed.data.disabled], [null, true]);
    expect("disabled", await status(chat(sdk(made.key))), 401);
    expect("got", (await manager.apiKeys.get({ hash })).data.disabled, true);
    expect("deleted", (await manager.apiKeys.delete({ hash })).deleted, true);
    expect("gone", await status(manager.apiKeys.get({ hash })), 404);
    expect("an inference key", await status(asker.apiKeys.list()), 403);
  },

  "chat, generation, credits, activity": async () => {
    const answer = await chat(asker);
    expect("text", answer.choices[0].message.content, "one two three");
    const { data } = await asker.generations.getGeneration({ id: answer.id });
    expect("generation", [data.id, data.model, data.tokensPrompt], [answer.id, "echo/echo", answer.usage.promptTokens]);
    const credits = (await manager.credits.getCredits()).data;
    expect("credits", typeof credits.totalUsage, "number");
    const rows = (await manager.analytics.getUserActivity()).data;
    if (!rows.some((each) => each.model === "echo/echo" && each.requests >= 1)) throw new Error(JSON.stringify(rows));
  },

  "streamed chat": async () => {
    const words = [];
    for await (const chunk of await chat(asker, { stream: true })) words.push(chunk.choices[0]?.delta.content ?? "");
    expect("text", words.join(""), "one two three");
  },

  responses: async () => {
    const request = { model: "echo/echo", input: "one two three" };
    const answer = await asker.responses.send({ responsesRequest: request });
    expect("text", answer.outputText ?? answer.output[0].content[0].text, "one two three");
    const words = [];
    for await (const event of await asker.responses.send({ responsesRequest: { ...request, stream: true } })) {
      if (event.type === "response.output_text.delta") words.push(event.delta);
    }
    expect("streamed", words.join(""), "one two three");
  },

  embeddings: async () => {
    const { data } = await asker.embeddings.generate({ requestBody: { model: "echo/echo", input: ["one", "two"] } });
    expect("vectors", data.map((each) => each.embedding.every(Number.isFinite)), [true, true]);
  },

  guardrails: async () => {
    const rails = manager.guardrails;
    const rail = { name: `rail ${randomUUID()}`, limitUsd: 5, resetInterval: "monthly", allowedProviders: ["echo"] };
    const { id } = (await rails.create({ createGuardrailRequest: rail })).data;
    const listed = (await whole(await rails.list())).map((each) => each.id);
    if (!listed.includes(id)) throw new Error(`not on the list: ${id}`);
    const changed = await rails.update({ id, updateGuardrailRequest: { description: "ours" } });
    expect("changed", [changed.data.description, changed.data.limitUsd], ["ours", 5]);
    const { hash } = (await key()).data;
    const some = { keyHashes: [hash] };
    expect("assigned", (await rails.bulkAssignKeys({ id, bulkAssignKeysRequest: some })).assignedCount, 1);
    const assigned = await whole(await rails.listGuardrailKeyAssignments({ id }));
    expect("assignments", assigned.map((each) => each.keyHash), [hash]);
    expect("unassigned", (await rails.bulkUnassignKeys({ id, bulkUnassignKeysRequest: some })).unassignedCount, 1);
    await rails.delete({ id });
    expect("gone", await status(rails.get({ id })), 404);
  },

  "a code and its exchange": async () => {
    const codeVerifier = `${randomUUID()}${randomUUID()}`;
    const codeChallenge = createHash("sha256").update(codeVerifier).digest("base64url");
    const app = { callbackUrl: "https://app.example/back", codeChallenge, codeChallengeMethod: "S256", limit: 2 };
    const { id: code } = (await manager.oAuth.createAuthCode({ requestBody: app })).data;
    const exchange = (verifier) =>
      sdk().oAuth.exchangeAuthCodeForAPIKey({
        requestBody: { code, codeVerifier: verifier, codeChallengeMethod: "S256" },
      });
    expect("wrong", await status(exchange("wrong")), 403);
    const { key: made } = await exchange(codeVerifier);
    expect("limit", (await sdk(made).apiKeys.getCurrentKeyMetadata()).data.limit, 2);
  },
};

for (const [name, does] of Object.entries(DONE)) {
  let outcome = { outcome: "yes" };
  try {
    await does();
  } catch (error) {
    const cause = error.cause ? ` (${error.cause.message ?? error.cause})` : "";
    outcome = { outcome: "no", detail: `${error.statusCode ?? ""} ${error.message} ${error.body ?? ""}${cause}`.slice(0, 1500) };
  }
  console.log(JSON.stringify({ name, ...outcome }));
}
