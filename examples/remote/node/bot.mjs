#!/usr/bin/env node
// A worker in JavaScript: it connects to Offhook, once, and serves many calls.
//
//     node bot.mjs ws://127.0.0.1:8092 TOKEN          (Node.js 22; before that: node --experimental-websocket bot.mjs …)
//
// and in offhook.toml:
//
//     [bots.frontdesk]
//     remote = { listen = "127.0.0.1:8092", token = "TOKEN" }
//
// What may be said in either direction: docs/remote.md.

const [url = "ws://127.0.0.1:8092", token] = process.argv.slice(2);
const CAPACITY = 50;

// One call: its facts, and verbs that come back when they are done.
class Call {
  constructor(id, send) {
    this.id = id;
    this.send = send;
    this.lastId = 0;
    this.waiting = new Map();
  }

  do(verb, what = {}) {
    const id = ++this.lastId;
    this.send({ verb, id, call: this.id, ...what });
    return new Promise((done, fail) => this.waiting.set(id, { done, fail }));
  }

  take(event) {
    if (event.event === "result") {
      this.waiting.get(event.id)?.done(event);
      this.waiting.delete(event.id);
    } else if (event.event === "call_ended") {
      for (const { fail } of this.waiting.values()) fail(new Error(event.reason));
    }
  }
}

async function frontDesk(call) {
  await call.do("say", { text: "Welcome to the JavaScript front desk." });
  const asked = await call.do("ask", {
    text: "Please press one for sales, or two for support.",
    listen: { key: true },
  });
  const department = { 1: "sales", 2: "support" }[asked.heard?.keys] ?? "nobody";
  await call.do("say", { text: `You want ${department}. Goodbye.` });
  await call.do("hang_up");
}

function connect() {
  const socket = new WebSocket(url);
  const calls = new Map();
  const send = (message) => socket.send(JSON.stringify(message));
  socket.onopen = () => send({ verb: "register", version: 1, name: "front desk", capacity: CAPACITY, token });
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.event === "registered") console.log("registered");
    if (event.event === "error") console.error("the engine says:", event.error);
    if (event.event === "call_started") {
      const call = new Call(event.call, send);
      calls.set(event.call, call);
      frontDesk(call).catch((error) => console.log("call ended:", error.message));
    }
    calls.get(event.call)?.take(event);
    if (event.event === "call_ended") calls.delete(event.call);
  };
  // The engine may be started anew at any time.
  socket.onclose = () => setTimeout(connect, 500);
  socket.onerror = () => {};
}

connect();
