# The image holds one static program and what it needs of an operating system: CA roots, a user and
# the order of name services. It has no shell, no package manager and no other program. So an
# attacker who runs code in the process finds no tools, and only the program needs patches. glibc is
# linked statically; since 2.34 its DNS needs no shared object.
#
#   docker build -t evolink-receiver --build-arg EVOLINK_RECEIVER_COMMIT="$(git rev-parse --short=12 HEAD)" .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 8443:8443 -v receiver-data:/data \
#     -v ./config.toml:/etc/evolink-receiver/config.toml:ro evolink-receiver

FROM rust:1.95-slim-bookworm AS builder
WORKDIR /src
ENV RUSTFLAGS="-C target-feature=+crt-static"

# Dependencies are a layer of their own, which is built again only when the lock file changes. An
# explicit target keeps RUSTFLAGS away from procedural macros, which cannot be static.
COPY Cargo.toml Cargo.lock ./
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked --target "$(uname -m)-unknown-linux-gnu"

# COPY keeps the times of the clone. Cargo would take the placeholders' build for newer, so `touch`.
COPY . .
ARG EVOLINK_RECEIVER_COMMIT=unknown
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    find src build.rs -exec touch {} + \
    && cargo build --release --locked --target "$(uname -m)-unknown-linux-gnu" \
    && mkdir -p /image/etc/evolink-receiver /data \
    && touch /image/etc/evolink-receiver/config.toml \
    && cp "target/$(uname -m)-unknown-linux-gnu/release/evolink-receiver" /image/ \
    && echo 'receiver:x:65532:65532::/:/sbin/nologin' > /image/etc/passwd \
    && echo 'receiver:x:65532:' > /image/etc/group \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf

FROM scratch
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
