#!/usr/bin/env bash
# with_cluster.sh CMD…: runs CMD, with a temporary PostgreSQL server for its tests. It works as root
# and as a normal user.
#
# The server does not wait for the disk: it is for tests of what the program does, not of what
# survives a crash.
set -euo pipefail

SERVER_USER=postgres
READY_WITHIN_S=60

binaries() { # the newest server here, or the one in the path
    local folder newest=""
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do
        if [ -x "$folder/postgres" ]; then newest=$folder; fi
    done
    if [ -n "$newest" ]; then echo "$newest"; else dirname "$(command -v postgres)"; fi
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

end() {
    if [ -n "$SERVER" ]; then
        kill -QUIT "$SERVER" 2>/dev/null || true
        wait "$SERVER" || true
    fi
    cd /
    rm -rf "$FOLDER"
}

wait_until_ready() {
    local deadline=$((SECONDS + READY_WITHIN_S))
    until "$BIN/pg_isready" -q -h 127.0.0.1 -p "$PORT"; do
        if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$SERVER" 2>/dev/null; then
            cat "$FOLDER/log" >&2
            exit 1
        fi
        sleep 0.05
    done
}

BIN=$(binaries)
PORT=$(free_port)
FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/postgres.XXXXXX")
SERVER=""
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# The server quits when this script ends, even by SIGKILL. The server refuses to run as root.
AS_SERVER=(setpriv --pdeathsig=QUIT)
if [ "$(id -u)" = 0 ]; then
    chown "$SERVER_USER": "$FOLDER"
    AS_SERVER+=(--reuid="$SERVER_USER" --regid="$SERVER_USER" --init-groups)
fi
PROJECT=$PWD
cd "$FOLDER"
# Text is sorted as on many production servers, and not by its bytes.
"${AS_SERVER[@]}" "$BIN/initdb" -D data --auth=trust --username="$SERVER_USER" --encoding=UTF8 --no-sync \
    --locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US >"$FOLDER/log" 2>&1 || { cat "$FOLDER/log" >&2; exit 1; }
"${AS_SERVER[@]}" "$BIN/postgres" -D data -k "$FOLDER" -h 127.0.0.1 -p "$PORT" -c max_connections=500 \
    -c fsync=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0 >>"$FOLDER/log" 2>&1 &
SERVER=$!
wait_until_ready
cd "$PROJECT"
EVOLINK_RECEIVER_TEST_STORE=postgres \
    EVOLINK_RECEIVER_TEST_POSTGRES_URL="postgres://$SERVER_USER@127.0.0.1:$PORT/postgres" "$@"
