// Takes webhooks: node hooks.ts PORT. WEBHOOK_SECRET is in the environment.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";

const secret = process.env.WEBHOOK_SECRET!;

// `body` is the bytes as they arrived.
function isOurs(headers: IncomingHttpHeaders, body: Buffer): boolean {
  const header = (name: string) => String(headers[name] ?? "");
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const sent = header("webhook-timestamp");
  const mac = createHmac("sha256", key).update(`${header("webhook-id")}.${sent}.`).update(body);
  const wanted = Buffer.from("v1," + mac.digest("base64"));
  const isFresh = Math.abs(Date.now() / 1000 - Number(sent)) < 300;
  const given = header("webhook-signature").split(" ").map((one) => Buffer.from(one));
  const matches = (one: Buffer) => one.length === wanted.length && timingSafeEqual(one, wanted);
  return isFresh && given.some(matches);
}

const server = createServer(async (request, answer) => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  const ours = isOurs(request.headers, body);
  answer.writeHead(ours ? 204 : 401).end();
  // The same event may come twice: keep the ids that you have handled.
  console.log(request.headers["webhook-id"], ours ? JSON.parse(String(body)).id : "refused");
});
server.listen(Number(process.argv[2]), "127.0.0.1");
