// What the other scripts share: fragments of markup from our own server, which escapes every value,
// and their places on the page.

const policy = window.trustedTypes
  ? window.trustedTypes.createPolicy("fragments", { createHTML: (html) => html })
  : { createHTML: (html) => html };

/** Parses markup that our own server has rendered. */
export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(html);
  return template.content;
}

/** Asks for a fragment. Goes to the sign-in if the session has ended. */
export async function fragment(path) {
  const answer = await fetch(path, { headers: { Accept: "text/html" } });
  if (answer.status === 401) {
    const here = location.pathname + location.search;
    location.assign(`/sign-in?next=${encodeURIComponent(here)}`);
    throw new Error("signed out");
  }
  if (!answer.ok) {
    const error = new Error(`answered ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  return answer;
}

const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

function relative(time) {
  const seconds = Math.round((Date.now() - Date.parse(time)) / 1000);
  const size = Math.abs(seconds);
  if (size < 2) return "just now";
  const [unit, length] = units.find(([unit, length]) => size >= (unit === "d" ? 2 : 1) * length);
  const text = `${Math.floor(size / length)} ${unit}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

export function showTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const text = relative(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}

// The markup of each part as the server sent it. Times change here, so the page cannot be compared.
const sent = new WeakMap();

export function remember(root) {
  for (const part of root.querySelectorAll("[data-part]")) sent.set(part, part.outerHTML);
}

/** Replaces the parts of `root` that have changed. Opened details and the focus stay. */
export function replaceParts(root, content) {
  for (const part of content.querySelectorAll("[data-part]")) {
    const old = root.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!old) {
      sent.set(part, part.outerHTML);
      root.append(part);
      continue;
    }
    const html = part.outerHTML;
    if (sent.get(old) === html) continue;
    const playing = [...old.querySelectorAll("video, audio")].some((media) => !media.paused);
    if (playing) continue;
    const open = [...old.querySelectorAll("details")].map((details) => details.open);
    [...part.querySelectorAll("details")].forEach((details, n) => {
      if (n in open) details.open = open[n];
    });
    const hadFocus = old.contains(document.activeElement);
    sent.set(part, html);
    old.replaceWith(part);
    if (hadFocus) document.getElementById("main").focus({ preventScroll: true });
  }
  showTimes();
}

/** Says in the head of the page whether the service answers. */
export function connection(text, tone = "") {
  const shown = document.getElementById("connection");
  if (shown && shown.textContent !== text) {
    shown.textContent = text;
    shown.className = `connection ${tone}`;
  }
}
