# One image with all five programs; what a container runs is its command.
# Written for the classic builder as well: no mounts, no heredocs, no build platforms.

# The skeleton of the workspace: manifests, and empty programs where there are real ones. It changes only when
# a dependency does, so the dependencies below are built once and kept.
FROM debian:bookworm-slim AS skeleton
WORKDIR /all
COPY . .
RUN find . -type f \( -name '*.toml' -o -name Cargo.lock -o -name main.rs -o -name lib.rs \) \
      -exec install -D -m 644 '{}' '/skeleton/{}' ';' \
    && find /skeleton -name '*.rs' -exec sh -c 'echo "fn main() { }" >"$1"' sh '{}' ';' \
    && find /skeleton -path '*/catalogue/*' -delete

FROM rust:1.95-bookworm AS build
WORKDIR /build
ENV PROGRAMS="-p throughline -p ingest -p ai-proxy -p gateway -p replay"
COPY --from=skeleton /skeleton ./
RUN cargo build --locked --release $PROGRAMS
COPY . .
# The empty programs were built a moment ago; what is copied is older and would not be seen as changed.
RUN find . -name '*.rs' -not -path './target/*' -exec touch '{}' + \
    && cargo build --locked --release $PROGRAMS \
    && mkdir -p /out/bin \
    && for program in throughline ingest ai-proxy gateway replay; do \
         install -m 755 "target/release/$program" "/out/bin/$program"; \
       done

FROM debian:bookworm-slim
# Named volumes take over the owner of the two folders when they are first mounted.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 throughline \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin throughline \
    && install -d -o throughline -g throughline -m 700 /var/lib/throughline /var/lib/nats
COPY --from=build /out/bin/ /usr/local/bin/
COPY nats/ /etc/throughline/nats/
ENV THROUGHLINE_DATA=/var/lib/throughline
USER 10001:10001
CMD ["throughline", "--help"]
