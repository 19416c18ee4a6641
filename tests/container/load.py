"""The load that the container's stories put on the receiver: apps, EvoLink's callbacks, an endpoint of an app.

Each command is one phase of a story. It ends by itself, prints one line of JSON with its figures, and keeps what the
next phase needs in the file --state. Only the standard library is used, and only loopback is called.
"""

import argparse
import base64
import hashlib
import hmac
import http.client
import itertools
import json
import pathlib
import queue
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESULT = "https://files.evolink.ai/%s.webp"
# Waits before EvoLink's second, third and fourth attempt of a callback.
RETRY_DELAYS = (1, 2, 4)
CALL_TIMEOUT = 30


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--state", type=pathlib.Path, required=True)
    parser.add_argument("--internal", type=int, help="port of the internal listener")
    parser.add_argument("--public", type=int, help="port of the public listener")
    parser.add_argument("--certificate", help="PEM file that the public listener's certificate is checked with")
    parser.add_argument("--evolink", type=int, help="port of EvoLink's stand-in")
    parser.add_argument("--endpoint", type=int, help="port of the app's endpoint")
    parser.add_argument("--secret", help="the endpoint's whsec_ secret")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--bursts", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--padding", type=int, default=0, help="bytes that each callback of `trickle` is larger by")
    options = parser.parse_args()
    state = json.loads(options.state.read_text()) if options.state.exists() else {"urls": {}, "acknowledged": []}
    figures = COMMANDS[options.command](options, state)
    options.state.write_text(json.dumps(state))
    print(json.dumps(figures))


# ---- what runs at once


def at_once(work, items, threads):
    """Runs `work(item)` for all items in so many threads, and returns what it returned, in the order of `items`."""
    results = [None] * len(items)
    todo = queue.SimpleQueue()
    for entry in enumerate(items):
        todo.put(entry)

    def run():
        while True:
            try:
                number, item = todo.get_nowait()
            except queue.Empty:
                return
            results[number] = work(item)

    workers = [threading.Thread(target=run, daemon=True) for _ in range(min(threads, len(items)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(CALL_TIMEOUT * 20)
    return results


def tally(values):
    counts = {}
    for value in values:
        counts[str(value)] = counts.get(str(value), 0) + 1
    return counts


# ---- EvoLink


class EvolinkHandler(BaseHTTPRequestHandler):
    """Accepts each submit as a task that stays pending, and remembers its callback URL."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            task = "task-unified-1757165031-%08d" % len(self.server.urls)
            self.server.urls[task] = body["callback_url"]
        self.answer(200, {"id": task, "object": "image.generation.task", "status": "pending", "progress": 0})

    def do_GET(self):
        self.answer(200, {"id": self.path.rsplit("/", 1)[1], "status": "pending", "progress": 0})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def __init__(self, port, handler):
        super().__init__(("127.0.0.1", port), handler)
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()


def fill(options, state):
    """Submits --count tasks, --at-once at a time, to a receiver whose EvoLink is here."""
    evolink = Server(options.evolink, EvolinkHandler)
    evolink.urls = state["urls"]
    began = time.monotonic()
    prompts = [f"a fox, number {number}" for number in range(options.count)]
    statuses = at_once(lambda prompt: submit(options, prompt)[0], prompts, options.at_once)
    took = time.monotonic() - began
    evolink.shutdown()
    return {"submits": options.count, "answers": tally(statuses), "seconds": round(took, 1)}


def submit(options, prompt):
    connection = http.client.HTTPConnection("127.0.0.1", options.internal, timeout=CALL_TIMEOUT)
    try:
        body = json.dumps({"model": "z-image-turbo", "prompt": prompt})
        connection.request("POST", "/v1/images/generations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        return type(error).__name__, {}
    finally:
        connection.close()


# ---- callbacks


def burst(options, state):
    """Sends --bursts times --count callbacks that arrive at once, each over a TLS connection of its own."""
    results, latencies = [], []
    for _ in range(options.bursts):
        tasks = unacknowledged(state)[: options.count]
        release = threading.Barrier(len(tasks) + 1, timeout=CALL_TIMEOUT)
        answers = {}

        def call(task):
            connection = connect(options)
            try:
                connection.connect()
            except OSError as error:
                answers[task] = (type(error).__name__, 0)
            release.wait()
            if task not in answers:
                began = time.monotonic()
                answers[task] = (send(connection, state["urls"][task], task), time.monotonic() - began)
            connection.close()

        threads = [threading.Thread(target=call, args=(task,), daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        release.wait()
        for thread in threads:
            thread.join(CALL_TIMEOUT * 2)
        results += [answers[task][0] for task in tasks]
        latencies += [answers[task][1] for task in tasks]
        state["acknowledged"] += [task for task in tasks if answers[task][0] == 200]
    return {"callbacks": len(results), "answers": tally(results), "slowest_ms": round(max(latencies) * 1000)}


def storm(options, state):
    """Sends --count callbacks, --at-once at a time, each up to four times as EvoLink does, while the receiver is
    restarted. Says which were acknowledged."""

    def call(task):
        for attempt in range(len(RETRY_DELAYS) + 1):
            if attempt:
                time.sleep(RETRY_DELAYS[attempt - 1])
            connection = connect(options)
            status = send(connection, state["urls"][task], task)
            connection.close()
            if status == 200:
                return status, attempt
        return status, attempt

    tasks = unacknowledged(state)[: options.count]
    answers = at_once(call, tasks, options.at_once)
    state["acknowledged"] += [task for task, answer in zip(tasks, answers) if answer[0] == 200]
    retried = sum(attempt > 0 for _, attempt in answers)
    return {"callbacks": len(tasks), "answers": tally(status for status, _ in answers), "retried": retried}


def trickle(options, state):
    """Sends one callback after the other until one is answered --count, for at most --seconds."""
    began, answers = time.monotonic(), []
    for task in itertools.cycle(unacknowledged(state)):
        if time.monotonic() - began >= options.seconds:
            break
        connection = connect(options)
        answers.append(send(connection, state["urls"][task], task, options.padding))
        connection.close()
        if answers[-1] == 200 and task not in state["acknowledged"]:
            state["acknowledged"].append(task)
        if answers[-1] == options.count:
            return {"callbacks": len(answers), "answers": tally(answers), "seconds": round(time.monotonic() - began, 1)}
        time.sleep(0.05)
    sys.exit(f"no callback was answered {options.count} in {options.seconds} s: {tally(answers)}")


def unacknowledged(state):
    acknowledged = set(state["acknowledged"])
    return [task for task in state["urls"] if task not in acknowledged]


def connect(options):
    context = ssl.create_default_context(cafile=options.certificate)
    return http.client.HTTPSConnection("localhost", options.public, timeout=CALL_TIMEOUT, context=context)


def send(connection, url, task, padding=0):
    body = json.dumps({
        "id": task, "object": "image.generation.task", "created": 1757165031, "model": "z-image-turbo", "type": "image",
        "status": "completed", "progress": 100, "results": [RESULT % task], "padding": "x" * padding,
    })
    try:
        connection.request("POST", "/" + url.split("/", 3)[3], body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


# ---- what is there afterwards


def verify(options, state):
    """Fails unless each task whose callback was acknowledged is completed, with the result that was sent."""
    found = {}
    cursor = ""
    for _ in range(1000):
        page = get(options, f"/v1/tasks?limit=200{cursor}")
        found.update({task["id"]: task for task in page["data"]})
        if not page.get("next"):
            break
        cursor = f"&cursor={page['next']}"
    lost = [task for task in state["acknowledged"] if not is_kept(found.get(task), task)]
    missing = [task for task in state["urls"] if task not in found]
    acknowledged = len(state["acknowledged"])
    figures = {"tasks": len(found), "acknowledged": acknowledged, "lost": len(lost), "missing": len(missing)}
    if lost or missing:
        sys.exit(f"lost: {figures} {lost[:3]} {missing[:3]}")
    return figures


def is_kept(task, task_id):
    return task is not None and task["status"] == "completed" and RESULT % task_id in json.dumps(task)


def get(options, path):
    connection = http.client.HTTPConnection("127.0.0.1", options.internal, timeout=CALL_TIMEOUT)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status} {body[:200]}")
    return json.loads(body)


# ---- an app with an endpoint


class EndpointHandler(BaseHTTPRequestHandler):
    """Takes a delivery whose signature is right, and answers 400 to any other."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event, sent_at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        signed = f"{event}.{sent_at}.".encode() + body
        wanted = base64.b64encode(hmac.new(self.server.key, signed, hashlib.sha256).digest()).decode()
        signatures = self.headers["webhook-signature"].split()
        is_right = any(hmac.compare_digest(f"v1,{wanted}", given) for given in signatures)
        is_fresh = abs(time.time() - int(sent_at)) < 300
        with self.server.lock:
            self.server.count["right" if is_right and is_fresh else "wrong"] += 1
            if is_right:
                self.server.outcomes.setdefault(json.loads(body)["id"], set()).add(event)
        self.send_response(204 if is_right and is_fresh else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve_app(options, state):
    """An app: submits --count tasks, --at-once at a time, and waits until its endpoint has been sent each outcome."""
    endpoint = Server(options.endpoint, EndpointHandler)
    endpoint.key = base64.b64decode(options.secret.removeprefix("whsec_"))
    endpoint.count, endpoint.outcomes = {"right": 0, "wrong": 0}, {}
    began = time.monotonic()
    prompts = [f"a fox, number {number}" for number in range(options.count)]
    answers = at_once(lambda prompt: submit(options, prompt), prompts, options.at_once)
    took = time.monotonic() - began
    tasks = {body["id"] for status, body in answers if status == 200}
    while time.monotonic() - began < options.seconds and not tasks <= endpoint.outcomes.keys():
        time.sleep(0.05)
    lost = tasks - endpoint.outcomes.keys()
    figures = {
        "submits": options.count, "answers": tally(status for status, _ in answers), "submit_seconds": round(took, 1),
        "deliveries": endpoint.count, "outcomes": len(endpoint.outcomes), "lost": len(lost),
    }
    if lost or endpoint.count["wrong"] or any(len(events) != 1 for events in endpoint.outcomes.values()):
        sys.exit(f"not all was delivered, once and signed: {figures}")
    return figures


COMMANDS = {"app": serve_app, "burst": burst, "fill": fill, "storm": storm, "trickle": trickle, "verify": verify}

if __name__ == "__main__":
    main()
