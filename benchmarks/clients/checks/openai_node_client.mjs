// OpenAI's client for Node: streams, its helpers, tools, Responses, and what it is told of a mistake.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.OPENAI_BASE_URL, apiKey: "none", maxRetries: 0 });
const model = "psychechat";
const hello = [{ role: "user", content: "I could not sleep." }];
const crisis = [{ role: "user", content: "I want to die." }];
const help = /local emergency number/;
const tools = [{ type: "function", function: { name: "now", parameters: { type: "object", properties: {} } } }];

test("plain and streamed are the same reply", async () => {
  const whole = await client.chat.completions.create({ model, messages: hello });
  const stream = client.chat.completions.stream({ model, messages: hello });
  assert.equal(await stream.finalContent(), whole.choices[0].message.content);
  assert.ok(whole.choices[0].message.content);
});

test("a stream that is left does no harm", async () => {
  const stream = await client.chat.completions.create({ model, messages: hello, stream: true });
  for await (const _ of stream) break;
  assert.ok((await client.chat.completions.create({ model, messages: hello })).choices[0].message.content);
});

for (const more of [{ tools }, { max_tokens: 3 }, { verbosity: "medium" }, { top_k: 20 }, { store: true }]) {
  test(`${Object.keys(more)} is no error, nor in a crisis`, async () => {
    const plain = await client.chat.completions.create({ model, messages: hello, ...more });
    assert.ok(plain.choices[0].message.content);
    const reply = await client.chat.completions.create({ model, messages: crisis, ...more });
    assert.match(reply.choices[0].message.content, help);
  });
}

test("its runner of tools runs none, and has the reply", async () => {
  const runner = client.chat.completions.runTools({
    model,
    messages: crisis,
    tools: [{ type: "function", function: { ...tools[0].function, function: () => assert.fail(), parse: JSON.parse } }],
  });
  assert.match(await runner.finalContent(), help);
});

test("by responses", async () => {
  assert.match((await client.responses.create({ model, input: "I want to die." })).output_text, help);
  let text = "";
  for await (const event of await client.responses.create({ model, input: "I want to die.", stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  assert.match(text, help);
});

test("mistakes have their classes", async () => {
  await assert.rejects(client.chat.completions.create({ model: "gpt-none", messages: hello }), OpenAI.NotFoundError);
  const object = { model, messages: hello, response_format: { type: "json_object" } };
  await assert.rejects(client.chat.completions.create(object), OpenAI.BadRequestError);
});
