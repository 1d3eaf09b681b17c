// A conversation as a file, and back: export, and what a replay reads.

const FORMAT = "psychechat.conversation";
const MOST_BYTES = 8_000_000;
const MOST_TURNS = 256;

/** What is exported: OpenAI's messages, each reply with what was seen in it. */
export function exported(talk) {
  const messages = [];
  for (const turn of talk.turns) {
    messages.push({ role: "user", content: turn.seeker, at: turn.at });
    if (turn.text)
      messages.push({
        role: "assistant",
        content: turn.text,
        model: turn.model,
        status: turn.status,
        seconds: round(turn.took),
        ...(turn.reasoning && { reasoning_content: turn.reasoning }),
        ...(turn.fingerprint && { system_fingerprint: turn.fingerprint }),
        ...(turn.usage && { usage: turn.usage }),
        ...(turn.seen && { psychechat: turn.seen }),
      });
  }
  return {
    format: FORMAT,
    version: 1,
    exported_at: new Date().toISOString(),
    model: talk.latest?.model ?? talk.model,
    messages,
  };
}

const round = (value) => (value == null ? null : Math.round(value * 1000) / 1000);

export function save(value) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }));
  link.download = `psychechat-${value.exported_at.slice(0, 16).replace(/[T:]/g, "-")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Raises an Error whose message is the name of a word for it: `badFile` or `bigFile`. */
export async function read(file) {
  if (file.size > MOST_BYTES) throw new Error("bigFile");
  const { messages, model } = parsed(await file.text());
  const lines = [];
  let open = null;
  for (const message of messages) {
    if (typeof message !== "object" || message === null) throw new Error("badFile");
    const content = words(message.content);
    if (message.role === "user" && content) {
      open = { seeker: content, then: null };
      lines.push(open);
    } else if (message.role === "assistant" && open) {
      open.then = isSeen(message.psychechat) ? message.psychechat : null;
    }
  }
  if (!lines.length) throw new Error("badFile");
  if (lines.length > MOST_TURNS) throw new Error("bigFile");
  return { lines, model: typeof model === "string" ? model : null };
}

/** A turn of what `psychechat chat` saves. */
const messagesOf = (turn) => [
  { role: "user", content: turn?.user },
  { role: "assistant", content: turn?.assistant, psychechat: turn?.psychechat },
];

/** An export, what `psychechat chat` saves, OpenAI's request, a list of messages, or a message or such a list a line. */
function parsed(text) {
  try {
    const whole = JSON.parse(text);
    if (Array.isArray(whole)) return { messages: whole };
    if (Array.isArray(whole?.messages)) return whole;
    if (Array.isArray(whole?.turns)) return { model: whole.model, messages: whole.turns.flatMap(messagesOf) };
    if (whole?.role) return { messages: [whole] };
  } catch {
    try {
      const lines = text
        .split(/\r?\n/)
        .filter((line) => line.trim())
        .map((line) => JSON.parse(line));
      return { messages: lines.flatMap((line) => (Array.isArray(line?.messages) ? line.messages : [line])) };
    } catch {
      // said below
    }
  }
  throw new Error("badFile");
}

function words(content) {
  if (typeof content === "string") return content.trim() ? content : "";
  if (!Array.isArray(content)) return "";
  return content.map((part) => (typeof part?.text === "string" ? part.text : "")).join("");
}

const isSeen = (seen) =>
  typeof seen === "object" && seen !== null && typeof seen.risk === "object" && seen.risk !== null;
