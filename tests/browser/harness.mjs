// A real receiver, a simulator of EvoLink and a real browser, for the stories of the dashboard.

import assert from "node:assert/strict";
import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createServer as createHttpServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHash, randomBytes } from "node:crypto";

const require = createRequire(join(process.env.BROWSER_MODULES, "package.json"));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const PROGRAM = process.env.RECEIVER;
export const ADMIN_KEY = "erk_browser-all-scopes-0123456789";
export const READ_KEY = "erk_browser-only-reads-0123456789";

/** The longest wait for anything. A slow machine needs seconds. */
export const PATIENCE = Number(process.env.PATIENCE_MS ?? 60000);

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function until(what, check) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await check();
    if (found) return found;
    assert.ok(Date.now() < end, `in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const digest = (key) => createHash("sha256").update(key).digest("hex");

/** A service with its simulator, in a folder of its own. */
export class Service {
  static async start({ keys = true, endpoint = null } = {}) {
    const service = new Service();
    service.folder = mkdtempSync(join(tmpdir(), "evolink-receiver-browser-"));
    const [internal, publicPort, simulator] = [await freePort(), await freePort(), await freePort()];
    service.url = `http://127.0.0.1:${internal}`;
    service.callbacks = `https://127.0.0.1:${publicPort}`;
    service.keys = keys;
    const all = `
[[internal.api_keys]]
name = "operator"
sha256 = "${digest(ADMIN_KEY)}"
scopes = ["submit", "read", "admin"]
[[internal.api_keys]]
name = "reader"
sha256 = "${digest(READ_KEY)}"
scopes = ["read"]
`;
    const secret = join(service.folder, "billing.whsec");
    writeFileSync(secret, `whsec_${randomBytes(32).toString("base64")}\n`, { mode: 0o600 });
    service.config = join(service.folder, "config.toml");
    writeFileSync(service.config, `
[public]
listen = "127.0.0.1:${publicPort}"
base_url = "${service.callbacks}"
self_test = "0s"
[public.tls]
mode = "self-signed"
self_signed_dir = "${service.folder}"
[internal]
listen = "127.0.0.1:${internal}"
[evolink]
base_url = "http://127.0.0.1:${simulator}"
api_key = "sk-any-key-for-the-simulator"
submits_per_second = 1000
[store]
url = "sqlite:${join(service.folder, "receiver.db")}"
min_free = "0B"
[callback_tokens]
key_file = "${join(service.folder, "callback_tokens.key")}"
[reconcile]
first_poll_after = "2s"
[archive]
url = "file:${join(service.folder, "results")}"
allow_networks = ["127.0.0.0/8"]
min_free = "0B"
[forward]
secret_file = "${join(service.folder, "forward.whsec")}"
${endpoint ? `[[forward.endpoints]]\nname = "billing"\nurl = "${endpoint}"\nevents = ["task.completed"]\nsecret_file = "${secret}"\n` : ""}
${keys ? all : ""}`);
    await service.serve();
    const trusted = join(service.folder, "self-signed.crt");
    service.simulator = spawn(PROGRAM, ["simulate", "--listen", `127.0.0.1:${simulator}`,
      "--allow-private-callbacks", "--callback-ca-file", trusted, "--task-duration", "1s"],
    { stdio: "ignore", env: {} });
    await until("the simulator answers", async () =>
      fetch(`http://127.0.0.1:${simulator}/`).then(() => true, () => false));
    return service;
  }

  async serve() {
    this.receiver = spawn(PROGRAM, ["serve", "--config", this.config],
      { stdio: ["ignore", "pipe", "pipe"], env: { RUST_LOG: "info" } });
    this.log = "";
    for (const stream of [this.receiver.stdout, this.receiver.stderr]) {
      stream.on("data", (text) => (this.log += text));
    }
    await until("the receiver is ready", async () => {
      assert.equal(this.receiver.exitCode, null, this.log);
      return fetch(`${this.url}/readyz`).then((answer) => answer.ok, () => false);
    });
  }

  /** Stops the receiver as a deploy does. */
  async terminate() {
    const ended = new Promise((resolve) => this.receiver.once("exit", resolve));
    this.receiver.kill("SIGTERM");
    assert.equal(await ended, 0, this.log);
  }

  async call(method, path, body, headers = {}) {
    const answer = await fetch(this.url + path, {
      method,
      body: body && JSON.stringify(body),
      headers: {
        ...(body ? { "content-type": "application/json" } : {}),
        ...(this.keys ? { authorization: `Bearer ${ADMIN_KEY}` } : {}),
        ...headers,
      },
    });
    return { status: answer.status, headers: answer.headers, body: await answer.json() };
  }

  /** Submits a picture. Returns the submission id. */
  async submit(prompt, headers = {}, kind = "images", model = "z-image-turbo") {
    const answer = await this.call("POST", `/v1/${kind}/generations`, { model, prompt }, headers);
    return answer.headers.get("x-submission-id");
  }

  async archived(id) {
    const answer = await this.call("GET", `/v1/tasks/${id}?wait=50&for=archived`);
    assert.equal(answer.body.receiver.finished, true, JSON.stringify(answer.body));
  }

  /** The shared callback URL with this label. */
  callbackUrl(label) {
    const printed = execFileSync(PROGRAM, ["callback-url", "--label", label, "--config", this.config], { env: {} });
    return printed.toString().match(/https:\S+/)[0];
  }

  /** Posts a callback as EvoLink does. */
  callback(url, body) {
    const sent = execFileSync("curl", ["-sk", "-X", "POST", "-H", "Content-Type: application/json", "--data-binary", "@-", url], { input: body });
    return sent.toString();
  }

  async stop() {
    this.simulator?.kill("SIGKILL");
    if (this.receiver.exitCode === null) await this.terminate();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** An endpoint that answers every delivery with `status`, which may be changed. */
export class Endpoint {
  static async start(status) {
    const endpoint = new Endpoint();
    endpoint.status = status;
    endpoint.received = 0;
    endpoint.server = createHttpServer((request, response) => {
      request.resume().on("end", () => {
        endpoint.received += 1;
        response.writeHead(endpoint.status).end();
      });
    });
    await new Promise((resolve) => endpoint.server.listen(0, "127.0.0.1", resolve));
    endpoint.url = `http://127.0.0.1:${endpoint.server.address().port}/hook`;
    return endpoint;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** The browser. Everything that a page must not do is kept in `complaints`. */
export class Browser {
  static async start() {
    const browser = new Browser();
    browser.chromium = await chromium.launch({
      executablePath: process.env.CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    });
    return browser;
  }

  /** A page of a browser that has no session yet. */
  async open(service, options = {}) {
    const context = await this.chromium.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.complaints = [];
    page.expected = options.expected ?? [];
    const complain = (text) => {
      if (!page.expected.some((pattern) => pattern.test(text))) page.complaints.push(text);
    };
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
      });
      window.alert = () => console.error("a script of others ran");
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(service.url) && !request.url().startsWith("blob:")) {
        complain(`request to ${request.url()}`);
      }
    });
    page.on("dialog", (dialog) => { complain(`dialog ${dialog.message()}`); dialog.dismiss(); });
    page.on("pageerror", (error) => complain(`error ${error.stack}`));
    page.on("console", (message) => {
      const isLost = /ERR_(CONNECTION|INCOMPLETE|EMPTY)|status of (401|503)/.test(message.text());
      if (message.type() === "error" && !isLost) complain(`console ${message.text()}`);
    });
    return page;
  }

  stop() {
    return this.chromium.close();
  }
}

export async function signIn(page, service, key = ADMIN_KEY) {
  await page.goto(`${service.url}/sign-in`);
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/** Runs axe on the page, with all of its rules. */
export async function checkAccessibility(page, name) {
  // The library is run beside the page, not in it: the policy of the page forbids it.
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const world = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", {
      expression, contextId: world.executionContextId, awaitPromise: true, returnByValue: true,
    });
    assert.equal(exceptionDetails, undefined, JSON.stringify(exceptionDetails));
    return result.value;
  };
  await evaluate(`${AXE}; undefined`);
  const violations = await evaluate(`axe.run(document, { resultTypes: ["violations"] }).then((found) =>
    found.violations.map((rule) => rule.id + ": " + rule.nodes.map((node) => node.html + " " + node.failureSummary).join("; ")))`);
  await session.detach();
  assert.deepEqual(violations, [], `${name}: ${violations.join("\n")}`);
}

/** Asserts that nothing needs scrolling to the side, in fonts of 1, 1.5 and 2 times the size. */
export async function checkWidth(page, name) {
  for (const size of ["100%", "150%", "200%"]) {
    const excess = await page.evaluate((size) => {
      document.documentElement.style.fontSize = size;
      return document.documentElement.scrollWidth - document.documentElement.clientWidth;
    }, size);
    assert.ok(excess <= 0, `${name} at ${size} is ${excess} px too wide`);
  }
  await page.evaluate(() => document.documentElement.style.removeProperty("font-size"));
}
