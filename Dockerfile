# One image with all five programs; what a container runs is its command.
# Written for the classic builder as well: no mounts, no heredocs, no build platforms.
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --locked --release \
      -p throughline -p ingest -p ai-proxy -p gateway -p replay \
    && mkdir -p /out/bin \
    && for program in throughline ingest ai-proxy gateway replay; do \
         install -m 755 "target/release/$program" "/out/bin/$program"; \
       done \
    && rm -rf target

FROM debian:bookworm-slim
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 throughline \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin throughline \
    && install -d -o throughline -g throughline -m 700 /var/lib/throughline /var/lib/nats
COPY --from=build /out/bin/ /usr/local/bin/
COPY nats/ /etc/throughline/nats/
# Named volumes take over the owner of these folders when they are first mounted.
VOLUME ["/var/lib/throughline", "/var/lib/nats"]
ENV THROUGHLINE_DATA=/var/lib/throughline
USER 10001:10001
CMD ["throughline", "--help"]
