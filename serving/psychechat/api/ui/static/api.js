// The server's API: requests, the reader of its event streams, and what can go wrong. Paths are relative, so that the
// page works behind a prefix.

const KEY = "psychechat.key";

/** The API key, for this tab alone; for this page alone where the browser keeps nothing. */
export const key = {
  value: tab((storage) => storage.getItem(KEY)) ?? "",
  get() {
    return this.value;
  },
  set(value) {
    this.value = value;
    tab((storage) => (value ? storage.setItem(KEY, value) : storage.removeItem(KEY)));
  },
};

function tab(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}

/** An answer that is an error, or an error event of a stream. */
export class Refused extends Error {
  constructor(status, error, retryAfter = null) {
    super(error?.message ?? "");
    this.status = status;
    this.code = error?.code ?? null;
    this.type = error?.type ?? null;
    this.retryAfter = retryAfter;
  }
}

/** No answer at all, or a stream that ends before it is over. */
export class Unreachable extends Error {}

async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, cache: "no-store", body: body && JSON.stringify(body) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable();
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  if (!told?.error) throw new Unreachable(); // not this API's: a proxy that finds no server
  throw new Refused(answer.status, told.error, Number(answer.headers.get("retry-after")) || null);
}

export const models = async () => (await (await ask("v1/models")).json()).data.map((model) => model.id);

export const forget = async (session) =>
  (await ask(`v1/sessions/${encodeURIComponent(session)}`, { method: "DELETE" })).json();

/** `{status, engines}` of /ready, or null where nobody answers. */
export async function readiness() {
  try {
    const answer = await fetch("ready", { cache: "no-store" });
    return (await answer.json()) ?? null;
  } catch {
    return null;
  }
}

/** The body of a turn's request. */
export const turnBody = ({ model, messages, session, locale }) => ({
  model,
  messages,
  stream: true,
  stream_options: { include_usage: true },
  metadata: { session_id: session, ...(locale ? { locale } : {}) },
});

/**
 * One turn. Yields `{content}`, `{reasoning}`, `{finish}`, `{seen}` and `{usage}` as they come. Throws Refused,
 * Unreachable, or the signal's AbortError.
 */
export async function* turn(body, signal) {
  const answer = await ask("v1/chat/completions", { method: "POST", body, signal });
  yield { requestId: answer.headers.get("x-request-id") };
  for await (const data of events(answer.body, signal)) {
    if (data === "[DONE]") return;
    const chunk = parsed(data);
    if (chunk.error) throw new Refused(answer.status, chunk.error);
    const choice = chunk.choices?.[0];
    if (chunk.model) yield { model: chunk.model, fingerprint: chunk.system_fingerprint };
    if (choice?.delta?.reasoning_content) yield { reasoning: choice.delta.reasoning_content };
    if (choice?.delta?.content) yield { content: choice.delta.content };
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
    if (chunk.psychechat) yield { seen: chunk.psychechat };
    if (chunk.usage) yield { usage: chunk.usage };
  }
  throw new Unreachable(); // no [DONE]: what came is not the whole
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new Unreachable(); // whoever says that is not this API
  }
}

/** The data of server-sent events, comments left out. https://html.spec.whatwg.org/multipage/server-sent-events.html */
export async function* events(stream, signal) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      for (const part of parts) {
        const lines = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
      }
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable();
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The same request for a terminal. The key is named, not shown. */
export function curl(body) {
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  const authorization = key.get() ? ` \\\n  -H "authorization: Bearer $PSYCHECHAT_KEY"` : "";
  const url = new URL("v1/chat/completions", document.baseURI);
  return `curl -N ${url} \\\n  -H 'content-type: application/json'${authorization} \\\n  -d '${quoted}'`;
}
