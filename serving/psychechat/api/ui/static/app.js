// The page: what is shared by its two sides, its bar, its banner and its dialogs.

import { html, render, useCallback, useEffect, useReducer, useRef, useState } from "./dom.js";
import { key, models as askModels, readiness, Refused } from "./api.js";
import { Conversation } from "./conversation.js";
import { Seen } from "./seen.js";
import { exported, read, save } from "./session.js";
import { Talk } from "./talk.js";
import { WORDS } from "./words.js";

const MODELS = ["psychechat", "psychechat-llm", "psychechat-agent"];
const PLACES = [
  "en-US",
  "en-GB",
  "en-CA",
  "en-AU",
  "en-IE",
  "en-IN",
  "en-NZ",
  "zh-CN",
  "zh-TW",
  "zh-HK",
  "de-DE",
  "es-ES",
  "es-MX",
  "fr-FR",
  "ja-JP",
];
const THEMES = ["auto", "light", "dark"];
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;

function choose(name, value) {
  try {
    if (value === "auto") localStorage.removeItem(`psychechat.${name}`);
    else localStorage.setItem(`psychechat.${name}`, value);
  } catch {
    // a browser that keeps nothing
  }
}

/** Whether the server answers: asked once, and again while it does not. `state`: ok, starting, away or back. */
function useServer() {
  const [server, setServer] = useState({ state: "ok", down: [] });
  const timer = useRef(null);
  const watch = useCallback((pause = FIRST_PAUSE, wasAway = false) => {
    clearTimeout(timer.current);
    timer.current = null;
    readiness().then((told) => {
      const state = told === null ? "away" : told.status === "ready" ? (wasAway ? "back" : "ok") : "starting";
      const down = Object.entries(told?.engines ?? {})
        .filter(([, up]) => !up)
        .map(([name]) => name);
      setServer({ state, down });
      if (state === "away" || state === "starting")
        timer.current = setTimeout(() => watch(Math.min(pause * 1.6, LONGEST_PAUSE), true), pause);
    });
  }, []);
  useEffect(() => watch(), []);
  const dismiss = () => setServer({ state: "ok", down: [] });
  return [server, watch, dismiss];
}

function App() {
  const [, redraw] = useReducer((count) => count + 1, 0);
  const [language, setLanguage] = useState(document.documentElement.lang);
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "auto");
  const [models, setModels] = useState(MODELS);
  const [draft, setDraft] = useState("");
  const [selected, setSelected] = useState(null);
  const [hovered, setHovered] = useState(null);
  const [side, setSide] = useState("talk");
  const [told, setTold] = useState("");
  const [fileError, setFileError] = useState("");
  const [hasKey, setHasKey] = useState(Boolean(key.get()));
  const [server, watch, dismiss] = useServer();
  const [keyDialog, forgetDialog, file] = [useRef(null), useRef(null), useRef(null)];
  const w = WORDS[language];

  const needsKey = (error) => {
    if (error.status === 401) keyDialog.current.showModal();
    return error.status === 401;
  };
  const talkRef = useRef(null);
  talkRef.current ??= new Talk(inFrames(redraw), (error) => {
    if (!needsKey(error) && (error.kind === "unreachable" || error.status === 503)) watch(FIRST_PAUSE, true);
  });
  const talk = talkRef.current;

  const loadModels = () =>
    askModels().then(setModels, (error) => {
      if (error instanceof Refused) needsKey(error);
    });
  useEffect(() => {
    loadModels();
  }, []);
  useEffect(() => {
    if (server.state === "back") loadModels();
  }, [server.state]);
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh" : "en";
    document.title = `PsychēChat ${w.tagline}`;
  }, [language]);
  useEffect(() => {
    const onKey = (event) => {
      if (event.key === "Escape" && !event.isComposing && talk.busy && !document.querySelector("dialog[open]"))
        talk.stop();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);

  const shown = [hovered, selected].find((turn) => turn && talk.turns.includes(turn)) ?? talk.latest;
  const select = (turn) => {
    setSelected(turn === talk.latest ? null : turn);
    setHovered(null);
    setSide("seen");
  };
  const send = (text) => {
    setSelected(null);
    talk.send(text);
  };
  const renew = () => {
    talk.renew();
    setSelected(null);
    setTold("");
    setFileError("");
    setSide("talk");
  };
  const replay = async ({ currentTarget }) => {
    const [chosen] = currentTarget.files;
    currentTarget.value = "";
    if (!chosen) return;
    try {
      const { lines, model } = await read(chosen);
      renew();
      talk.replayAll(lines, models.includes(model) ? model : null);
    } catch (error) {
      if (!(error.message in w)) throw error;
      setFileError(error.message);
    }
  };
  const forget = async () => {
    forgetDialog.current.close();
    try {
      await talk.forget();
      setTold("forgotten");
    } catch (error) {
      if (!needsKey(error)) setTold("notForgotten");
    }
  };
  const useKey = (value) => {
    key.set(value);
    setHasKey(Boolean(value));
    keyDialog.current.close();
    if (!value) return;
    loadModels();
    if (talk.latest?.error?.status === 401) talk.again();
  };
  const nextTheme = () => {
    const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    setTheme(next);
    choose("theme", next);
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
  };
  const otherLanguage = () => {
    const next = language === "zh" ? "en" : "zh";
    setLanguage(next);
    choose("language", next);
  };
  const names = new Intl.DisplayNames([language], { type: "region" });
  const places = PLACES.map((locale) => [locale, names.of(locale.slice(3))]);
  const shared = { talk, w, shown, onSelect: select, onHover: setHovered };

  return html`
    <a class="skip" href="#message">${w.skip}</a>
    <header class="bar">
      <h1 class="mark">PsychēChat <span class="quiet">${w.tagline}</span></h1>
      <span class="grow"></span>
      <${Flat} title=${w.newConversationLong} onClick=${renew}>${w.newConversation}<//>
      <${Flat} title=${w.exportLong} disabled=${talk.turns.length === 0} onClick=${() => save(exported(talk))}>${w.export}<//>
      <${Flat} title=${w.replayLong} disabled=${talk.busy} onClick=${() => file.current.click()}>${w.replay}<//>
      <input
        ref=${file}
        class="unseen"
        type="file"
        accept=".json,.jsonl,application/json"
        tabindex="-1"
        aria-label=${w.replayLong}
        onChange=${replay}
      />
      ${hasKey && html`<${Flat} onClick=${() => keyDialog.current.showModal()}>${w.keyTitle}<//>`}
      <span class="divider"></span>
      <${Flat} lang=${language === "zh" ? "en" : "zh"} title=${w.otherLanguageLong} onClick=${otherLanguage}>
        ${w.otherLanguage}
      <//>
      <${Flat} class="flat icon" aria-label=${w.theme[theme]} title=${w.theme[theme]} onClick=${nextTheme}>
        <${ThemeIcon} theme=${theme} />
      <//>
    </header>
    <${Banner} ...${{ talk, w, server, dismiss, fileError, closeFile: () => setFileError("") }} />
    <nav class="tabs" aria-label=${w.sides}>
      ${["talk", "seen"].map(
        (name) =>
          html`<button type="button" aria-pressed=${side === name} onClick=${() => setSide(name)}>
            ${name === "talk" ? w.conversation : w.seen}
          </button>`,
      )}
    </nav>
    <main class="columns" data-side=${side}>
      <${Conversation} ...${shared} ...${{ models, places, draft, setDraft, onSend: send }} />
      <${Seen} ...${shared} ...${{ told: told && w[told], onForget: () => forgetDialog.current.showModal() }} />
    </main>
    <${KeyDialog} ...${{ dialog: keyDialog, w, hasKey, useKey }} />
    <dialog ref=${forgetDialog} aria-labelledby="forget-title">
      <h2 id="forget-title">${w.forgetTitle}</h2>
      <p>${w.forgetWhy}</p>
      <div class="row">
        <button type="button" class="small" onClick=${() => forgetDialog.current.close()}>${w.cancel}</button>
        <button type="button" class="primary" onClick=${forget}>${w.forgetDo}</button>
      </div>
    </dialog>
  `;
}

const Flat = (options) => html`<button type="button" class="flat" ...${options} />`;

function KeyDialog({ dialog, w, hasKey, useKey }) {
  const field = useRef(null);
  const submit = (event) => {
    event.preventDefault();
    useKey(field.current.value.trim());
    field.current.value = "";
  };
  return html`
    <dialog ref=${dialog} aria-labelledby="key-title">
      <form onSubmit=${submit}>
        <h2 id="key-title">${w.keyTitle}</h2>
        <p>${w.keyWhy}</p>
        <label for="key">${w.keyField}</label>
        <input id="key" ref=${field} type="password" autocomplete="off" spellcheck=${false} required />
        <div class="row">
          ${hasKey && html`<button type="button" class="small" onClick=${() => useKey("")}>${w.keyDrop}</button>`}
          <span class="grow"></span>
          <button type="button" class="small" onClick=${() => dialog.current.close()}>${w.cancel}</button>
          <button type="submit" class="primary">${w.keyUse}</button>
        </div>
      </form>
    </dialog>
  `;
}

function Banner({ talk, w, server, dismiss, fileError, closeFile }) {
  const { replay } = talk;
  const line = fileError
    ? { text: w[fileError], close: closeFile }
    : server.state === "away"
      ? { text: w.away }
      : server.state === "starting"
        ? { text: w.starting(server.down.join(", ")) }
        : server.state === "back"
          ? { text: w.back, close: dismiss }
          : replay && !replay.over
            ? { text: w.replaying(replay.done + 1, replay.all), stop: () => talk.stop() }
            : replay && !replay.dismissed
              ? {
                  text: replay.done < replay.all ? w.replayStopped(replay.done, replay.all) : w.replayDone(replay.done),
                  close: () => talk.set({ replay: { ...replay, dismissed: true } }),
                }
              : null;
  return html`
    <div class="banner" role="status">
      ${
        line &&
        html`<p>${line.text}</p>
        ${line.stop && html`<button type="button" class="small" onClick=${line.stop}>${w.replayStop}</button>`}
        ${line.close && html`<button type="button" class="small" onClick=${line.close}>${w.dismiss}</button>`}`
      }
    </div>
  `;
}

function ThemeIcon({ theme }) {
  const half = {
    auto: "M8 2.500a5.500 5.500 0 0 1 0 11z",
    light: "",
    dark: "M8 2.500a5.500 5.500 0 0 1 0 11a5.500 5.500 0 0 1 0-11z",
  }[theme];
  return html`<svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
    <circle cx="8" cy="8" r="5.500" fill="none" stroke="currentColor" stroke-width="1.500" /><path d=${half} fill="currentColor" />
  </svg>`;
}

/** Many changes in one frame are drawn once; also in a tab that nobody looks at, which has no frames. */
function inFrames(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    const once = () => {
      if (asked) draw();
      asked = false;
    };
    if (document.hidden) setTimeout(once, 50);
    else requestAnimationFrame(once);
  };
}

document.getElementById("app").replaceChildren();
render(html`<${App} />`, document.getElementById("app"));
