#!/usr/bin/env python3
"""A front desk in Python: Offhook connects here, once for each call.

    pip install -r requirements.txt
    ./bot.py 9000

and in offhook.toml:

    [bots.frontdesk]
    remote = "ws://127.0.0.1:9000"

What may be said in either direction: docs/remote.md.
"""

import asyncio
import json
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


class CallEnded(Exception):
    """There is nobody to talk to any more."""


class Call:
    """One call: its facts, and verbs that come back when they are done."""

    def __init__(self, socket):
        self.socket = socket
        self.last_id = 0

    async def event(self):
        """The next event."""
        event = json.loads(await self.socket.recv())
        if event["event"] == "error":
            print("the engine says:", event["error"], file=sys.stderr)
        if event["event"] == "call_ended":
            raise CallEnded(event["reason"])
        return event

    async def do(self, verb, **what):
        """Does something and tells what came of it."""
        self.last_id += 1
        await self.socket.send(json.dumps({"verb": verb, "id": self.last_id, **what}))
        while True:
            event = await self.event()
            if event["event"] == "result" and event["id"] == self.last_id:
                if not event["ok"]:
                    print(f"{verb}: {event['error']}", file=sys.stderr)
                return event


DEPARTMENTS = [
    {"say": "[the] sales [department] [please]", "means": "sales"},
    {"say": "[the] support [department] [please]", "means": "support"},
]
KEYS = {"1": "sales", "2": "support"}


async def front_desk(call, state):
    """The conversation. `state` is what the checkpoint saved, where an earlier process began it."""
    if not state:
        await call.do("say", text="Welcome to the Python front desk.")
    await call.do("checkpoint", state={"welcomed": True}, step="department")
    for question in ["Sales or support?", "Please say sales, or support, or press one or two."]:
        asked = await call.do("ask", text=question, listen={"phrases": DEPARTMENTS, "key": True})
        heard = asked["heard"]
        department = heard.get("meaning") or KEYS.get(heard.get("keys"))
        if department:
            await call.do("say", text=f"You want {department}. Goodbye.")
            break
    else:
        await call.do("say", text="I did not understand. Goodbye.")
    await call.do("hang_up")


async def serve_call(socket):
    call = Call(socket)
    try:
        facts = await call.event()
        await front_desk(call, facts["state"])
        while True:
            await call.event()
    except CallEnded as why:
        print("call ended:", why)
    except ConnectionClosed:
        print("the engine is gone")


async def main(port):
    async with serve(serve_call, "127.0.0.1", port) as server:
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9000))
