// The left side: what was said, and where one writes.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./dom.js";
import { links } from "./contacts.js";
import { decision, seconds } from "./words.js";

export function Conversation({ talk, w, models, places, draft, setDraft, onSend, onSelect, onHover, shown }) {
  const list = useRef(null);
  const stuck = useRef(true);
  const { latest } = talk;

  // Where there is little room, the page scrolls as a whole.
  const scroller = () =>
    getComputedStyle(list.current).overflowY === "visible" ? document.scrollingElement : list.current;
  const onScroll = () => {
    const it = scroller();
    stuck.current = it.scrollHeight - it.scrollTop - it.clientHeight < 80;
  };
  useEffect(() => {
    addEventListener("scroll", onScroll, { passive: true });
    return () => removeEventListener("scroll", onScroll);
  }, []);
  useLayoutEffect(() => {
    if (stuck.current && latest) scroller().scrollTop = scroller().scrollHeight;
  });
  const send = (text) => {
    stuck.current = true;
    onSend(text);
  };

  return html`
    <div class="talk">
      <div class="transcript" ref=${list} onScroll=${onScroll} tabindex="0" role="region" aria-label=${w.conversation}>
        ${
          talk.turns.length
            ? html`<h2 class="unseen">${w.conversation}</h2><ol class="turns">
              ${talk.turns.map(
                (turn, index) =>
                  html`<${Turn}
                    key=${turn.id}
                    ...${{ talk, turn, w, onSelect, onHover, setDraft }}
                    number=${index + 1}
                    isShown=${shown === turn}
                  />`,
              )}
            </ol>`
            : html`<${Welcome} ...${{ w, send }} />`
        }
      </div>
      <${Composer} ...${{ talk, w, models, places, draft, setDraft, send }} />
      <${Announcer} turn=${latest} />
    </div>
  `;
}

function Welcome({ w, send }) {
  return html`
    <div class="welcome">
      <h2>${w.welcome}</h2>
      <p>${w.welcomeMore}</p>
      <h3 class="caption">${w.try}</h3>
      <ul class="examples">
        ${w.examples.map(
          ({ label, text, lang }) => html`
            <li>
              <button type="button" onClick=${() => send(text)}>
                <span class="caption">${label}</span>
                <span lang=${lang}>${text}</span>
              </button>
            </li>
          `,
        )}
      </ul>
    </div>
  `;
}

function Turn({ talk, turn, w, number, isShown, onSelect, onHover, setDraft }) {
  const { seen, status } = turn;
  const isLatest = turn === talk.latest;
  const running = status === "waiting" || status === "writing";
  const crisis = seen?.reason === "crisis";
  return html`
    <li
      class=${["turn", isShown && "shown", crisis && "crisis"].filter(Boolean).join(" ")}
      onMouseEnter=${() => onHover(turn)}
      onMouseLeave=${() => onHover(null)}
    >
      <div class="seeker">
        <h3 class="unseen">${w.you}</h3>
        <p lang=${languageOf(turn.seeker)}>${turn.seeker}</p>
      </div>
      <div class="counselor" aria-busy=${running}>
        <h3 class="unseen">${w.counselor}</h3>
        ${
          turn.text &&
          html`<p class="said" lang=${languageOf(turn.text)}>
          ${turn.text}${status === "writing" && html`<span class="caret" aria-hidden="true"></span>`}
        </p>`
        }
        ${status === "waiting" && html`<${Waiting} w=${w} began=${turn.began} />`}
        ${seen?.resources?.length > 0 && html`<${Resources} resources=${seen.resources} w=${w} urgent=${crisis} />`}
        ${turn.error && html`<${Failure} turn=${turn} w=${w} />`}
        ${status === "stopped" && html`<p class="aside">${w.stopped}</p>`}
        <div class="tools">
          ${
            seen?.mode &&
            html`<button type="button" class="route" aria-pressed=${isShown} title=${w.look} onClick=${() => onSelect(turn)}>
            <span class=${`dot risk-${seen.risk.level ?? "unknown"}`}></span>
            ${decision(w, seen)}
            ${turn.took != null && html`<span class="quiet"> · ${seconds(turn.took)}</span>`}
            <span class="unseen">, ${w.turnN(number)}. ${w.look}</span>
          </button>`
          }
          ${turn.text && !running && html`<${Copy} text=${turn.text} w=${w} />`}
          ${
            isLatest &&
            ["failed", "broken", "stopped"].includes(status) &&
            html`<button type="button" class="small" onClick=${() => (talk.again(), toMessage())}>${w.tryAgain}</button>
            <button type="button" class="small" onClick=${() => (setDraft(talk.takeBack()), toMessage())}>${w.edit}</button>`
          }
        </div>
      </div>
    </li>
  `;
}

const toMessage = () => document.getElementById("message").focus();

/** So that it is read out in its own voice, whatever the page's language. */
const languageOf = (text) => (/\p{Script=Han}/u.test(text) ? "zh" : "en");

function Waiting({ w, began }) {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const spent = Math.floor((now - began) / 1000);
  return html`<p class="waiting">
    <span class="pulse" aria-hidden="true"></span>
    ${w.reading}${spent >= 2 && html`<span class="quiet"> · ${w.stillAt(spent)}</span>`}
  </p>`;
}

function Failure({ turn: { error, status }, w }) {
  const told = error.kind === "unreachable" ? w.errors.unreachable : (w.errors[error.status] ?? w.errors.other);
  return html`
    <div class="failure" role="alert">
      <p>${status === "broken" ? w.brokeOff : typeof told === "function" ? told(error.retryAfter) : told}</p>
      ${error.message && html`<p class="quiet"><span lang="en">${error.message}</span></p>`}
    </div>
  `;
}

function Resources({ resources, w, urgent }) {
  return html`
    <section class=${urgent ? "resources urgent" : "resources"} aria-label=${w.resources}>
      <h4>${w.resources}</h4>
      <ul>
        ${resources.map(
          ({ name, contact, hours }) => html`
            <li>
              <strong>${name}</strong>
              <span>${links(contact).map(({ text, href }) =>
                href
                  ? html`<a href=${href} rel="noreferrer" target=${href.startsWith("https:") ? "_blank" : null}>${text}</a>`
                  : text,
              )}</span>
              ${hours && html`<span class="quiet">${hours}</span>`}
            </li>
          `,
        )}
      </ul>
    </section>
  `;
}

export function Copy({ text, w, label }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await toClipboard(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<button type="button" class="small" onClick=${copy}>
    <span aria-live="polite">${done ? w.copied : (label ?? w.copy)}</span>
  </button>`;
}

/** Beyond localhost without TLS, browsers have no clipboard for pages but the old way. */
async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

function Composer({ talk, w, models, places, draft, setDraft, send }) {
  const field = useRef(null);
  const fit = () => {
    field.current.style.height = "auto";
    field.current.style.height = `${field.current.scrollHeight}px`;
  };
  useLayoutEffect(fit, [draft]);
  useEffect(() => {
    if (matchMedia("(pointer: fine)").matches) field.current.focus({ preventScroll: true });
  }, [talk.session]);

  const submit = () => {
    if (talk.busy || !draft.trim()) return;
    setDraft("");
    send(draft.trim());
  };
  const onKeyDown = (event) => {
    // 229: a key that an input method takes, in browsers that end the composition before they tell of it
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  };
  return html`
    <div class="composer">
      <div class="field">
        <label class="unseen" for="message">${w.message}</label>
        <textarea
          id="message"
          ref=${field}
          rows="1"
          maxlength="32000"
          aria-describedby="keys"
          placeholder=${w.placeholder}
          value=${draft}
          onInput=${(event) => setDraft(event.currentTarget.value)}
          onKeyDown=${onKeyDown}
        ></textarea>
        <div class="foot">
          <label class="pick">
            <span>${w.model}</span>
            <select
              aria-label=${w.model}
              title=${w.models[talk.model]}
              value=${talk.model}
              onChange=${(event) => talk.set({ model: event.currentTarget.value })}
            >
              ${models.map((name) => html`<option key=${name} value=${name} title=${w.models[name]}>${name}</option>`)}
            </select>
          </label>
          <label class="pick">
            <span>${w.place}</span>
            <select
              aria-label=${w.place}
              value=${talk.locale}
              onChange=${(event) => talk.set({ locale: event.currentTarget.value })}
            >
              <option value="">${w.anyPlace}</option>
              ${places.map(([locale, name]) => html`<option key=${locale} value=${locale}>${name}</option>`)}
            </select>
          </label>
          <span class="grow"></span>
          ${
            talk.busy
              ? html`<button type="button" class="primary" onClick=${() => talk.stop()}>
                  <span class="square" aria-hidden="true"></span>${w.stop}
                </button>`
              : html`<button type="button" class="primary" aria-disabled=${!draft.trim()} onClick=${submit}>
                  ${w.send}
                </button>`
          }
        </div>
      </div>
      <p class="under"><span id="keys" class="keys">${talk.busy ? w.keysWriting : w.keys}</span> ${w.notice} ${w.kept}</p>
    </div>
  `;
}

/** Tells a reply sentence by sentence, as soon as each is whole, to those who cannot see it grow. */
function Announcer({ turn }) {
  const told = useRef({ id: null, at: 0 });
  const [lines, setLines] = useState([]);
  useEffect(() => {
    if (!turn) {
      setLines([]);
      return;
    }
    if (told.current.id !== turn.id || turn.text.length < told.current.at) {
      told.current = { id: turn.id, at: 0 };
      setLines([]);
    }
    const rest = turn.text.slice(told.current.at);
    const running = turn.status === "waiting" || turn.status === "writing";
    const whole = running ? Math.max(...[...".!?。！？\n"].map((mark) => rest.lastIndexOf(mark))) + 1 : rest.length;
    if (whole > 0) {
      told.current.at += whole;
      setLines((before) => [...before, rest.slice(0, whole)]);
    }
  }, [turn?.id, turn?.text, turn?.status]);
  return html`<div class="unseen" aria-live="polite" data-announcer>
    ${lines.map((line, index) => html`<p key=${index} lang=${languageOf(line)}>${line}</p>`)}
  </div>`;
}
