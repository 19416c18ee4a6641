// A client of evolink-receiver, for Node 22.18 or newer; an older one runs it with `npx tsx`.
// RECEIVER_URL and RECEIVER_KEY come from the environment.
//
//   node receiver.ts image "a cute cat" cat.webp    submit, wait, download
//   node receiver.ts follow cursor.txt              the events since the last time
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

async function call(path: string, more: RequestInit = {}): Promise<Response> {
  const key = process.env.RECEIVER_KEY ?? "none";
  const headers = { Authorization: `Bearer ${key}`, ...more.headers };
  for (let again = 0; ; again++) {
    const answer = await fetch(process.env.RECEIVER_URL + path, { ...more, headers });
    if (answer.ok) return answer;
    // Nothing was accepted: the same request, with the same Idempotency-Key, may be repeated.
    const mayRepeat = [409, 429, 503].includes(answer.status) && again < 5;
    if (!mayRepeat) throw new Error(`${answer.status}: ${await answer.text()}`);
    const seconds = Math.min(60, Number(answer.headers.get("Retry-After") ?? 1));
    await new Promise((go) => setTimeout(go, 1000 * seconds));
  }
}

async function image(prompt: string, file: string) {
  const body = JSON.stringify({ model: "z-image-turbo", prompt, size: "1:1" });
  // Keep the key with your order: one key is one paid picture, however often you ask.
  const headers = { "Content-Type": "application/json", "Idempotency-Key": randomUUID() };
  const order = { method: "POST", headers, body };
  let task: any = await (await call("/v1/images/generations?wait=50", order)).json();
  while (!task.receiver.finished) {
    task = await (await call(`/v1/tasks/${task.receiver.submission_id}?wait=50`)).json();
  }
  if (task.status !== "completed") {
    throw new Error(`${task.status}: ${JSON.stringify(task.error)}`);
  }
  const picture = await call(`/v1/tasks/${task.id}/results/0?wait=50`);
  const bytes = Buffer.from(await picture.arrayBuffer());
  writeFileSync(file, bytes);
  console.log(task.id, picture.headers.get("Content-Type"), bytes.length);
}

async function follow(file: string) {
  let after = existsSync(file) ? readFileSync(file, "utf8") : "0";
  for (let caughtUp = false; !caughtUp; ) {
    const page: any = await (await call(`/v1/events?limit=100&after=${after}`)).json();
    for (const event of page.data) {
      console.log(event.id, event.type, event.task_id); // Handle it here.
    }
    [after, caughtUp] = [page.next, page.caught_up];
    writeFileSync(file, after); // Only now: what was not handled comes again.
  }
}

const [command, ...rest] = process.argv.slice(2);
if (command === "image") await image(rest[0]!, rest[1]!);
if (command === "follow") await follow(rest[0]!);
