#!/usr/bin/env bash
# `tests/browser/run.sh` runs the stories of the dashboard in Chromium; `tests/browser/run.sh screenshots` makes the
# pictures in docs/. Both need `chromium`, Node and npm. MODULES is where the two npm packages are kept.
set -euo pipefail
cd "$(dirname "$0")/../.."

TARGET="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
MODULES="${BROWSER_MODULES:-$TARGET/browser-modules}"
PLAYWRIGHT=1.65.1
AXE=4.14.1

if [ ! -e "$MODULES/node_modules/axe-core/axe.min.js" ]; then
    mkdir -p "$MODULES"
    echo '{"private": true}' >"$MODULES/package.json"
    npm install --prefix "$MODULES" --no-audit --no-fund --ignore-scripts --loglevel=error \
        "playwright-core@$PLAYWRIGHT" "axe-core@$AXE"
fi
if [ -z "${RECEIVER:-}" ]; then
    cargo build --locked --bin evolink-receiver
    RECEIVER="$TARGET/debug/evolink-receiver"
fi
export RECEIVER BROWSER_MODULES="$MODULES" CHROMIUM="${CHROMIUM:-$(command -v chromium)}"
case "${1:-stories}" in
    stories) exec node --test --test-reporter=spec --test-concurrency=1 tests/browser/stories.test.mjs ;;
    screenshots) mkdir -p docs/pictures && exec node tests/browser/screenshots.mjs ;;
    *) sed -n '2,3s/^# //p' "$0" >&2; exit 64 ;;
esac
