// Vercel's AI SDK, on Node 20 or later. @ai-sdk/openai asks for /v1/responses, @ai-sdk/openai-compatible for
// /v1/chat/completions.
//
//     npm ci
//     node main.mjs                // asks http://127.0.0.1:8000/v1, or OPENAI_BASE_URL

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const baseURL = process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8000/v1";
const apiKey = process.env.OPENAI_API_KEY ?? "none";
const counselor = createOpenAICompatible({ name: "psychechat", baseURL, apiKey })("psychechat");
const byResponses = createOpenAI({ baseURL, apiKey })("psychechat");
const hello = "I moved to a new city and I miss my old friends.";

console.log("-- plain");
console.log((await generateText({ model: counselor, prompt: hello })).text);

console.log("-- stream");
for await (const piece of streamText({ model: counselor, prompt: hello }).textStream) process.stdout.write(piece);
console.log();

console.log("-- crisis");
const reply = await generateText({ model: byResponses, prompt: "I want to die." });
console.log(reply.text);

console.log("-- resources"); // the answer as it came
for (const resource of reply.response.body.psychechat.resources) console.log(`${resource.name}: ${resource.contact}`);
