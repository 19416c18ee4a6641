// Sends the form to the API, as an app would.

const form = document.getElementById("try");
const error = document.getElementById("try-error");
const answer = document.getElementById("answer");
const fields = ["model", "prompt", "size"];
// A second click repeats the key, and so it is answered like the first and not paid again.
let key = form.dataset.idempotencyKey;
let sentBody = null;

function fail(message, param) {
  error.textContent = message;
  error.hidden = false;
  answer.textContent = "";
  for (const name of fields) {
    const field = form.elements[name];
    if (name === param) {
      field.setAttribute("aria-invalid", "true");
      field.focus();
    } else {
      field.removeAttribute("aria-invalid");
    }
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  error.hidden = true;
  const button = form.querySelector("button");
  const kind = form.querySelector("input[name=kind]:checked");
  const values = fields.map((name) => [name, form.elements[name].value.trim()]);
  const body = JSON.stringify(Object.fromEntries(values.filter(([, value]) => value !== "")));
  const request = `${kind.value} ${body}`;
  if (sentBody !== null && sentBody !== request) {
    const random = crypto.getRandomValues(new Uint32Array(4));
    key = `dashboard-${[...random].map((part) => part.toString(36)).join("-")}`;
  }
  sentBody = request;
  button.disabled = true;
  answer.textContent = "Submitting …";
  try {
    const response = await fetch(kind.dataset.path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body,
    });
    const task = await response.json();
    const id = response.headers.get("X-Submission-Id");
    if (!response.ok) {
      fail(task.error?.message ?? `The service answered ${response.status}.`, task.error?.param);
    } else if ("watch" in form.dataset && id) {
      location.assign(`/tasks/${encodeURIComponent(id)}`);
      return;
    } else {
      answer.textContent = `Accepted as ${task.id}.`;
    }
  } catch {
    fail("The service does not answer. A second try is not paid twice.");
  }
  button.disabled = false;
});
