// A conversation without its looks: its turns, what is under way, and what becomes of it.

import { forget, Refused, turn as ask, turnBody, Unreachable } from "./api.js";

const WITH_REPLY = new Set(["done", "stopped", "broken"]);

/** A name of 128 random bits, for memory that is found again also after a reply that was stopped. */
const newSession = () =>
  `playground-${[...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;

export class Talk {
  /** `changed`: called after each change. `failed`: called with the error of a turn that got no answer. */
  constructor(changed, failed) {
    this.changed = changed;
    this.failed = failed;
    this.model = "psychechat";
    this.locale = "";
    this.count = 0;
    this.renew();
  }

  /** Another conversation, with nothing of the one before. */
  renew() {
    this.stop();
    this.turns = [];
    this.session = newSession();
    /** What the turns are remembered as: the server may have found another name than ours. */
    this.named = new Set();
    this.replay = null;
    this.changed();
  }

  set(fields) {
    Object.assign(this, fields);
    this.changed();
  }

  get latest() {
    return this.turns.at(-1) ?? null;
  }

  get busy() {
    return this.controller != null;
  }

  /** OpenAI's messages up to a turn's own, without its reply. */
  messages(upTo) {
    const said = [];
    for (const turn of this.turns) {
      said.push({ role: "user", content: turn.seeker });
      if (turn === upTo) break;
      if (WITH_REPLY.has(turn.status) && turn.text) said.push({ role: "assistant", content: turn.text });
    }
    return said;
  }

  body(turn) {
    return turnBody({ model: turn.model, messages: this.messages(turn), session: this.session, locale: this.locale });
  }

  async send(text, then = null) {
    const turn = { id: ++this.count, seeker: text, then };
    this.turns.push(turn);
    await this.answer(turn);
    return turn;
  }

  async again() {
    if (!this.busy && this.latest) await this.answer(this.latest);
  }

  /** The newest turn's words, which leave the conversation. */
  takeBack() {
    const { seeker } = this.turns.pop();
    this.changed();
    return seeker;
  }

  stop() {
    this.controller?.abort();
    this.controller = null;
    if (this.replay) this.replay.stopped = true;
  }

  async answer(turn) {
    const controller = new AbortController();
    const mine = () => this.controller === controller;
    this.controller = controller;
    Object.assign(turn, {
      at: new Date().toISOString(),
      model: this.model,
      status: "waiting",
      text: "",
      reasoning: "",
      error: null,
      seen: null,
      usage: null,
      finish: null,
      requestId: null,
      fingerprint: null,
      firstWords: null,
    });
    const began = performance.now();
    const since = () => (performance.now() - began) / 1000;
    turn.began = began;
    this.changed();
    try {
      for await (const came of ask(this.body(turn), controller.signal)) {
        if (came.content || came.reasoning) {
          turn.status = "writing";
          turn.firstWords ??= since();
        }
        turn.text += came.content ?? "";
        turn.reasoning += came.reasoning ?? "";
        for (const field of ["seen", "usage", "finish", "requestId", "fingerprint"])
          turn[field] = came[field] ?? turn[field];
        this.changed();
      }
      turn.status = "done";
      this.named.add(turn.seen?.session ?? this.session);
    } catch (error) {
      if (controller.signal.aborted) {
        turn.status = "stopped";
      } else {
        turn.status = turn.text ? "broken" : "failed";
        turn.error = described(error);
        this.failed(turn.error);
      }
    } finally {
      turn.took = since();
      if (mine()) this.controller = null;
      this.changed();
    }
  }

  /** Deletes what the server remembers. Raises what the API raises. */
  async forget() {
    for (const session of new Set([this.session, ...this.named])) {
      await forget(session);
      this.named.delete(session);
    }
    this.session = newSession();
    this.changed();
  }

  /** Sends a seeker's messages again, one by one. `lines`: `{seeker, then}` each. */
  async replayAll(lines, model) {
    this.renew();
    if (model) this.model = model;
    const replay = { all: lines.length, done: 0, stopped: false, over: false };
    this.replay = replay;
    for (const { seeker, then } of lines) {
      const turn = await this.send(seeker, then ?? {});
      if (turn.status !== "done" || replay.stopped) break;
      replay.done += 1;
    }
    replay.over = true;
    this.changed();
  }
}

function described(error) {
  if (error instanceof Refused)
    return {
      kind: "refused",
      status: error.status,
      code: error.code,
      retryAfter: error.retryAfter,
      message: error.message,
    };
  if (error instanceof Unreachable) return { kind: "unreachable", status: null, message: "" };
  throw error;
}
