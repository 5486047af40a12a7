"use strict";
// What a device keeps by itself: its id, the rows that it holds, the run at hand, and entries not yet taken by the
// server. Everything is written before it is shown, so a page that dies loses nothing.

class Outbox {
  constructor(plan) {
    this.key = "worldgate/" + plan;
    const held = localStorage.getItem(this.key);
    this.state = held ? JSON.parse(held) : {
      client: crypto.randomUUID ? crypto.randomUUID() : Outbox.made(), slot: "", rows: [], screen: "wait", run: null,
      waiting: [], refused: [], sent: [], clock_ms: 0, error_ms: 0,
    };
    this.sending = false;
  }

  static made() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  }

  save() {
    localStorage.setItem(this.key, JSON.stringify(this.state));
  }

  put(entry) {
    this.state.waiting.push(entry);
    this.save();
  }

  // When nothing is on its way: a press meanwhile waits rather than being lost.
  async settled() {
    while (this.sending) await new Promise((done) => setTimeout(done, 50));
  }

  // Takes the newest entry back, unless it is on its way.
  takeBack(id) {
    const last = this.state.waiting[this.state.waiting.length - 1];
    if (this.sending || !last || last.entry !== id) return null;
    this.state.waiting.pop();
    this.save();
    return last;
  }

  has(row) {
    return this.state.waiting.some((entry) => entry.row === row) || this.state.sent.includes(row);
  }

  // Sends entries in order. Answers "" when all are gone, else why not.
  async flush(told) {
    if (this.sending) return "";
    this.sending = true;
    try {
      while (this.state.waiting.length) {
        const entry = this.state.waiting[0];
        const answer = await post("/api/record", entry);
        const tree = await answer.json().catch(() => ({}));
        if (answer.status === 401) return "401";
        if (answer.status !== 200 && answer.status !== 409 && answer.status !== 422) return "later";
        this.state.waiting.shift();
        if (answer.status !== 422) this.state.sent.push(entry.row);
        if (answer.status !== 200) {
          this.state.refused.push({ entry, why: tree.reason || [tree.error, tree.got].filter(Boolean).join(": ") });
        }
        this.save();
        told(entry, answer.status, tree);
      }
      return "";
    } catch (error) {
      if (error instanceof TypeError || error.name === "TimeoutError") return "offline";
      throw error;
    } finally {
      this.sending = false;
    }
  }
}

function post(path, tree) {
  return fetch(path, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(tree), cache: "no-store",
    signal: AbortSignal.timeout ? AbortSignal.timeout(20000) : undefined,
  });
}
