#!/usr/bin/env bash
# Runs the built image as an operator should: not root, root filesystem read-only, no capabilities, little memory. It
# must become healthy by its own check, answer a callback over TLS, end by SIGTERM with 0, and know the callback again
# in a new container on the same volume. Usage: run.sh TAG
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/container/podman.sh
tag=$1
name="evolink-receiver-test-$$"
work="$IMAGES/run"

cleanup() {
    local status=$?
    if [ "$status" != 0 ]; then podman logs "$name" 2>&1 | tail -n 40 || true; fi
    podman_end
    rm -rf "$work"
}

fail() {
    echo "container: $*" >&2
    exit 1
}

expect() { # WHAT WANTED GOT
    [ "$2" = "$3" ] || fail "$1 should be '$2' but is '$3'"
    echo "ok: $1 is '$3'"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# A certificate of our own for localhost, so that the client below checks it as EvoLink would.
write_config() {
    rm -rf "$work"
    mkdir -p "$work/etc"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout "$work/etc/tls.key" -out "$work/etc/tls.crt" 2>"$work/openssl.log" ||
        fail "no certificate: $(cat "$work/openssl.log")"
    cat >"$work/etc/config.toml" <<CONF
[public]
listen = "127.0.0.1:$public_port"
base_url = "https://localhost:$public_port"
[public.tls]
mode = "files"
cert_file = "/etc/evolink-receiver/tls.crt"
key_file = "/etc/evolink-receiver/tls.key"
[internal]
listen = "127.0.0.1:$internal_port"
[evolink]
base_url = "http://127.0.0.1:9"
api_key = "not-a-key"
CONF
    chown -R 65532:65532 "$work/etc"
    chmod 0400 "$work/etc/tls.key"
}

# The container's monitor outlives a run that is killed: it must not inherit the lock (descriptor 9).
start() {
    podman run --detach --name "$name" --network host \
        --read-only --read-only-tmpfs=false --cap-drop=ALL --security-opt=no-new-privileges \
        --memory 256m --memory-swap 256m --pids-limit 100 \
        --volume "$name:/data" --volume "$work/etc:/etc/evolink-receiver:ro" "$tag" \
        >/dev/null 2>"$work/podman.log" 9>&- || fail "podman run: $(cat "$work/podman.log")"
    local try
    for try in $(seq 100); do
        if podman healthcheck run "$name" >/dev/null 2>&1; then break; fi
        [ "$(podman inspect --format '{{.State.Running}}' "$name")" = true ] || fail "it ended at start"
        [ "$try" -lt 100 ] || fail "not healthy after $try tries"
        sleep 0.2
    done
    expect "health by its own check" healthy "$(podman inspect --format '{{.State.Health.Status}}' "$name")"
}

# What the kernel says of the process, not what podman was asked for.
check_confinement() {
    local pid status
    pid=$(podman inspect --format '{{.State.Pid}}' "$name")
    status=$(cat "/proc/$pid/status")
    expect "user" 65532 "$(awk '$1 == "Uid:" { print $2 }' <<<"$status")"
    expect "group" 65532 "$(awk '$1 == "Gid:" { print $2 }' <<<"$status")"
    expect "effective capabilities" 0000000000000000 "$(awk '$1 == "CapEff:" { print $2 }' <<<"$status")"
    expect "capabilities ever to be had" 0000000000000000 "$(awk '$1 == "CapBnd:" { print $2 }' <<<"$status")"
    expect "no new privileges" 1 "$(awk '$1 == "NoNewPrivs:" { print $2 }' <<<"$status")"
    expect "root filesystem" ro "$(awk '$2 == "/" { split($4, o, ","); print o[1] }' "/proc/$pid/mounts" | tail -n 1)"
    if podman exec "$name" /bin/sh -c true >/dev/null 2>&1; then fail "there is a shell in the image"; fi
    echo "ok: no shell in the image"
}

callback() { # prints the answer's body; anything but 200 over a verified TLS connection fails
    curl --silent --show-error --fail-with-body --max-time 10 --noproxy '*' --cacert "$work/etc/tls.crt" \
        --resolve "localhost:$public_port:127.0.0.1" --header 'Content-Type: application/json' \
        --data '{"id":"task-unified-1757165031-uyujaw3d","object":"image.generation.task","created":1757165031,
            "model":"z-image-turbo","type":"image","status":"completed","progress":100,
            "results":["https://files.evolink.ai/1757165031/a.png"]}' "$1" || fail "the callback was not taken"
}

result_of() {
    python3 -c 'import json, sys; print(json.loads(sys.argv[1])["result"])' "$1"
}

stop() {
    podman stop --time 30 "$name" >/dev/null 2>&1
    expect "exit code after SIGTERM" 0 "$(podman inspect --format '{{.State.ExitCode}}' "$name")"
    podman rm "$name" >/dev/null 2>&1
}

podman_begin
trap cleanup EXIT
public_port=$(free_port) internal_port=$(free_port)
write_config

start
check_confinement
# A standing token: the way to a callback address without a submit, and so without EvoLink.
url=$(podman exec "$name" /evolink-receiver callback-url --label container-test \
    --config /etc/evolink-receiver/config.toml | grep -o 'https://[^" ]*' | head -n 1)
[ -n "$url" ] || fail "callback-url printed no address"
expect "first callback" recorded "$(result_of "$(callback "$url")")"
stop

start
expect "the same callback in a new container" duplicate "$(result_of "$(callback "$url")")"
stop
