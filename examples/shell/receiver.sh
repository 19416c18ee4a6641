#!/usr/bin/env bash
# A client of evolink-receiver with curl, jq and openssl.
#
#   receiver.sh image "a cute cat" cat.webp     # submit, wait, download
#   receiver.sh follow cursor.txt               # the events since the last time
#   receiver.sh verify ID TIMESTAMP SIGNATURE body.json    # of a webhook: its headers and its body
#
# RECEIVER_URL, RECEIVER_KEY and, for webhooks, WEBHOOK_SECRET come from the environment.
set -euo pipefail

# Longer than the longest wait, 50 s. curl repeats 408, 429, 500, 502, 503 and 504 by itself with
# --retry, and must not: after a 504 EvoLink may have charged the submit.
call() { # PATH [CURL ARGUMENT…]
    local path=$1
    shift
    curl --silent --show-error --fail-with-body --max-time 60 \
        -H "Authorization: Bearer ${RECEIVER_KEY:-none}" "$@" "$RECEIVER_URL$path"
}

image() { # PROMPT FILE
    local order key task
    order=$(jq -n --arg prompt "$1" '{model: "z-image-turbo", prompt: $prompt, size: "1:1"}')
    # Keep the key with your order: one key is one paid picture, however often you ask.
    key=$(cat /proc/sys/kernel/random/uuid)
    task=$(call '/v1/images/generations?wait=50' -H "Idempotency-Key: $key" --json "$order")
    while [ "$(jq .receiver.finished <<<"$task")" != true ]; do
        task=$(call "/v1/tasks/$(jq -r .receiver.submission_id <<<"$task")?wait=50")
    done
    if [ "$(jq -r .status <<<"$task")" != completed ]; then jq .error <<<"$task" && exit 1; fi
    call "/v1/tasks/$(jq -r .id <<<"$task")/results/0?wait=50" -o "$2"
    echo "$(jq -r .id <<<"$task") $(wc -c <"$2")"
}

follow() { # FILE
    local after page
    after=$(cat "$1" 2>/dev/null || echo 0)
    while :; do
        page=$(call "/v1/events?limit=100&after=$after")
        jq -r '.data[] | "\(.id) \(.type) \(.task_id)"' <<<"$page" # Handle them here.
        after=$(jq -r .next <<<"$page")
        printf %s "$after" >"$1" # Only now: what was not handled comes again.
        if [ "$(jq .caught_up <<<"$page")" = true ]; then return; fi
    done
}

verify() { # ID TIMESTAMP SIGNATURE BODY_FILE
    local key wanted age=$(($(date +%s) - $2))
    key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | base64 -d | od -An -tx1 | tr -d ' \n')
    wanted=v1,$({ printf '%s.%s.' "$1" "$2"; cat "$4"; } |
        openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
    if [ "${age#-}" -gt 300 ] || [[ " $3 " != *" $wanted "* ]]; then echo "$1 refused" && exit 1; fi
    echo "$1 $(jq -r .id "$4")"
}

case "${1-}" in
    image | follow | verify) "$@" ;;
    *) sed -n '4,6s/^# *//p' "$0" && exit 64 ;;
esac
