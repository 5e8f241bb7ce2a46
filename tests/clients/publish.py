"""Publishes what it reads, one JSON object a line {subject, headers, data}, as a team does with its own credentials,
and writes for each the log's answer, or why there is none."""

import asyncio
import json
import os
import sys

import nats


async def quiet(_error: Exception) -> None:
    """Errors are told per message."""


async def main() -> None:
    connection = await nats.connect(
        os.environ["NATS_URL"],
        nkeys_seed_str=os.environ["NATS_SEED"],
        inbox_prefix=os.environ["NATS_INBOX"].encode(),
        error_cb=quiet,
    )
    log = connection.jetstream()
    for line in sys.stdin:
        message = json.loads(line)
        try:
            ack = await log.publish(
                message["subject"],
                json.dumps(message["data"]).encode(),
                timeout=2,
                headers=message["headers"],
            )
            answer = {"stream": ack.stream, "sequence": ack.seq, "duplicate": bool(ack.duplicate)}
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)
    await connection.drain()


asyncio.run(main())
