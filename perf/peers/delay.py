#!/usr/bin/env python3
"""delay.py PORT SERVER_PORT MS: a way to a server of 127.0.0.1 on which a request takes MS longer;
answers come at once."""
import asyncio
import sys

PORT, SERVER_PORT, MS = map(int, sys.argv[1:])


async def copy(reader, writer, delay_s):
    loop = asyncio.get_running_loop()
    while data := await reader.read(1 << 16):
        if delay_s:
            loop.call_later(delay_s, writer.write, data)
        else:
            writer.write(data)
            await writer.drain()
    loop.call_later(delay_s, writer.close)


async def relay(reader, writer):
    try:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", SERVER_PORT)
        await asyncio.gather(copy(reader, server_writer, MS / 1e3), copy(server_reader, writer, 0))
    except OSError:
        writer.close()  # either side may go at any time


async def main():
    server = await asyncio.start_server(relay, "127.0.0.1", PORT, backlog=256)
    await server.serve_forever()


asyncio.run(main())
