// The dashboard in a real browser, in front of a real service. A story ends with no complaint: no
// script of others ran, no policy was violated, and no request left the origin.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Browser, Endpoint, READ_KEY, Service, checkAccessibility, checkWidth, signIn, until } from "./harness.mjs";

const HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script><a href=javascript:alert(3)>x</a>";

let browser;
let endpoint;
let service;

before(async () => {
  browser = await Browser.start();
  endpoint = await Endpoint.start(200);
  service = await Service.start({ endpoint: endpoint.url });
});

after(async () => {
  await browser?.stop();
  await service?.stop();
  endpoint?.stop();
});

const story = (name, tell, options) => test(name, async () => {
  const page = await browser.open(service, options);
  try {
    await tell(page);
    assert.deepEqual(page.complaints, []);
  } finally {
    await page.context().close();
  }
});

const card = (page, id) => page.locator(`#tasks li[data-id="${id}"]`);
const isLive = (page) => page.locator("[data-live][data-connected]").waitFor({ state: "attached" });

story("signing in leads back to the page, and signing out ends the session", async (page) => {
  await page.goto(`${service.url}/?status=failed`);
  await page.getByLabel("API key").fill("erk_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: "does not know this key" }).waitFor();
  await checkAccessibility(page, "sign-in");
  await checkWidth(page, "sign-in");
  await page.getByLabel("API key").fill(READ_KEY);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  assert.equal(page.url(), `${service.url}/?status=failed`);
  const [cookie] = await page.context().cookies();
  assert.ok(cookie.httpOnly && cookie.sameSite === "Strict", JSON.stringify(cookie));
  assert.equal(await page.evaluate(() => document.cookie), "", "no script sees the session");
  assert.equal(await page.getByRole("link", { name: "Try" }).count(), 0, "this key may not submit");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key").waitFor();
  await page.goto(`${service.url}/trouble`);
  assert.match(page.url(), /\/sign-in\?next=%2Ftrouble$/);
});

story("the gallery fills live, with progress, the picture and without a reload", async (page) => {
  await signIn(page, service);
  await isLive(page);
  await page.evaluate(() => (window.isSame = true));
  const id = await service.submit("a lighthouse that fills live [sim:duration=2s]");
  await card(page, id).waitFor();
  await card(page, id).filter({ hasText: "completed" }).waitFor();
  const picture = card(page, id).locator("img");
  await picture.waitFor();
  await until("the picture is drawn", () => picture.evaluate((image) => image.complete && image.naturalWidth > 0));
  assert.equal(await page.evaluate(() => window.isSame), true);
  assert.ok(await page.locator("#empty").isHidden());
  const failed = await service.submit("a boat that fails [sim:fail]");
  await card(page, failed).filter({ hasText: "failed" }).waitFor();
  const order = await page.locator("#tasks li[data-id]").evaluateAll((items) => items.map((item) => item.dataset.id));
  assert.deepEqual(order, [...order].sort().reverse(), "newest first");
});

story("filters are in the address, and hold for what arrives later", async (page) => {
  await signIn(page, service);
  await page.getByLabel("State").selectOption("failed");
  await page.waitForURL(/\?status=failed$/);
  await isLive(page);
  const good = await service.submit("a cat of another state [sim:duration=0s]");
  const bad = await service.submit("a dog that fails [sim:fail]");
  await card(page, bad).waitFor();
  await service.archived(good);
  assert.equal(await card(page, good).count(), 0);
  await page.getByRole("link", { name: "Clear" }).click();
  await card(page, good).waitFor();
  await page.getByRole("link", { name: "Table" }).click();
  await page.waitForURL(/layout=table/);
  await card(page, good).waitFor();
  await checkAccessibility(page, "table");
  await page.getByText("More filters").click();
  await page.getByLabel("Reference").fill("no such reference");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "No task matches" }).waitFor();
  await page.goto(`${service.url}/?status=done`);
  await page.getByRole("alert").filter({ hasText: "status" }).waitFor();
  await checkAccessibility(page, "bad filter");
}, { expected: [/status of 400/] });

story("the list goes on while it is scrolled", async (page) => {
  const ids = [];
  for (let n = 0; n < 100; n += 1) ids.push(await service.submit(`number ${n} [sim:duration=10m]`));
  await signIn(page, service);
  assert.equal(await page.locator("#tasks li[data-id]").count() >= 48, true);
  await until("the oldest is there", async () => {
    await page.mouse.wheel(0, 4000);
    return (await card(page, ids[0]).count()) === 1;
  });
  const shown = await page.locator("#tasks li[data-id]").evaluateAll((items) => items.map((item) => item.dataset.id));
  assert.equal(new Set(shown).size, shown.length, "each task once");
  assert.deepEqual(shown, [...shown].sort().reverse());
});

story("a task tells its story while it happens", async (page) => {
  await signIn(page, service);
  const id = await service.submit("a harbour at night [sim:duration=3s,twice]");
  await page.goto(`${service.url}/tasks/${id}`);
  await isLive(page);
  await page.getByText("EvoLink answered the submit").waitFor();
  await page.locator(".media img").waitFor();
  await page.getByText("Event task.archived").waitFor();
  await page.getByText("Callback 1").first().waitFor();
  await page.locator("[data-part=timeline] summary").first().click();
  await page.locator("[data-part=timeline] pre").first().waitFor();
  await page.locator("[data-part=deliveries]").getByText("delivered").first().waitFor();
  await checkAccessibility(page, "task");
  await checkWidth(page, "task");
});

story("videos and sounds have controls", async (page) => {
  await signIn(page, service);
  for (const [kind, model, element] of [["videos", "veo", "video"], ["audios", "suno", "audio"]]) {
    const id = await service.submit(`something that moves [sim:duration=0s]`, {}, kind, model);
    await service.archived(id);
    await page.goto(`${service.url}/tasks/${id}`);
    await page.locator(`.media ${element}[controls]`).waitFor();
    await checkAccessibility(page, element);
  }
});

story("a dead delivery is sent again, from its task and from the page of troubles", async (page) => {
  endpoint.status = 410;
  try {
    await signIn(page, service);
    const id = await service.submit("a tower whose endpoint is gone [sim:duration=0s]");
    await service.archived(id);
    await page.goto(`${service.url}/tasks/${id}`);
    const delivery = page.locator("[data-part=deliveries] article");
    await delivery.filter({ hasText: /held|dead/ }).first().waitFor();
    await page.goto(`${service.url}/trouble`);
    await page.locator("[data-part=held], [data-part=dead]").getByRole("button", { name: /Retry delivery/ }).first().waitFor();
    await checkAccessibility(page, "trouble with deliveries");
    await checkWidth(page, "trouble");
    endpoint.status = 200;
    const button = page.getByRole("button", { name: /Retry delivery/ });
    for (let looks = 0; looks < 60; looks += 1) {
      await page.waitForTimeout(500);
      if (await button.count() === 0) break;
      // It may be delivered before the click, or before its answer.
      const isPressed = await button.first().click({ timeout: 5000 }).then(() => true, () => false);
      if (isPressed) await page.locator("#answer").filter({ hasText: /./ }).waitFor();
    }
    await page.goto(`${service.url}/tasks/${id}`);
    await delivery.filter({ hasText: "delivered" }).first().waitFor();
  } finally {
    endpoint.status = 200;
  }
});

story("a callback in quarantine is replayed", async (page) => {
  await signIn(page, service);
  const url = service.callbackUrl("shop");
  service.callback(url, "this is no task <script>alert(1)</script>");
  await page.goto(`${service.url}/trouble`);
  await page.locator("[data-part=quarantine]").getByText("unreadable").waitFor();
  await page.getByRole("button", { name: /Replay entry/ }).first().click();
  await page.locator("#answer.error").filter({ hasText: /JSON|body/ }).waitFor();
  const done = { id: "task-unified-1-browser", status: "completed", progress: 100, results: ["https://files.evolink.ai/a.png"] };
  assert.match(service.callback(url, JSON.stringify(done)), /recorded/);
  assert.match(service.callback(url, JSON.stringify({ ...done, status: "failed", results: [] })), /conflict/);
  await page.locator("[data-part=quarantine] li").filter({ hasText: "conflict" }).getByRole("button").click();
  await page.locator("#answer").filter({ hasText: "Replayed: conflict" }).waitFor();
  await page.locator("[data-part=quarantine] li").filter({ hasText: "replayed" }).waitFor();
  await checkAccessibility(page, "trouble");
}, { expected: [/status of (400|409|422)/] });

story("the form submits once, names what is wrong, and shows the task", async (page) => {
  await signIn(page, service);
  await page.goto(`${service.url}/try`);
  await checkAccessibility(page, "try");
  await checkWidth(page, "try");
  await page.getByLabel("Prompt").fill("a form that is filled in [sim:duration=1s]");
  await page.getByLabel("Size").fill("7:5");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByRole("alert").filter({ hasText: "size" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "size");
  await checkAccessibility(page, "try with an error");
  await page.getByLabel("Size").fill("16:9");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.waitForURL(/\/tasks\//);
  await page.getByRole("heading", { level: 1, name: /a form that is filled in/ }).waitFor();
  await page.locator(".badge").filter({ hasText: "completed" }).first().waitFor();
}, { expected: [/status of 400/] });

story("health draws its plots", async (page) => {
  await signIn(page, service);
  await page.goto(`${service.url}/health`);
  await page.locator(".plots[data-drawn]").waitFor();
  assert.equal(await page.locator(".plot canvas").count(), 5);
  await page.locator("[data-plot=callbacks] .legend").getByText("recorded").waitFor();
  await checkAccessibility(page, "health");
  await checkWidth(page, "health");
});

story("texts of others run nothing", async (page) => {
  await signIn(page, service);
  await isLive(page);
  const id = await service.submit(`${HOSTILE} [sim:duration=10m]`, { "x-client-reference": HOSTILE });
  await card(page, id).getByText("onerror=alert(1)").first().waitFor();
  const url = service.callbackUrl("hostile");
  const body = {
    id: "task-unified-1-evil", status: "failed", progress: 1,
    error: { code: HOSTILE, message: HOSTILE, type: "task_error" },
  };
  assert.match(service.callback(url, JSON.stringify(body)), /recorded/);
  const linked = { id: "task-unified-1-link", status: "completed", progress: 100, results: ["javascript:alert(4)"] };
  assert.match(service.callback(url, JSON.stringify(linked)), /recorded/);
  for (const name of [id, body.id, linked.id]) {
    await page.goto(`${service.url}/tasks/${name}`);
    await page.locator("[data-part=timeline] li").first().waitFor();
    for (const summary of await page.locator("summary").all()) await summary.click();
    assert.equal(await page.locator('a[href^="javascript"]').count(), 0);
    await checkAccessibility(page, "hostile task");
  }
  await page.goto(`${service.url}/?reference=${encodeURIComponent(HOSTILE)}`);
  assert.equal(await page.getByLabel("Reference").inputValue(), HOSTILE);
});

story("the page comes back by itself after a restart, and misses nothing", async (page) => {
  await signIn(page, service);
  await isLive(page);
  await page.evaluate(() => (window.isSame = true));
  await service.terminate();
  await page.getByText("No connection; trying again").waitFor();
  await service.serve();
  await isLive(page);
  await page.getByText("No connection; trying again").waitFor({ state: "detached" }).catch(() => {});
  const id = await service.submit("a task after the restart [sim:duration=0s]");
  await card(page, id).waitFor();
  assert.equal(await page.evaluate(() => window.isSame), true, "it was not loaded anew");
  assert.equal(await page.locator("#connection").textContent(), "");
});

story("on a phone and in the dark, everything can be reached by keyboard", async (page) => {
  await signIn(page, service);
  for (const path of ["/", "/?layout=table", "/health", "/trouble", "/try"]) {
    await page.goto(service.url + path);
    await checkWidth(page, path);
    await checkAccessibility(page, path);
  }
  await page.goto(service.url);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await page.keyboard.press("Enter");
  const reached = new Set();
  for (let n = 0; n < 12; n += 1) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.name || document.activeElement.textContent.trim()));
  }
  for (const name of ["Gallery", "Table", "status", "More filters"]) assert.ok(reached.has(name), `${name}: ${[...reached]}`);
}, { viewport: { width: 360, height: 740 }, colorScheme: "dark", deviceScaleFactor: 2, isMobile: true, hasTouch: true });

test("without keys and without tasks, the page says what comes next", async () => {
  const empty = await Service.start({ keys: false });
  const page = await browser.open(empty);
  try {
    await page.goto(empty.url);
    await page.getByRole("heading", { name: "No tasks yet" }).waitFor();
    await checkAccessibility(page, "no tasks");
    await isLive(page);
    const id = await empty.submit("the first one [sim:duration=1s]");
    await card(page, id).waitFor();
    assert.ok(await page.locator("#empty").isHidden());
    await page.goto(`${empty.url}/trouble`);
    await page.getByRole("heading", { name: "Nothing needs you" }).waitFor();
    await checkAccessibility(page, "no trouble");
    assert.deepEqual(page.complaints, []);
  } finally {
    await page.context().close();
    await empty.stop();
  }
});
