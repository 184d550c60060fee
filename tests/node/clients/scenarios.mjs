// What every client is put through: the scenarios, and what must come of them whichever client asks.
//
// A client hands `run` its surfaces, each an object of functions that do one thing with the SDK and return it in plain words:
//
//   plain(model, prompt, {key, signal})   -> {text, input, output}                      tokens as the SDK tells them
//   stream(model, prompt, {signal, heard}) -> {words, input, output}                    `heard(word)` after each
//   tools(model, prompt, streaming)       -> {calls: [{id, name, arguments}], text}     text: the answer to the tools' results
//   structured(model, prompt)             -> the object
//   images(model, prompt, picture)        -> text                                       picture: base64 of a PNG
//   embeddings(model, texts)              -> vectors
//   problem(error)                        -> {status, message, retryAfter}              of what the SDK throws
//   complaint                                what it says when a stream breaks, where that is not what the router said
//
// What a client does not have, it leaves out. One JSON line for each scenario goes to standard output.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

// who is asked for what, and what the upstreams say: see scene() in stage.py
export const scene = JSON.parse(process.env.SCENE);
// the prompt names both tools, which is what echo goes by
export const PROMPT = "Hello, Ås! 🌍 get_weather and now";
const SCENARIO_MS = 10_000;
const LEFT_MS = 1_000;

export const CITY = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const NOTHING = { type: "object", properties: {}, additionalProperties: false };
// the tools of all scenarios: name, description, schema of the arguments
export const TOOLS = [
  { name: "get_weather", description: "The weather of a city.", schema: CITY },
  { name: "now", description: "What time it is.", schema: NOTHING },
];
// model and prompt, with names that nobody has asked for yet
let asked = Date.now();
const fresh = (place) => place.map((each) => each.replace("*", () => (asked += 1)));
// what a tool says; the number is that of the call
export const result = (number) => `result ${number}`;

const FEATURES = {
  plain: async (surface, family) => {
    const { text, input, output } = await surface.plain(family.model, "Hello, Ås! 🌍", {});
    expect("text", text, family.text);
    expectTokens(family, input, output);
  },

  stream: async (surface, family) => {
    const { words, input, output } = await surface.stream(family.model, "Hello, Ås! 🌍", { heard: () => {} });
    if (family.words) expect("words", words, family.words);
    else expect("text", words.join(""), family.text);
    if (words.length < 2) throw new Error(`all at once: ${words}`);
    expectTokens(family, input, output);
  },

  tools: (surface, family) => both(surface, family, false),
  "streamed tools": (surface, family) => both(surface, family, true),

  "structured output": async (surface, family) => {
    const plan = await surface.structured(family.model, "Make a plan.");
    if (family.plan) return expect("plan", plan, family.plan);
    if (!Array.isArray(plan.steps) || typeof plan.sure !== "boolean") throw new Error(JSON.stringify(plan));
  },

  // the upstreams tell how many pictures they were shown, and whether these were whole
  images: async (surface, family) => {
    const text = await surface.images(family.model, "What is this?", scene.picture);
    if (!text.includes(family.seen)) throw new Error(text);
  },

  embeddings: async (surface, family) => {
    const vectors = await surface.embeddings(family.embedding_model, ["Hello", "Ås"]);
    expect("count", vectors.length, 2);
    if (family.vector) expect("vector", vectors[1], family.vector);
    if (!vectors.every((vector) => vector.every(Number.isFinite))) throw new Error(JSON.stringify(vectors));
  },

  "wrong key": (surface, family) =>
    refused(surface, () => surface.plain(family.model, "Hello", { key: `${scene.key}x` }), { status: 401, says: "key" }),

  "unknown model": (surface, family) =>
    refused(surface, () => surface.plain(...fresh(family.missing), {}), { status: 404, says: "model" }),

  "bad request": (surface, family) =>
    refused(surface, () => surface.plain(...fresh(family.refused), {}), { status: 400, says: family.refusal }),

  "busy upstream": (surface, family) =>
    refused(surface, () => surface.plain(...fresh(family.busy), {}), { status: 429, retryAfter: family.retry_after }),

  // An error where a stream was wanted is no stream: the SDK must see the status all the same.
  "busy upstream, streamed": (surface, family) =>
    refused(surface, () => surface.stream(...fresh(family.busy), { heard: () => {} }), { status: 429 }),

  // Nobody may take what came before for a whole answer.
  "broken stream": async (surface, family) => {
    const words = [];
    let thrown;
    const heard = (word) => words.push(word);
    await surface.stream(...fresh(family.broken), { heard }).catch((error) => {
      thrown = error;
    });
    if (!thrown) throw new Error(`${words.join("")} was taken for a whole answer`);
    if (!words.length || !family.text.startsWith(words.join(""))) throw new Error(`words: ${words}`, { cause: thrown });
    const complaint = surface.complaint ?? family.complaint;
    if (!told(thrown).includes(complaint)) throw thrown;
  },

  // the upstream would go on for half a minute
  cancel: async (surface, family) => {
    const [model, prompt] = fresh(family.slow);
    const name = prompt.split(" ").at(-1);
    const controller = new AbortController();
    let words = 0;
    const heard = () => {
      words += 1;
      controller.abort();
    };
    await surface.stream(model, prompt, { signal: controller.signal, heard }).catch((error) => {
      if (!controller.signal.aborted) throw error;
    });
    const started = performance.now();
    if (words === 0) throw new Error("nothing was heard");
    while (!(await left(name))) {
      if (performance.now() - started > LEFT_MS) throw new Error("the upstream is still at it");
      await sleep(20);
    }
  },
};

// the function of a surface that a feature needs, where it is called otherwise
const NEEDS = {
  "streamed tools": "tools",
  "structured output": "structured",
  "wrong key": "plain",
  "unknown model": "plain",
  "bad request": "plain",
  "busy upstream": "plain",
  "busy upstream, streamed": "stream",
  "broken stream": "stream",
  cancel: "stream",
};

export async function run(packageName, surfaces) {
  const { version } = JSON.parse(readFileSync(new URL(`../node_modules/${packageName}/package.json`, import.meta.url)));
  for (const [name, surface] of Object.entries(surfaces)) {
    for (const family of scene.families) {
      for (const [feature, scenario] of Object.entries(FEATURES)) {
        // echo has no upstream that could notice
        if (feature === "cancel" && !family.slow) continue;
        const outcome = await tried(surface, family, feature, scenario);
        const line = { client: packageName, version, surface: name, family: family.slug, feature, ...outcome };
        process.stdout.write(`${JSON.stringify(line)}\n`);
      }
    }
  }
  // SDKs keep connections open
  process.exit(0);
}

async function tried(surface, family, feature, scenario) {
  if (!surface[NEEDS[feature] ?? feature]) return { outcome: "not in this client", detail: "" };
  try {
    await Promise.race([scenario(surface, family), tooLate()]);
    return { outcome: "yes", detail: "" };
  } catch (error) {
    return { outcome: "no", detail: said(surface, error) };
  }
}

const tooLate = () =>
  sleep(SCENARIO_MS, undefined, { ref: false }).then(() => {
    throw new Error("nothing came of it in time");
  });

function said(surface, error) {
  const { status, message } = problemOf(surface, error);
  return status ? `${status} ${message}` : `${error?.stack ?? error}`;
}

function problemOf(surface, error) {
  try {
    return surface.problem(error) ?? {};
  } catch {
    return {};
  }
}

async function both(surface, family, streaming) {
  const { calls, text } = await surface.tools(family.model, PROMPT, streaming);
  const names = family.calls.map((call) => call.name);
  expect(
    "names",
    calls.map((call) => call.name),
    names,
  );
  calls.forEach((call, number) => {
    const wanted = family.calls[number].arguments;
    if (wanted) expect("arguments", call.arguments, wanted);
    else if (call.name === "get_weather" && typeof call.arguments.city !== "string") throw new Error(call.arguments);
  });
  for (const number of names.keys()) {
    if (!text.includes(result(number))) throw new Error(`the answer to the results was ${text}`);
  }
}

async function refused(surface, ask, { status, says, retryAfter }) {
  let thrown;
  await ask().catch((error) => {
    thrown = error;
  });
  if (!thrown) throw new Error("it was answered");
  const problem = surface.problem(thrown);
  // undefined: it is none of the SDK's errors of HTTP
  if (problem?.status !== status) throw thrown;
  if (says && !problem.message.includes(says)) throw new Error(`the message was ${problem.message}`);
  if (retryAfter && problem.retryAfter !== undefined) expect("Retry-After", problem.retryAfter, retryAfter);
}

// what an error says, wherever it says it
const told = (error) => `${error?.message ?? JSON.stringify(error)} ${error?.cause ? told(error.cause) : ""}`;

const left = async (name) => (await fetch(`${scene.upstream}/left/${name}`)).json();

function expectTokens(family, input, output) {
  if (family.tokens) return expect("tokens", [input, output], family.tokens);
  if (!(input > 0 && output > 0)) throw new Error(`tokens: ${input}, ${output}`);
}

function expect(what, got, wanted) {
  const [one, other] = [got, wanted].map((value) => JSON.stringify(sorted(value)));
  if (one !== other) throw new Error(`${what}: ${one} instead of ${other}`);
}

// objects with their members in one order
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((name) => [name, sorted(value[name])]),
  );
}
