# shellcheck shell=bash
# Shared functions of the stories. Each story is a separate file in stories/, which run.sh runs and
# which sources this file.
#
# The container runs as an operator should run it: not as root, with a read-only root filesystem
# without /tmp, no capabilities, 256 MiB of memory (or MEMORY), and only the volume /data writable.
set -euo pipefail
NAME="evolink-receiver-test-$$"
ETC=/etc/evolink-receiver
CONFIG="$ETC/config.toml"
# Further arguments of a story for `podman run`, and the volume of /data.
RUN_OPTIONS=()
DATA_VOLUME="$NAME:/data"
CLEANUP=()

cleanup() {
    local status=$? command
    if [ "$status" != 0 ]; then podman logs "$NAME" 2>&1 | tail -n 40 >&2 || true; fi
    podman rm --force --time 0 --volumes "$NAME" >/dev/null 2>&1 || true
    for command in "${CLEANUP[@]}"; do $command >/dev/null 2>&1 || true; done
}
trap cleanup EXIT

fail() {
    echo "container: $*" >&2
    exit 1
}

expect() { # WHAT WANTED GOT
    [ "$2" = "$3" ] || fail "$1 should be '$2' but is '$3'"
    echo "ok: $1 is '$3'"
}

# Adds a line to the story's figures. run.sh prints them again at the end.
figure() {
    echo "figure: $*"
    echo "$*" >>"$WORK/figures"
}

# No story fetches from another host.
ARCHIVE_CONFIG=$'[archive]\nenabled = false'

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# A certificate of our own for localhost, so that clients verify it as EvoLink would. Additional
# configuration is read from standard input.
write_config() {
    public_port=$(free_port) internal_port=$(free_port) evolink_port=$(free_port) endpoint_port=$(free_port)
    mkdir -p "$WORK/etc"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout "$WORK/etc/tls.key" -out "$WORK/etc/tls.crt" \
        2>"$WORK/openssl.log" ||
        fail "no certificate: $(cat "$WORK/openssl.log")"
    cat >"$WORK/etc/config.toml" <<CONF
[public]
listen = "127.0.0.1:$public_port"
base_url = "https://localhost:$public_port"
[public.tls]
mode = "files"
cert_file = "$ETC/tls.crt"
key_file = "$ETC/tls.key"
[internal]
listen = "127.0.0.1:$internal_port"
[evolink]
base_url = "http://127.0.0.1:$evolink_port"
api_key = "a-key-of-the-container-test"
submits_per_second = 1000
$ARCHIVE_CONFIG
CONF
    cat >>"$WORK/etc/config.toml"
    chown -R 65532:65532 "$WORK/etc"
    chmod 0400 "$WORK/etc/tls.key"
}

confined() { # podman run OPTION… in the form that is deployed
    podman run --network host \
        --read-only --read-only-tmpfs=false --cap-drop=ALL --security-opt=no-new-privileges \
        --memory "${MEMORY:-256m}" --memory-swap "${MEMORY:-256m}" --pids-limit 100 --volume "$DATA_VOLUME" "$@"
}

start() {
    confined --detach --name "$NAME" --volume "$WORK/etc:$ETC:ro" "${RUN_OPTIONS[@]}" "$TAG" "$@" \
        >/dev/null 2>"$WORK/podman.log" || fail "podman run: $(cat "$WORK/podman.log")"
    until_healthy
    PID=$(pid)
}

until_healthy() {
    local try
    for try in $(seq 100); do
        if podman healthcheck run "$NAME" >/dev/null 2>&1; then return; fi
        is_running || fail "it ended with exit code $(inspect State.ExitCode)"
        sleep 0.2
    done
    fail "not healthy after $try tries"
}

inspect() {
    podman inspect --format "{{.$1}}" "$NAME"
}

is_running() {
    [ "$(inspect State.Running)" = true ]
}

pid() {
    inspect State.Pid
}

# Fails unless the same process has been running since `start`, without an exit or a restart.
expect_alive() {
    is_running ||
        fail "it ended with exit code $(inspect State.ExitCode), out of memory: $(inspect State.OOMKilled)"
    expect "process" "$PID" "$(pid)"
}

# Peak of the process's own memory. The kernel's count for the container also includes the page
# cache.
peak_memory() {
    awk '$1 == "VmHWM:" { printf "%d MiB", $2 / 1024 }' "/proc/$PID/status"
}

stop() {
    podman stop --time 30 "$NAME" >/dev/null 2>&1
    expect "exit code after SIGTERM" 0 "$(inspect State.ExitCode)"
    podman rm "$NAME" >/dev/null 2>&1
}

# Simulates a crash. The volume stays.
kill_hard() {
    podman kill --signal KILL "$NAME" >/dev/null 2>&1
    podman wait "$NAME" >/dev/null 2>&1 || true
    podman rm --force "$NAME" >/dev/null 2>&1
}

load() { # COMMAND OPTION…, see load.py
    timeout 240 python3 tests/container/load.py "$@" --state "$WORK/state.json" --internal "$internal_port" \
        --public "$public_port" --certificate "$WORK/etc/tls.crt" --evolink "$evolink_port" --endpoint "$endpoint_port"
}

field() { # JSON NAME…: a figure, `None` if it is not there
    python3 -c '
import json, sys
value = json.loads(sys.argv[1])
for name in sys.argv[2:]:
    value = (value or {}).get(name)
print(value)' "$@"
}
