// The right side: what the server saw, over the conversation and in one turn.

import { html, useState } from "./dom.js";
import { curl } from "./api.js";
import { GROUPS, LEVELS, OverTurns, PLEASANT, Times } from "./charts.js";
import { Copy } from "./conversation.js";
import { decision, seconds, signed } from "./words.js";

export function Seen({ talk, w, shown, onSelect, onHover, onForget, told }) {
  const { turns } = talk;
  return html`
    <section class="seen" aria-label=${w.seen} tabindex="0">
      ${
        turns.length === 0
          ? html`<${How} w=${w} />`
          : html`
            ${talk.replay && html`<${ThenNow} ...${{ talk, w, onSelect }} />`}
            <section aria-labelledby="over-turns">
              <h2 id="over-turns">${w.overTurns}</h2>
              <${OverTurns} ...${{ turns, marked: shown, w, onSelect, onHover }} />
              <${Table} ...${{ turns, w, onSelect }} />
            </section>
            ${shown && html`<${Turn} ...${{ talk, turn: shown, w, onSelect }} />`}
          `
      }
      ${(talk.turns.length > 0 || told) && html`<${Session} ...${{ talk, w, onForget, told }} />`}
    </section>
  `;
}

function How({ w }) {
  return html`
    <section class="how" aria-labelledby="how">
      <h2 id="how">${w.how}</h2>
      <ol>
        ${w.steps.map(([name, what]) => html`<li><strong>${name}</strong><p>${what}</p></li>`)}
      </ol>
    </section>
    <section aria-labelledby="three">
      <h2 id="three">${w.three}</h2>
      <dl class="models">
        ${Object.entries(w.models).map(([name, what]) => html`<div><dt><code>${name}</code></dt><dd>${what}</dd></div>`)}
      </dl>
      <p>${w.threeMore}</p>
    </section>
    <section aria-labelledby="wire">
      <h2 id="wire">${w.wire}</h2>
      <p>${w.wireMore}</p>
      <pre tabindex="0">${WIRE(new URL("v1", document.baseURI))}</pre>
    </section>
  `;
}

const WIRE = (url) => `client = OpenAI(base_url="${url}")
reply = client.chat.completions.create(
    model="psychechat",
    messages=[{"role": "user", "content": "…"}],
)
reply.psychechat["risk"]["level"]`;

function Table({ turns, w, onSelect }) {
  return html`
    <details class="fold">
      <summary>${w.asTable}</summary>
      <div class="scroll" tabindex="0" role="region" aria-label=${w.asTable}>
        <table>
          <thead>
            <tr>
              ${[w.turn, w.valence, w.shift, w.messageRisk, w.conversationRisk, w.emotions].map((name) => html`<th scope="col">${name}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${turns.map(({ seen }, index) => {
              const state = seen?.risk?.conversation;
              return html`
                <tr>
                  <${TurnCell} ...${{ turn: turns[index], number: index + 1, w, onSelect }} />
                  <td>${seen?.valence == null ? "–" : signed(seen.valence)}</td>
                  <td>${seen?.shift == null ? "–" : signed(seen.shift)}</td>
                  <td>${seen?.risk ? w.riskLevel[seen.risk.level ?? "unknown"] : "–"}</td>
                  <td>${state ? `${w.riskLevel[state.level]}${state.held ? `, ${w.held}` : ""}` : "–"}</td>
                  <td>${(seen?.emotions ?? []).map(({ label }) => w.label(label)).join(", ") || "–"}</td>
                </tr>
              `;
            })}
          </tbody>
        </table>
      </div>
    </details>
  `;
}

const TurnCell = ({ turn, number, w, onSelect }) => html`
  <th scope="row">
    <button type="button" class="link" onClick=${() => onSelect(turn)}>
      ${number}<span class="unseen"> ${w.look}</span>
    </button>
  </th>
`;

function Turn({ talk, turn, w, onSelect }) {
  const index = talk.turns.indexOf(turn);
  const step = (by) => () => onSelect(talk.turns[index + by]);
  const { seen } = turn;
  return html`
    <section aria-labelledby="this-turn">
      <div class="heading">
        <h2 id="this-turn">${w.turnOf(index + 1, talk.turns.length)}</h2>
        <span class="grow"></span>
        <button type="button" class="icon" aria-label=${w.previous} disabled=${index === 0} onClick=${step(-1)}>‹</button>
        <button type="button" class="icon" aria-label=${w.next} disabled=${index === talk.turns.length - 1} onClick=${step(1)}>›</button>
      </div>
      ${
        !seen
          ? html`<p class="quiet">${turn.status === "waiting" || turn.status === "writing" ? w.waiting : w.noSeen}</p>`
          : !seen.risk
            ? html`<p class="quiet">${w.minimal}</p>`
            : html`<${Findings} ...${{ turn, seen, w }} />`
      }
      ${turn.reasoning && html`<details class="fold"><summary>${w.reasoning}</summary><p class="quote">${turn.reasoning}</p></details>`}
      <${AsRequest} ...${{ talk, turn, w }} />
    </section>
  `;
}

function Findings({ turn, seen, w }) {
  const { risk, review, guard, timings } = seen;
  const shift = seen.shift == null ? w.shiftFirst : `${w.shift} ${signed(seen.shift)}`;
  const kind = risk.kind ? `: ${w.kind[risk.kind]}` : "";
  const passed = review.passed === null ? "" : `, ${review.passed ? w.passed : w.notPassed}`;
  return html`
    <p class="decision">${decision(w, seen)}</p>
    <p class="because">${w.because[seen.reason]}</p>

    <h3>${w.emotions} <span class="quiet">${w.valence} ${signed(seen.valence)}, ${shift}</span></h3>
    <ul class="bars">
      ${seen.emotions.map(
        ({ label, group, intensity, probability }) => html`
          <li>
            <span>${w.label(label)} <span class="quiet">${w.groups[group]}, ${w.intensity[intensity]}</span></span>
            <${Bar} share=${probability} kind=${PLEASANT.includes(group) ? "pleasant" : "heavy"} />
          </li>
        `,
      )}
    </ul>
    ${seen.emotions.length === 0 && html`<p class="quiet">${w.nothingFound}</p>`}
    ${seen.stages?.groups && html`<${Groups} groups=${seen.stages.groups} w=${w} />`}

    <h3>${w.risk} <span class="quiet">${w.riskLevel[risk.level ?? "unknown"]}${kind}</span></h3>
    <ul class="bars">
      ${LEVELS.filter((name) => name in risk.probabilities).map(
        (name) => html`
          <li class=${name === risk.level ? "chosen" : ""}>
            <span>${w.riskLevel[name]}</span>
            <${Bar} share=${risk.probabilities[name]} kind=${`risk-${name}`} />
          </li>
        `,
      )}
    </ul>
    <p class="state"><${State} state=${risk.conversation} w=${w} /></p>

    <h3>${w.times}</h3>
    <${Times} timings=${timings} w=${w} />
    <p class="quiet">
      ${turn.firstWords != null && `${w.firstWords(seconds(turn.firstWords))}. `}${timings.judge > 0 && `${w.judge(seconds(timings.judge))}. `}
      ${turn.usage && `${tokens(turn.usage, w)}.`}
    </p>

    <h3>${w.review}</h3>
    <ul class="plain">
      <li>${seen.mode === "llm" && review.rounds === 0 ? w.noReview : w.rounds(review.rounds)}${passed}</li>
      ${review.fallback && html`<li>${w.fallback}</li>`}
      ${review.cut && html`<li>${w.cut}</li>`}
      ${guard.length === 0 && html`<li>${w.guardNothing}</li>`}
      ${guard.map(({ cause, blocked }) => html`<li>${w.guardFound(w.guard[cause] ?? cause, blocked)}</li>`)}
    </ul>

    <h3>${w.inside}</h3>
    ${seen.stages && html`<${Stages} stages=${seen.stages} w=${w} />`}
    ${!seen.stages && seen.mode === "agent" && html`<${Hidden} parts=${w.noStages} />`}
    ${!turn.reasoning && seen.mode === "llm" && html`<${Hidden} parts=${w.noReasoning} />`}
  `;
}

const tokens = (usage, w) =>
  w.tokens(
    usage.prompt_tokens,
    usage.prompt_tokens_details.cached_tokens,
    usage.completion_tokens,
    usage.completion_tokens_details.reasoning_tokens,
  );

const Hidden = ({ parts: [before, setting, after] }) =>
  html`<p class="quiet">${before}<code>${setting}</code>${after}</p>`;

const Bar = ({ share, kind }) => html`
  <span class="share"><span class=${`fill ${kind}`} style=${{ width: `${Math.max(1, share * 100)}%` }}></span></span>
  <span class="number">${share.toFixed(2)}</span>
`;

/** Before any threshold: the three intensities of each group, the stronger the darker. */
function Groups({ groups, w }) {
  return html`
    <p class="chart-title quiet">${w.groupsMore}</p>
    <ul class="bars">
      ${GROUPS.filter((group) => groups[group]).map((group) => {
        const kind = PLEASANT.includes(group) ? "pleasant" : "heavy";
        const { absent, low, mid, high } = groups[group];
        return html`
          <li>
            <span>${w.groups[group]}</span>
            <span class="share">
              ${[low, mid, high].map(
                (p, level) =>
                  html`<span class=${`fill ${kind} of-${level + 1}`} style=${{ width: `${p * 100}%` }}></span>`,
              )}
            </span>
            <span class="number">${(1 - absent).toFixed(2)}</span>
          </li>
        `;
      })}
    </ul>
  `;
}

function State({ state, w }) {
  const { peak, since_turns: since, trend, held } = state;
  const story = held ? w.heldSince(since ?? 0) : since == null ? w.never : w.over(since);
  return html`${w.conversationRisk}: ${story}. <span class="quiet">${w.peak} ${w.riskLevel[peak]}, ${w.trend} ${w.trends[trend]}</span>`;
}

function Stages({ stages: { analysis, rounds }, w }) {
  return html`
    ${
      analysis &&
      html`<details class="fold" open>
      <summary>${w.analysis} <span class="quiet">${analysis.labels.map(w.label).join(", ")}</span></summary>
      <dl>
        ${Object.entries(w.analysisParts)
          .filter(([field]) => analysis[field])
          .map(([field, name]) => html`<div><dt>${name}</dt><dd>${analysis[field]}</dd></div>`)}
      </dl>
    </details>`
    }
    ${rounds.map(
      ({ draft, reactions, review }, index) => html`
        <details class="fold" open=${index === rounds.length - 1}>
          <summary>${w.round(index + 1)} ${review && html`<${Verdict} passed=${review.passed} w=${w} />`}</summary>
          <h4>${w.draft} <span class="quiet">${w.phase[draft.phase] ?? draft.phase}: ${draft.strategy}</span></h4>
          <p class="quote">${draft.response}</p>
          <h4>${w.reactions}</h4>
          <ul class="reactions">
            ${reactions.map(
              ({ type, response, verdict }) => html`
                <li>
                  <p><span class="caption">${w.reaction[type] ?? type}</span> ${verdict && html`<${Verdict} passed=${verdict.passed} w=${w} />`}</p>
                  <p>${response}</p>
                  ${verdict && html`<p class="quiet">${verdict.analysis}</p>`}
                </li>
              `,
            )}
          </ul>
          ${
            review &&
            (review.emotional_suggestion || review.safety_suggestion) &&
            html`<h4>${w.suggestions}</h4>
            <ul class="plain">
              ${[review.emotional_suggestion, review.safety_suggestion]
                .filter(Boolean)
                .map((text) => html`<li>${text}</li>`)}
            </ul>`
          }
        </details>
      `,
    )}
  `;
}

const Verdict = ({ passed, w }) =>
  html`<span class=${passed ? "verdict" : "verdict failed"}>${passed ? "✓" : "✕"} ${passed ? w.passed : w.notPassed}</span>`;

function AsRequest({ talk, turn, w }) {
  const [open, setOpen] = useState(false);
  return html`
    <details class="fold" onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary>${w.request} <span class="quiet">${w.requestMore}</span></summary>
      ${
        open &&
        html`
        <pre tabindex="0">${curl(talk.body(turn))}</pre>
        <${Copy} text=${curl(talk.body(turn))} w=${w} label=${w.copyCurl} />
        ${
          turn.seen &&
          html`<h4>${w.json}</h4>
          <pre tabindex="0">${JSON.stringify(turn.seen, null, 2)}</pre>
          <${Copy} text=${JSON.stringify(turn.seen, null, 2)} w=${w} />`
        }
      `
      }
    </details>
  `;
}

function Session({ talk, w, onForget, told }) {
  const name = [...talk.named].at(-1);
  return html`
    <section class="session" aria-labelledby="session">
      <h2 id="session">${w.session}</h2>
      <p class="quiet">${w.sessionMore}</p>
      ${name ? html`<p class="name"><code>${name}</code></p>` : html`<p class="quiet">${w.nothingToForget}</p>`}
      ${name && html`<button type="button" class="small" disabled=${talk.busy} onClick=${onForget}>${w.forget}</button>`}
      <p role="status" class="told">${told}</p>
    </section>
  `;
}

const level = (seen) => seen?.risk && (seen.risk.level ?? "unknown");

function ThenNow({ talk, w, onSelect }) {
  const rows = talk.turns
    .map((turn, index) => ({ turn, index, then: turn.then, now: turn.seen }))
    .filter(({ then }) => then);
  const pair = (then, now, tell) => {
    const [before, after] = [then === undefined ? "–" : tell(then), now == null ? "…" : tell(now)];
    return html`<td class=${before !== "–" && after !== "…" && before !== after ? "changed" : ""}>${before} → ${after}</td>`;
  };
  return html`
    <section aria-labelledby="then-now">
      <h2 id="then-now">${w.thenNow}</h2>
      <p class="quiet">${w.thenNowMore}</p>
      <div class="scroll" tabindex="0" role="region" aria-label=${w.thenNow}>
        <table>
          <thead><tr>${[w.turn, w.risk, w.valence, ""].map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
          <tbody>
            ${rows.map(
              ({ turn, index, then, now }) => html`
                <tr>
                  <${TurnCell} ...${{ turn, number: index + 1, w, onSelect }} />
                  ${pair(level(then), level(now), (name) => w.riskLevel[name] ?? name)}
                  ${pair(then.valence, now?.valence, signed)}
                  ${pair(then.mode, now?.mode, (mode) => w.mode[mode] ?? mode)}
                </tr>
              `,
            )}
          </tbody>
        </table>
      </div>
    </section>
  `;
}
