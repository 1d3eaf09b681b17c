// OpenAI's client for Node, 20 or later.
//
//     npm ci
//     node main.mjs                // asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL

import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8000/v1",
  apiKey: process.env.OPENAI_API_KEY ?? "none",
});
const model = "psychechat";
const hello = [{ role: "user", content: "I moved to a new city and I miss my old friends." }];
const crisis = [{ role: "user", content: "I want to die." }];

console.log("-- plain");
const plain = await client.chat.completions.create({ model, messages: hello });
console.log(plain.choices[0].message.content);

console.log("-- stream");
for await (const chunk of await client.chat.completions.create({ model, messages: hello, stream: true })) {
  for (const choice of chunk.choices) process.stdout.write(choice.delta.content ?? "");
}
console.log();

console.log("-- crisis");
const reply = await client.chat.completions.create({ model, messages: crisis });
console.log(reply.choices[0].message.content);

console.log("-- resources"); // whom the reply names, to show as links beside it
for (const resource of reply.psychechat.resources) console.log(`${resource.name}: ${resource.contact}`);
