// What every page has: relative times, the state of the service, buttons that call the API, and
// parts that are asked for again.

import { followList, followTask } from "./live.js";
import { connection, fragment, parse, remember, replaceParts, showTimes } from "./parts.js";

/** Keeps the parts of `root` current. `every` is in milliseconds; hidden pages do not ask. */
function refresh(root, path, every) {
  const ask = async () => {
    if (document.hidden) return;
    try {
      replaceParts(root, parse(await (await fragment(path)).text()));
    } catch {
      // The next one may succeed. The head of the page says that the service does not answer.
    }
  };
  setInterval(ask, every);
  root.addEventListener("refresh", ask);
}

async function lookAtService() {
  if (document.hidden) return;
  try {
    const service = await (await fragment("/fragments/service")).json();
    if (service.assets !== document.body.dataset.assets) location.reload();
    connection(service.ready ? "" : `Not ready: ${service.reason}`, "bad");
  } catch (error) {
    if (error.status === undefined) connection("No connection; trying again", "bad");
  }
}

function say(text, isError) {
  const answer = document.getElementById("answer");
  if (!answer) return;
  answer.textContent = text;
  answer.classList.toggle("error", Boolean(isError));
}

async function press(button) {
  button.disabled = true;
  try {
    let retried = 0;
    for (;;) {
      const answer = await fetch(button.dataset.post, { method: "POST" });
      const body = await answer.json().catch(() => ({}));
      if (!answer.ok) {
        say(body.error?.message ?? `This did not work: the service answered ${answer.status}.`, true);
        break;
      }
      retried += body.retried ?? 0;
      if ("many" in button.dataset && body.more) continue;
      if ("many" in button.dataset) say(`${retried} deliveries are to be sent again.`);
      else if ("result" in button.dataset) say(`Replayed: ${body.result}.`);
      else say(button.dataset.done ?? "Done.");
      break;
    }
  } catch {
    say("The service does not answer. Try again.", true);
  }
  button.disabled = false;
  document.querySelector("[data-refresh]")?.dispatchEvent(new Event("refresh"));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-post]");
  if (button) press(button);
});

remember(document);
showTimes();
setInterval(showTimes, 1000);
if (document.getElementById("connection")) {
  setInterval(lookAtService, 10000);
  document.addEventListener("visibilitychange", lookAtService);
}
for (const root of document.querySelectorAll("[data-refresh]")) {
  refresh(root, root.dataset.refresh, 5000);
}
const list = document.querySelector('[data-live="list"]');
if (list) followList(list);
const task = document.querySelector('[data-live="task"]');
if (task) followTask(task);
