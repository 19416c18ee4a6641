#!/usr/bin/env bash
# Runs the stories of the built image one after the other: tests/container/stories/*.sh. Each story
# starts the image as an operator should (story.sh), and prints its figures. Usage: run.sh TAG
# [STORY…]
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/container/podman.sh
export TAG=$1
shift
stories=("$@")
if [ ${#stories[@]} = 0 ]; then
    for file in tests/container/stories/*.sh; do stories+=("$(basename "$file" .sh)"); done
fi

podman_begin
export WORK="$IMAGES/run"
trap 'podman_end; rm -rf "$WORK"' EXIT

failed=() summary=""
for story in "${stories[@]}"; do
    printf '\n-- %s\n' "$story"
    rm -rf "$WORK"
    mkdir -p "$WORK"
    started=$SECONDS
    # Close the lock (descriptor 9) for the story: a container's monitor would outlive a killed run
    # and keep the lock.
    status=0
    bash "tests/container/stories/$story.sh" 9>&- || status=$?
    case "$status" in
        0) result=passed ;;
        77) result=skipped && if [ -n "${CI:-}" ]; then failed+=("$story"); fi ;;
        *) result=FAILED failed+=("$story") ;;
    esac
    figures=$(cat "$WORK/figures" 2>/dev/null || true)
    summary+=$(printf '%-14s %4d s  %s' "$story" $((SECONDS - started)) "$result")$'\n'
    if [ -n "$figures" ]; then summary+=$(sed 's/^/    /' <<<"$figures")$'\n'; fi
    podman rm --all --force --time 0 >/dev/null 2>&1 || true
done
printf '\n-- stories\n%s' "$summary"
if [ ${#failed[@]} != 0 ]; then
    echo "container: failed: ${failed[*]}" >&2
    exit 1
fi
