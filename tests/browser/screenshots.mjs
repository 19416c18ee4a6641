// Makes the pictures of the dashboard in docs/: `tests/browser/run.sh screenshots`.

import { join } from "node:path";

import { Browser, Service, until } from "./harness.mjs";

const OUT = process.env.SCREENSHOTS ?? "docs/pictures";

const PROMPTS = [
  ["a night train through the mountains", "audios", "suno-v5"],
  ["an orchard in spring, slow camera", "videos", "veo-3.1"],
  ["a lighthouse in the rain, oil on canvas"],
  ["a cute cat asleep on a keyboard"],
  ["a rainy market street, reflections of neon"],
  ["a paper boat on a still lake"],
  ["a fox in deep snow, early light"],
  ["a harbour at dusk with fishing boats [sim:fail]"],
  ["a kite above the dunes"],
  ["an old library with a spiral staircase"],
  ["a bowl of lemons, still life"],
  ["a tram in Lisbon, watercolour"],
];

const browser = await Browser.start();
const service = await Service.start({ keys: false });
const ids = [];
for (const [prompt, kind, model] of PROMPTS) {
  const id = await service.submit(prompt, { "x-client-reference": `order-${1042 + ids.length}` }, kind, model);
  ids.push(id);
  await service.archived(id);
}
const url = service.callbackUrl("newsletter");
service.callback(url, "<html>502 Bad Gateway</html>");
service.callback(`${service.callbacks}/callbacks/k1.no-token.at-all`, "{}");
await service.submit("a mill by the river [sim:reset]");
await service.submit("a castle of sand at high tide [sim:duration=20s]");
await service.submit("a herd of wild horses [sim:duration=30s]");
await until("they run", async () => {
  const page = await service.call("GET", "/v1/tasks?status=processing");
  return page.body.data.length >= 2 && page.body.data.every((task) => task.progress > 20);
});

const views = [
  ["light", { colorScheme: "light" }, ["tasks", "table", "task", "health", "trouble", "try"]],
  ["dark", { colorScheme: "dark" }, ["tasks", "task", "health"]],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }, ["tasks", "task", "health"]],
];
const paths = { tasks: "/", table: "/?layout=table", task: `/tasks/${ids[2]}`, health: "/health", trouble: "/trouble", try: "/try" };
for (const [look, options, names] of views) {
  for (const name of names) {
    const page = await browser.open(service, options);
    await page.goto(service.url + paths[name]);
    await page.waitForLoadState("load");
    if (name === "health") await page.locator(".plots[data-drawn]").waitFor();
    await until("the pictures are drawn", () => page.evaluate(() =>
      [...document.images].filter((image) => image.getBoundingClientRect().top < innerHeight).every((image) => image.naturalWidth > 0)));
    await page.waitForTimeout(700);
    await page.screenshot({ path: join(OUT, `dashboard-${name}-${look}.png`), animations: "disabled" });
    await page.context().close();
  }
}
await browser.stop();
await service.stop();
