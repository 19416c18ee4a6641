#!/usr/bin/env bash
# Builds the program for arm64 as the Dockerfile does with `--platform linux/arm64`, puts it into an
# image for that platform, and runs the demo in an emulator. It takes as long as a release build, so
# `./test --long` runs it. Usage: arm64.sh TAG
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/container/podman.sh
tag=$1 target=aarch64-unknown-linux-gnu
profile=${PROFILE:-release}

rustup target add "$target" >/dev/null
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --profile "$profile" --target "$target"
program="${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/evolink-receiver"

podman_begin
trap podman_end EXIT
container=$(buildah from --arch arm64 scratch)
root=$(buildah mount "$container")
install -D "$program" "$root/evolink-receiver"
install -D /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
buildah config --arch arm64 --user 65532:65532 --entrypoint '["/evolink-receiver"]' --cmd serve "$container"
buildah commit --quiet --rm "$container" "$tag" >/dev/null
[ "$(podman image inspect --format '{{.Architecture}}' "$tag")" = arm64 ]

qemu-aarch64-static "$program" --version
data=$(mktemp -d)
timeout 300 qemu-aarch64-static "$program" demo --once --json --data-dir "$data" | tail -n 1 | python3 tests/demo_summary.py
rm -rf "$data"
echo "$tag: arm64, program $(stat -c %s "$program") bytes, in $SECONDS s"
