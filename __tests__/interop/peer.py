"""A peer on the Python library websockets, for python.test.js.

    peer.py serve          serves an echo; prints its port, ends when its input does
    peer.py call URL       sends messages of many kinds and checks what comes back

What it finds is printed as one line of JSON.
"""

import asyncio
import json
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 65537, 1000000, 4 * 1024 * 1024]
LIMIT = 32 * 1024 * 1024


async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    except websockets.exceptions.ConnectionClosedError:
        pass  # closed with another code than 1000 or 1001


async def run_server():
    async with serve(echo, "127.0.0.1", 0, max_size=LIMIT, subprotocols=["two"]) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, sys.stdin.read)


async def fragments():
    for i in range(50):
        yield f"fragment {i};"


async def run_client(url):
    found = {"version": websockets.__version__, "faults": []}

    def check(what, holds):
        if not holds:
            found["faults"].append(what)

    async with connect(url, max_size=LIMIT, subprotocols=["one", "two"], proxy=None) as connection:
        found["subprotocol"] = connection.subprotocol
        for size in SIZES:
            data = bytes(i % 251 for i in range(min(size, 251))) * (size // 251 + 1)
            data = data[:size]
            await connection.send(data)
            check(f"binary {size}", await connection.recv() == data)
            text = ("aé世\U0001f600" * (size // 10 + 1))[:size]
            await connection.send(text)
            check(f"text {size}", await connection.recv() == text)
        await connection.send(fragments())
        expected = "".join(f"fragment {i};" for i in range(50))
        check("fragments", await connection.recv() == expected)
        await (await connection.ping(b"ping"))
        for i in range(1000):
            await connection.send(str(i))
        for i in range(1000):
            check(f"order {i}", await connection.recv() == str(i))
        await connection.close(4001, "from Python")
        found["close"] = [connection.close_code, connection.close_reason]

    async with connect(url, proxy=None) as connection:
        await connection.send("close me")
        try:
            await connection.recv()
            check("a closing handshake", False)
        except websockets.exceptions.ConnectionClosed as error:
            found["closed"] = [error.rcvd.code, error.rcvd.reason]
    print(json.dumps(found), flush=True)


if sys.argv[1] == "serve":
    asyncio.run(run_server())
else:
    asyncio.run(run_client(sys.argv[2]))
