#!/usr/bin/env bash
# Builds the Dockerfile's base image under its public name where it cannot be pulled: Debian with
# gcc and the Rust toolchain, like the public image. Does nothing if the image exists. Fails on a
# machine that cannot run containers.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/container/podman.sh
podman_begin
trap podman_end EXIT
BASE=docker.io/library/rust:1.95-slim-bookworm

if podman image exists "$BASE"; then exit; fi
echo "making $BASE from Debian packages and $(rustc --version)"
tar="$IMAGES/tmp/base.tar"
rust=$(rustc --print sysroot)
rm -f "$tar"
eatmydata mmdebstrap --quiet --variant=minbase --include=ca-certificates,gcc,libc6-dev \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --customize-hook="mkdir \"\$1/usr/local/cargo\"; tar -C '$rust' --exclude=./share -cf - . |
        tar -C \"\$1/usr/local\" --no-same-owner -xf -" \
    bookworm "$tar"
podman import --quiet --change 'ENV CARGO_HOME=/usr/local/cargo' --change 'ENV RUST_VERSION=1.95.0' \
    --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    "$tar" "$BASE"
rm "$tar"
