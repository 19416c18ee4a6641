#!/usr/bin/env bash
# The image runs without privileges, becomes healthy by its own check, and answers a callback over
# TLS. After SIGTERM it exits with 0, and a new container on the same volume knows the callback.
source tests/container/story.sh

# Checks what the kernel reports about the process, not what podman was asked for.
check_confinement() {
    local status
    status=$(cat "/proc/$PID/status")
    expect "health by its own check" healthy "$(inspect State.Health.Status)"
    expect "user" 65532 "$(awk '$1 == "Uid:" { print $2 }' <<<"$status")"
    expect "group" 65532 "$(awk '$1 == "Gid:" { print $2 }' <<<"$status")"
    expect "effective capabilities" 0000000000000000 "$(awk '$1 == "CapEff:" { print $2 }' <<<"$status")"
    expect "capabilities ever to be had" 0000000000000000 "$(awk '$1 == "CapBnd:" { print $2 }' <<<"$status")"
    expect "no new privileges" 1 "$(awk '$1 == "NoNewPrivs:" { print $2 }' <<<"$status")"
    expect "root filesystem" ro "$(awk '$2 == "/" { split($4, o, ","); print o[1] }' "/proc/$PID/mounts" | tail -n 1)"
    [ ! -e "/proc/$PID/root/tmp" ] || fail "there is a /tmp"
    if podman exec "$NAME" /bin/sh -c true >/dev/null 2>&1; then fail "there is a shell in the image"; fi
    echo "ok: no shell and no /tmp in the image"
}

callback() { # prints the answer's body; anything but 200 over a verified TLS connection fails
    curl --silent --show-error --fail-with-body --max-time 10 --noproxy '*' --cacert "$WORK/etc/tls.crt" \
        --resolve "localhost:$public_port:127.0.0.1" --header 'Content-Type: application/json' \
        --data '{"id":"task-unified-1757165031-uyujaw3d","object":"image.generation.task","created":1757165031,
            "model":"z-image-turbo","type":"image","status":"completed","progress":100,
            "results":["https://files.evolink.ai/1757165031/a.png"]}' "$1" || fail "the callback was not taken"
}

write_config </dev/null
start
check_confinement
# A standing token gives a callback address without a submit, and so without EvoLink.
url=$(podman exec "$NAME" /evolink-receiver callback-url --label container-test --config "$CONFIG" |
    grep -o 'https://[^" ]*' | head -n 1)
[ -n "$url" ] || fail "callback-url printed no address"
expect "first callback" recorded "$(field "$(callback "$url")" result)"
stop

start
expect "the same callback in a new container" duplicate "$(field "$(callback "$url")" result)"
stop
