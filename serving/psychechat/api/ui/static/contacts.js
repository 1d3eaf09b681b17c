// Whom a crisis reply names, as links. They are made of the resource's contact, which an operator wrote, never of a reply.

const PART = /(?<url>(?:https?:\/\/)?(?:[a-z0-9-]+\.)+[a-z]{2,}(?:\/[^\s,;)]*)?)|(?<number>[+*]?\d[\d \u00a0.-]*\d)/gi;
/** A number in letters, as a gloss of one in digits: "(1 866 APPELLE)". */
const GLOSS = /\([^()]*\p{Lu}{3,}\)/gu;
const TEXTS = /\b(?:text|textez|texto|sms|message)\b|短信/i;
const CALLS = /\b(?:call|phone|appelez|llama|ligue|bel|anrufen)\b|拨打|撥打|致電|電話/i;
const OTHER_APP = /whatsapp|wechat|微信|line\b/i;

/** The contact in parts, `{text, href}`: `tel:`, `sms:` or `https:` where there is something to follow. */
export function links(contact) {
  const parts = [];
  const masked = contact.replace(GLOSS, (gloss) => "(".repeat(gloss.length));
  let from = 0;
  for (const match of masked.matchAll(PART)) {
    const href = match.groups.url
      ? address(match[0])
      : call(match[0], masked.slice(from, match.index), masked.slice(match.index + match[0].length));
    if (!href) continue;
    parts.push({ text: contact.slice(from, match.index), href: null }, { text: match[0], href });
    from = match.index + match[0].length;
  }
  parts.push({ text: contact.slice(from), href: null });
  return parts.filter(({ text }) => text);
}

const address = (url) => (/^https?:\/\//i.test(url) ? url.replace(/^http:/i, "https:") : `https://${url}`);

/** `before`, `after`: what stands around the number, from the last link on. */
function call(number, before, after) {
  if (OTHER_APP.test(before)) return null;
  const told = `${before} ${after.match(/^[^,;/]*/)[0]}`;
  return `${TEXTS.test(before) && !CALLS.test(told) ? "sms" : "tel"}:${number.replace(/[^\d+*]/g, "")}`;
}
