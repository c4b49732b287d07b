# syntax=docker/dockerfile:1
# One image with the four programs; which one runs is the command. Nothing is fetched at run time.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist --bins \
        -p patchbay -p connector-registry -p secret-vault -p runtime-sync \
    && mkdir /out \
    && cp target/dist/patchbay target/dist/connector-registry target/dist/secret-vault target/dist/runtime-sync /out/

FROM debian:bookworm-slim
# Certificates for the servers that connectors name. A program run by a stdio connector needs its own image built on this one.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 64001 --create-home --home-dir /var/lib/patchbay patchbay \
    && install --directory --owner patchbay --mode 0700 /var/lib/patchbay/credentials /var/lib/patchbay/keys
COPY --from=build /out/ /usr/local/bin/
USER patchbay
WORKDIR /var/lib/patchbay
VOLUME /var/lib/patchbay
# registry, vault, runtime
EXPOSE 7401 7402 7403
# An orchestrator sends SIGTERM and waits; the drain of each service is bounded well below its patience.
STOPSIGNAL SIGTERM
CMD ["patchbay", "--help"]
