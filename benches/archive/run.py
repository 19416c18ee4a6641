"""Compares the archive with curl: both fetch the same files from the same nginx, alternately, in one run.

    python3 benches/archive/run.py PROGRAM [--rounds N] [--tasks N] [--limit-rate RATE] [--results FOLDER]

It needs nginx and curl, calls only loopback, and writes to a temporary folder, whose file system is the disk under
test. Each round fetches TASKS x 1 to 4 files of 0.1 to 8 MB. A ratio is that of one round: the archive's rate, from the
first callback to the last file that is recorded, divided by curl's rate with as many transfers at once. While files are
fetched, one client sends callbacks at a steady pace; its 99th percentile is compared with that of a pause without
fetches, with that while curl fetches the same files beside an idle archive, and with that while as many tasks fail as
are completed later. --limit-rate is nginx's limit for each connection, such as 15m. --results is another folder for the
archive, such as one in memory.
"""

import argparse
import http.client
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

AT_ONCE = 8
PACE_S = 0.01
CONFIG = """
[public]
listen = "127.0.0.1:{public}"
base_url = "https://localhost:{public}"
tls = {{ mode = "off" }}
[internal]
listen = "127.0.0.1:{internal}"
[evolink]
base_url = "http://127.0.0.1:1"
api_key = "none"
[store]
url = "sqlite:{folder}/receiver.db"
[callback_tokens]
key_file = "{folder}/ring"
[forward]
secret_file = "{folder}/whsec"
[archive]
url = "file:{results}"
allow_networks = ["127.0.0.0/8"]
fetches_at_once = {at_once}
min_free = "0B"
[reconcile]
first_poll_after = "1h"
"""
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; default_type image/png; client_body_temp_path {folder}; proxy_temp_path {folder};
fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
server {{ listen 127.0.0.1:{port}; root {folder}/origin; limit_rate {rate}; }} }}
"""


def png(mark, data_bytes):
    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + b"crc."

    data = mark.to_bytes(8, "big") + bytes(data_bytes)
    header = b"\0\0\0\x08\0\0\0\x04\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def post(connection, path, body):
    began = time.perf_counter()
    connection.request("POST", path, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    return time.perf_counter() - began


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    for line in text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return 0.0


def memory(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


class Callbacks(threading.Thread):
    """Sends callbacks at a steady pace until it is stopped."""

    def __init__(self, port, path, name):
        super().__init__(daemon=True)
        self.port, self.path, self.name_, self.over, self.times = port, path, name, threading.Event(), []

    def run(self):
        connection, number = http.client.HTTPConnection("127.0.0.1", self.port), 0
        while not self.over.is_set():
            body = json.dumps({"id": f"task-{self.name_}-{number}", "status": "processing", "progress": 10})
            self.times.append(post(connection, self.path, body))
            number += 1
            self.over.wait(PACE_S)

    def p99(self):
        self.over.set()
        self.join()
        return statistics.quantiles(self.times, n=100)[98] * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--limit-rate", default="0")
    parser.add_argument("--results")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="archive-bench-"))
    children = []
    try:
        figures = measure(options, folder, children)
    finally:
        for child in children:
            child.terminate()
            child.wait()
        shutil.rmtree(folder)
    print(json.dumps(figures))


def measure(options, folder, children):
    random.seed(1)
    origin, public, internal = free_port(), free_port(), free_port()
    (folder / "origin").mkdir()
    sizes = [int(100_000 * 80 ** random.random()) for _ in range(64)]
    for number, size in enumerate(sizes):
        (folder / "origin" / f"{number}.png").write_bytes(png(number, size))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=origin, rate=options.limit_rate))
    (folder / "config.toml").write_text(
        CONFIG.format(folder=folder, results=options.results or folder / "results", public=public, internal=internal,
                      at_once=AT_ONCE)
    )
    children.append(subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]))
    with open(folder / "log", "w") as log:
        command = [options.program, "serve", "--config", str(folder / "config.toml")]
        service = subprocess.Popen(command, stdout=log, stderr=log)
    children.append(service)
    url = [options.program, "callback-url", "--label", "bench", "--config", str(folder / "config.toml")]
    for _ in range(100):
        try:
            metric(internal, "x")
            break
        except OSError:
            time.sleep(0.1)
    path = "/callbacks/" + subprocess.run(url, capture_output=True, text=True, check=True).stdout.split("/callbacks/")[1].strip()
    idle = memory(service.pid, "VmRSS")
    ratios, latencies, beside_curl, beside_outcomes, number = [], [], [], [], 0
    for turn in range(options.rounds):
        tasks = [[random.randrange(len(sizes)) for _ in range(random.randint(1, 4))] for _ in range(options.tasks)]
        files = [name for task in tasks for name in task]
        total = sum((folder / "origin" / f"{name}.png").stat().st_size for name in files)
        curl = curl_seconds(folder, origin, files)
        quiet = Callbacks(public, path, f"quiet-{turn}")
        quiet.start()
        time.sleep(5)
        quiet = quiet.p99()
        control = Callbacks(public, path, f"control-{turn}")
        control.start()
        curl_seconds(folder, origin, files)
        control = control.p99()
        connection = http.client.HTTPConnection("127.0.0.1", public)
        plain = Callbacks(public, path, f"plain-{turn}")
        plain.start()
        for n in range(options.tasks):
            error = {"code": "x", "message": "x"}
            post(connection, path, json.dumps({"id": f"task-failed-{turn}-{n}", "status": "failed", "error": error}))
        plain = plain.p99()
        before = metric(internal, "evolink_receiver_results_archived_bytes_total")
        busy = Callbacks(public, path, f"busy-{turn}")
        began = time.perf_counter()
        for task in tasks:
            number += 1
            urls = [f"http://127.0.0.1:{origin}/{name}.png" for name in task]
            post(connection, path, json.dumps({"id": f"task-{number}", "status": "completed", "results": urls}))
            if number % options.tasks == 1:
                busy.start()
        while metric(internal, "evolink_receiver_results_archived_bytes_total") - before < total:
            assert service.poll() is None, "the receiver ended"
            time.sleep(0.05)
        ours = time.perf_counter() - began
        busy = busy.p99()
        ratios.append(curl / ours)
        latencies.append(busy / quiet)
        beside_curl.append(busy / control)
        beside_outcomes.append(busy / plain)
        print(f"{len(files)} files, {total / 1e6:.0f} MB: curl {curl:.1f} s, archive {ours:.1f} s, ratio {curl / ours:.2f}; "
              f"p99 of callbacks {quiet:.1f} ms, beside curl {control:.1f} ms, "
              f"beside outcomes without files {plain:.1f} ms, meanwhile {busy:.1f} ms", file=sys.stderr)
    return {
        "ratio": round(statistics.median(ratios), 3), "ratios": [round(ratio, 3) for ratio in ratios],
        "p99_ratio": round(statistics.median(latencies), 2),
        "p99_ratio_to_curl": round(statistics.median(beside_curl), 2),
        "p99_ratio_to_outcomes": round(statistics.median(beside_outcomes), 2),
        "memory_idle_mib": round(idle, 1), "memory_peak_mib": round(memory(service.pid, "VmHWM"), 1),
    }


def curl_seconds(folder, port, files):
    """Fetches each file into a file of its own, and waits until all are on the disk."""
    out = folder / "curl"
    out.mkdir()
    lines = [f'url = "http://127.0.0.1:{port}/{name}.png"\noutput = "{out}/{n}"' for n, name in enumerate(files)]
    (folder / "curl.conf").write_text("\n".join(lines))
    began = time.perf_counter()
    command = ["curl", "--silent", "--no-progress-meter", "--fail", "--parallel", "--parallel-max", str(AT_ONCE), "--config", str(folder / "curl.conf")]
    subprocess.run(command, check=True)
    subprocess.run(["sync", "-f", str(out)], check=True)
    took = time.perf_counter() - began
    shutil.rmtree(out)
    return took


if __name__ == "__main__":
    main()
