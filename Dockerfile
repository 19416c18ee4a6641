# The image holds one static program and what it needs of an operating system: CA roots, a user and
# the order of name services. It has no shell, no package manager and no other program. So an
# attacker who runs code in the process finds no tools, and only the program needs patches. glibc is
# linked statically; since 2.34 its DNS needs no shared object.
#
#   docker build -t evolink-receiver --build-arg EVOLINK_RECEIVER_COMMIT="$(git rev-parse --short=12 HEAD)" .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 8443:8443 -v receiver-data:/data \
#     -v ./config.toml:/etc/evolink-receiver/config.toml:ro evolink-receiver

# `docker buildx build --platform linux/amd64,linux/arm64 .` builds both: the compiler runs on the
# machine that builds, and makes a program for the other one.
FROM --platform=$BUILDPLATFORM rust:1.95-slim-bookworm AS builder
WORKDIR /src
ENV RUSTFLAGS="-C target-feature=+crt-static"

# The target's name as Rust has it, in a file that the next steps read. Without BuildKit, it is this
# machine's.
ARG TARGETARCH
RUN case "${TARGETARCH:-$(uname -m)}" in arm64 | aarch64) arch=aarch64 ;; *) arch=x86_64 ;; esac \
    && echo "$arch-unknown-linux-gnu" > /target \
    && if [ "$arch" != "$(uname -m)" ]; then \
        rustup target add "$(cat /target)" \
        && apt-get update -qq && apt-get install -y -qq --no-install-recommends \
            "gcc-$(echo $arch | tr _ -)-linux-gnu" "libc6-dev-${TARGETARCH}-cross"; \
    fi
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc

# Dependencies are a layer of their own, which is built again only when the lock file changes. An
# explicit target keeps RUSTFLAGS away from procedural macros, which cannot be static.
COPY Cargo.toml Cargo.lock ./
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked --target "$(cat /target)"

# COPY keeps the times of the clone. Cargo would take the placeholders' build for newer, so `touch`.
COPY . .
ARG EVOLINK_RECEIVER_COMMIT=unknown
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    find src build.rs -exec touch {} + \
    && cargo build --release --locked --target "$(cat /target)" \
    && mkdir -p /image/etc/evolink-receiver /data \
    && touch /image/etc/evolink-receiver/config.toml \
    && cp "target/$(cat /target)/release/evolink-receiver" /image/ \
    && echo 'receiver:x:65532:65532::/:/sbin/nologin' > /image/etc/passwd \
    && echo 'receiver:x:65532:' > /image/etc/group \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf

FROM scratch
ARG EVOLINK_RECEIVER_COMMIT=unknown
LABEL org.opencontainers.image.title="evolink-receiver" \
    org.opencontainers.image.description="Receives EvoLink's callbacks, keeps every task's outcome, and hands it to your apps." \
    org.opencontainers.image.source="https://github.com/evolink-receiver/evolink-receiver" \
    org.opencontainers.image.documentation="https://github.com/evolink-receiver/evolink-receiver/blob/main/docs/index.md" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.revision="$EVOLINK_RECEIVER_COMMIT"
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=builder /image/ /
COPY --from=builder --chown=65532:65532 /data /data
# A number, so that an orchestrator can see that it is not root.
USER 65532:65532
# The default paths of the configuration begin with `data/`: here that is the volume.
WORKDIR /
VOLUME /data
# Every command reads this file. It is empty until you mount one over it, so the environment alone
# can configure the service.
ENV EVOLINK_RECEIVER_CONFIG=/etc/evolink-receiver/config.toml
EXPOSE 8443 8080
# Checks liveness, not readiness. Some orchestrators restart a container that fails this check, and
# a restart does not help a service that waits for its database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/evolink-receiver", "healthcheck", "--live"]
ENTRYPOINT ["/evolink-receiver"]
CMD ["serve"]
