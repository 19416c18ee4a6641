// Follows the event stream of the API, and asks for the markup of what has changed.

import { connection, fragment, parse, replaceParts } from "./parts.js";

const ASKED_AT_ONCE = 50;
// A burst of new tasks is not shown one by one: that would cost the service more than the stream.
const NEW_MAX = 24;
const PAUSE_MS = 300;
const PAUSE_WHEN_BUSY_MS = 2000;
const BUSY_FROM = 8;
const RETRY_MS = [500, 1000, 2000, 5000];

/** Calls `heard` with each event after the one that the page was made at. */
function follow(element, heard) {
  const types = element.dataset.types.split(" ");
  let last = element.dataset.after;
  let source = null;
  let failures = 0;
  let timer = null;

  const stop = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const again = () => {
    stop();
    connection("No connection; trying again", "bad");
    const pause = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
    failures += 1;
    timer = setTimeout(start, pause * (0.75 + Math.random() / 2));
  };
  const start = async () => {
    stop();
    if (document.hidden) return;
    if (failures > 0) {
      // A stream does not say why it was refused, but these do. The page is read anew if the
      // program is another one, or if the events after `last` are no longer kept.
      try {
        const service = await (await fragment("/fragments/service")).json();
        if (service.assets !== document.body.dataset.assets) return location.reload();
        await fragment(`/v1/events?limit=1&after=${encodeURIComponent(last)}`);
      } catch (error) {
        if (error.status === 410 || error.status === 400) return location.reload();
        return again();
      }
    }
    const stream = new EventSource(`/v1/events?after=${encodeURIComponent(last)}`);
    source = stream;
    stream.onopen = () => {
      connection("");
      element.dataset.connected = "";
      failures = 0;
    };
    stream.onerror = () => {
      delete element.dataset.connected;
      again();
    };
    for (const type of types) {
      stream.addEventListener(type, (event) => {
        last = event.lastEventId || last;
        heard(JSON.parse(event.data));
      });
    }
  };
  // A browser has few connections for one host, and tabs in the background need none.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  window.addEventListener("pagehide", stop);
  start();
}

export function followList(list) {
  const newer = document.getElementById("newer");
  const empty = document.getElementById("empty");
  const filters = () => {
    const query = new URLSearchParams(location.search);
    query.delete("cursor");
    return query;
  };
  const isFirstPage = !new URLSearchParams(location.search).has("cursor");
  let waiting = new Set();
  let timer = null;

  const pause = () => (waiting.size > BUSY_FROM ? PAUSE_WHEN_BUSY_MS : PAUSE_MS);
  const place = (item) => {
    // Submission ids are in the order of time, and the list is newest first.
    const items = [...list.querySelectorAll("li[data-id]")];
    const same = items.find((other) => other.dataset.id === item.dataset.id);
    if (same) return same.replaceWith(item);
    const before = items.find((other) => other.dataset.id < item.dataset.id);
    const isBelow = !before && list.querySelector("li.next");
    // An older task than all that are shown comes with its own page.
    if (isBelow) return undefined;
    item.classList.add("new");
    if (before) return before.before(item);
    return list.append(item);
  };
  const ask = async () => {
    timer = null;
    const ids = [...waiting].slice(0, ASKED_AT_ONCE);
    const query = filters();
    query.set("ids", ids.join(","));
    try {
      const content = parse(await (await fragment(`/fragments/tasks?${query}`)).text());
      const items = [...content.querySelectorAll("li[data-id]")];
      const found = new Set(items.map((item) => item.dataset.id));
      for (const id of ids) {
        waiting.delete(id);
        if (!found.has(id)) list.querySelector(`li[data-id="${CSS.escape(id)}"]`)?.remove();
      }
      items.forEach(place);
      empty.hidden = list.children.length > 0;
    } catch {
      // They stay in the set, and are asked for with the next event or attempt.
    }
    if (waiting.size > 0) timer ??= setTimeout(ask, PAUSE_WHEN_BUSY_MS);
  };
  const reload = () => location.assign(`/?${filters()}`);
  follow(
    list,
    (event) => {
      const id = event.submission_id;
      const isShown = list.querySelector(`li[data-id="${CSS.escape(id)}"]`);
      if (!isShown && (!isFirstPage || waiting.size >= NEW_MAX)) {
        newer.hidden = false;
        return;
      }
      waiting.add(id);
      timer ??= setTimeout(ask, pause());
    },
  );
  newer.querySelector("button").addEventListener("click", reload);

  // The next page is fetched before its end is reached.
  const watcher = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => load(target)),
    { rootMargin: "600px" },
  );
  const load = async (item) => {
    watcher.unobserve(item);
    const address = new URL(item.querySelector("a").href);
    try {
      const content = parse(await (await fragment(`/fragments/tasks${address.search}`)).text());
      item.replaceWith(content);
      watch();
    } catch {
      // The link stays, and leads to the next page.
    }
  };
  const watch = () => {
    const item = list.querySelector("li.next");
    if (item) watcher.observe(item);
  };
  watch();

  const form = document.getElementById("filters");
  const submit = () => {
    for (const field of form.elements) field.disabled = field.name && field.value === "";
    form.submit();
  };
  form.addEventListener("change", submit);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
}

export function followTask(task) {
  const path = `/fragments/tasks/${encodeURIComponent(task.dataset.id)}`;
  const ask = async () => {
    try {
      replaceParts(task, parse(await (await fragment(path)).text()));
    } catch {
      // The next event or the next interval asks again.
    }
  };
  follow(task, (event) => event.submission_id === task.dataset.id && ask());
  // Deliveries and fetches of files change without an event.
  setInterval(() => !document.hidden && task.querySelector("[data-open]") && ask(), 3000);
  task.addEventListener("refresh", ask);
  document.addEventListener("click", (event) => {
    if (event.target.closest("button[data-post]")) setTimeout(ask, 1000);
  });
}
