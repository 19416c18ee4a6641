"""Takes webhooks: python hooks.py PORT. WEBHOOK_SECRET is in the environment."""
import base64, hashlib, hmac, http.server, json, os, sys, time


def is_ours(headers, body):
    """Whether the receiver signed the body, which is the bytes as they arrived."""
    event, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "0")
    key = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
    mac = hmac.new(key, f"{event}.{sent}.".encode() + body, hashlib.sha256).digest()
    wanted = b"v1," + base64.b64encode(mac)
    given = headers.get("webhook-signature", "").encode().split(b" ")
    is_fresh = abs(time.time() - int(sent)) < 300
    return is_fresh and any(hmac.compare_digest(wanted, one) for one in given)


class Hooks(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        ours = is_ours(self.headers, body)
        self.send_response(204 if ours else 401)
        self.end_headers()
        # The same event may come twice: keep the ids that you have handled.
        print(self.headers["webhook-id"], json.loads(body)["id"] if ours else "refused", flush=True)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hooks).serve_forever()
