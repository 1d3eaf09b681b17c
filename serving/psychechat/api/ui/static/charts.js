// What is drawn of a conversation: one column a turn, the same in all three charts.

import { html, useLayoutEffect, useRef, useState } from "./dom.js";
import { seconds, signed } from "./words.js";

const GUTTER = 88;
const PAD = 6;
const LEAST_COLUMNS = 6;

export const LEVELS = ["none", "indicator", "ideation", "behavior", "attempt"];
export const PLEASANT = ["joy", "trust", "anticipation"];
export const GROUPS = [...PLEASANT, "surprise", "fear", "sadness", "disgust", "anger"];

const room = (width) => Math.max(0, width - GUTTER - PAD);

/** Where things stand: `columns` of `step` pixels, right of the labels. */
function grid(turns, width) {
  const columns = Math.max(turns, LEAST_COLUMNS);
  const step = room(width) / columns;
  return { step, left: (index) => GUTTER + index * step, middle: (index) => GUTTER + (index + 0.5) * step };
}

function useWidth() {
  const element = useRef(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    watch.observe(element.current);
    return () => watch.disconnect();
  }, []);
  return [element, width];
}

/** All charts over the turns, with a column that is marked. */
export function OverTurns({ turns, marked, w, onSelect, onHover }) {
  const [element, width] = useWidth();
  const { step, left, middle } = grid(turns.length, width);
  const at = (event) => {
    const x = event.clientX - element.current.getBoundingClientRect().left - GUTTER;
    return x < 0 ? null : (turns[Math.floor(x / step)] ?? null);
  };
  const index = turns.indexOf(marked);
  const every = Math.ceil(turns.length / 16);
  return html`
    <div
      class="charts"
      ref=${element}
      onMouseMove=${(event) => onHover(at(event))}
      onMouseLeave=${() => onHover(null)}
      onClick=${(event) => at(event) && onSelect(at(event))}
    >
      ${index >= 0 && html`<div class="column" style=${{ left: `${left(index)}px`, width: `${step}px` }}></div>`}
      <${Caption} title=${w.valence} more=${w.valenceMore} />
      <${Valence} ...${{ turns, marked, width, middle, w }} />
      <${Caption} title=${w.risk} more=${w.riskMore} />
      <${Risk} ...${{ turns, width, step, left, middle, w }} />
      <${Caption} title=${w.emotions} more=${w.emotionsMore} />
      <${Heat} ...${{ turns, width, step, left, middle, w }} />
      <svg class="numbers" width=${width} height="18" aria-hidden="true">
        ${turns.map(
          (turn, n) =>
            (n % every === 0 || turn === marked) &&
            html`<text key=${n} class=${turn === marked ? "strong" : ""} x=${middle(n)} y="13" text-anchor="middle">${n + 1}</text>`,
        )}
      </svg>
    </div>
  `;
}

const Caption = ({ title, more }) =>
  html`<p class="chart-title"><strong>${title}</strong> <span class="quiet">${more}</span></p>`;

// ---------------------------------------------------------------------------------------------------- valence

const TALL = 124;

/** A line with a dot a turn. Where it moved there is a triangle and a number: the direction is in the shape, not in the
 * colour alone. The turn that is marked shows its value.
 */
function Valence({ turns, marked, width, middle, w }) {
  const points = turns.map(({ seen }, index) => ({ x: middle(index), value: seen?.valence ?? null, shift: seen?.shift }));
  const known = points.filter(({ value }) => value !== null);
  const most = Math.max(3, ...known.map(({ value }) => Math.abs(value)));
  const y = (value) => (TALL / 2) * (1 - value / (1.5 * most));
  const spoken = points
    .map(({ value }, index) => `${w.turnN(index + 1)}: ${value === null ? "–" : signed(value)}`)
    .join(", ");
  return html`
    <svg class="valence" width=${width} height=${TALL} role="img" aria-label=${`${w.valence}. ${spoken}`}>
      ${[most, 0, -most].map(
        (value) => html`
          <${RowName} y=${y(value) - ROW / 2}>${signed(value)}<//>
          <line class="rule" x1=${GUTTER} x2=${width - PAD} y1=${y(value)} y2=${y(value)} />
        `,
      )}
      <polyline points=${known.map(({ x, value }) => `${x},${y(value)}`).join(" ")} />
      ${points.map(({ x, value, shift }, index) => {
        if (value === null) return null;
        const away = shift > 0 ? -15 : 15; // where the line does not come from
        return html`
          <circle class="point" cx=${x} cy=${y(value)} r="4" />
          ${
            Boolean(shift) &&
            html`<${Beside} kind=${`shift ${shift > 0 ? "up" : "down"}`} x=${x} y=${y(value) + away}>
              ${`${shift > 0 ? "▲" : "▼"}${Math.abs(shift)}`}
            <//>`
          }
          ${turns[index] === marked && html`<${Beside} kind="strong" x=${x} y=${y(value) - away}>${signed(value)}<//>`}
        `;
      })}
    </svg>
  `;
}

const Beside = ({ kind, x, y, children }) =>
  html`<text class=${kind} x=${x} y=${y} text-anchor="middle" dominant-baseline="central">${children}</text>`;

// ------------------------------------------------------------------------------------------------------- risk

const ROW = 17;

const RowName = ({ y, children }) =>
  html`<text x=${GUTTER - 10} y=${y + ROW / 2} text-anchor="end" dominant-baseline="central">${children}</text>`;

function Risk({ turns, width, step, left, middle, w }) {
  const y = (level) => (LEVELS.length - 1 - level) * ROW;
  const spoken = turns.map((turn, index) => `${w.turnN(index + 1)}: ${w.riskLevel[levelOf(turn)]}`).join(", ");
  return html`
    <svg class="risk" width=${width} height=${LEVELS.length * ROW} role="img" aria-label=${`${w.risk}. ${spoken}`}>
      <defs>
        <pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <line x1="0" y1="0" x2="0" y2="6" class="hatch" />
        </pattern>
      </defs>
      ${LEVELS.map(
        (name, level) => html`
          <${RowName} y=${y(level)}>${w.riskLevel[name]}<//>
          <line class="rule" x1=${GUTTER} x2=${width - PAD} y1=${y(level) + ROW - 0.5} y2=${y(level) + ROW - 0.5} />
        `,
      )}
      ${turns.map((turn, index) => {
        const state = turn.seen?.risk?.conversation;
        if (!state) return null;
        const [level, peak] = [LEVELS.indexOf(state.level), LEVELS.indexOf(state.peak)];
        const box = (top, bottom) => ({
          x: left(index),
          width: step + 0.5,
          y: y(top) + 1,
          height: y(bottom) - y(top) + ROW - 2,
        });
        return html`
          ${
            level > 0
              ? html`<rect class=${`band risk-${state.level}`} ...${box(level, 0)} />`
              : html`<rect class="band risk-none" ...${box(0, 0)} y=${y(0) + ROW - 4} height="3" />`
          }
          ${state.held && html`<rect class="held" fill="url(#hatch)" ...${box(Math.max(peak, level), 0)} />`}
        `;
      })}
      ${turns.map((turn, index) => {
        const name = levelOf(turn);
        if (name === null) return null;
        return name === "unknown"
          ? html`<text class="strong" x=${middle(index)} y=${y(0) + ROW / 2} text-anchor="middle" dominant-baseline="central">?</text>`
          : html`<circle class="message-risk" cx=${middle(index)} cy=${y(LEVELS.indexOf(name)) + ROW / 2} r="3.5" />`;
      })}
    </svg>
  `;
}

const levelOf = (turn) => (turn.seen?.risk ? (turn.seen.risk.level ?? "unknown") : null);

// --------------------------------------------------------------------------------------------------- emotions

/** By group: how sure it is that the emotion is there, and the label if it was found. */
export function presence(seen) {
  const found = Object.fromEntries((seen?.emotions ?? []).map((emotion) => [emotion.group, emotion]));
  const told = seen?.stages?.groups;
  return Object.fromEntries(
    GROUPS.map((group) => [
      group,
      { p: told?.[group] ? 1 - told[group].absent : (found[group]?.probability ?? 0), found: found[group] ?? null },
    ]),
  );
}

function Heat({ turns, width, step, left, w }) {
  const roomy = step >= 44; // for words, which need a lighter ground
  const spoken = turns
    .map(
      (turn, index) =>
        `${w.turnN(index + 1)}: ${(turn.seen?.emotions ?? []).map(({ label }) => w.label(label)).join(" ") || "–"}`,
    )
    .join(", ");
  return html`
    <svg class="heat" width=${width} height=${GROUPS.length * ROW} role="img" aria-label=${`${w.emotions}. ${spoken}`}>
      ${GROUPS.map(
        (group, row) => html`
          <${RowName} y=${row * ROW}>${w.groups[group]}<//>
          <rect class="empty" x=${GUTTER} y=${row * ROW + 1} width=${room(width)} height=${ROW - 2} rx="3" />
        `,
      )}
      ${turns.map((turn, index) => {
        const here = presence(turn.seen);
        return GROUPS.map((group, row) => {
          const { p, found } = here[group];
          if (p < 0.02) return null;
          const kind = PLEASANT.includes(group) ? "pleasant" : "heavy";
          return html`
            <rect
              class=${kind}
              x=${left(index) + 1}
              y=${row * ROW + 1}
              width=${Math.max(1, step - 2)}
              height=${ROW - 2}
              rx="3"
              fill-opacity=${(0.06 + 0.94 * p * p) * (roomy ? 0.55 : 0.95)}
            />
            ${
              found &&
              roomy &&
              html`<text
              class="label"
              x=${left(index) + step / 2}
              y=${row * ROW + ROW / 2}
              text-anchor="middle"
              dominant-baseline="central"
            >
              ${w.label(found.label)}
            </text>`
            }
          `;
        });
      })}
    </svg>
  `;
}

// ------------------------------------------------------------------------------------------------------ times

const STAGES = ["queue", "classify", "emotion", "draft", "simulation", "review", "reply"];

/** Stages of a turn as one bar. What runs side by side is drawn one after the other, so parts may exceed the total. */
export function Times({ timings, w }) {
  const stages = STAGES.filter((name) => timings[name] > 0).map((name) => [name, timings[name]]);
  const known = stages.reduce((sum, [, spent]) => sum + spent, 0);
  const rest = (timings.total ?? known) - known;
  if (rest > 0.02 * known) stages.push(["other", rest]);
  const all = stages.reduce((sum, [, spent]) => sum + spent, 0) || 1;
  return html`
    <div class="times">
      <div class="stack" aria-hidden="true">
        ${stages.map(
          ([name, spent]) =>
            html`<span key=${name} class=${`stage-${name}`} style=${{ flexGrow: spent / all }}></span>`,
        )}
      </div>
      <ul class="legend">
        ${stages.map(
          ([name, spent]) =>
            html`<li key=${name}>
              <span class=${`swatch stage-${name}`}></span>${w.stage[name]} <span class="number">${seconds(spent)}</span>
            </li>`,
        )}
        <li class="sum">${w.total} <span class="number">${seconds(timings.total ?? known)}</span></li>
      </ul>
    </div>
  `;
}
