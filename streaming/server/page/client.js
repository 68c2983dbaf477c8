// A client of /v1/stream: sends the microphone, shows the words, and goes on by itself when the
// connection breaks. Sound is kept until the server says that it is safe.
"use strict";

const RETRY_MS = 500;
const MAX_RETRY_MS = 8000;
const FATAL = new Set([4400, 4401, 4403, 4404, 4413, 1011]);

class EchoicStream {
  constructor(url, { sampleRate, key, onEvent, onStatus, onEnd }) {
    Object.assign(this, { url, sampleRate, key, onEvent, onStatus, onEnd });
    this.kept = []; // pieces of sound that the server may ask for again
    this.keptFrom = 0; // position of the first of them
    this.position = 0; // of the next sample of the microphone
    this.sent = 0;
    this.seq = 0;
    this.id = null;
    this.isFinishing = false;
    this.isOver = false;
    this.isReady = false;
    this.retryMs = RETRY_MS;
    this.connect();
  }

  put(samples) {
    this.kept.push(samples);
    this.position += samples.length;
    this.flush();
  }

  finish() {
    this.isFinishing = true;
    this.flush();
  }

  connect() {
    const protocols = ["echoic"];
    if (this.key) protocols.push(`echoic-key.${this.key}`);
    this.isReady = false;
    this.eofSent = false;
    this.socket = new WebSocket(this.url, protocols);
    this.socket.onopen = () => {
      const start = { type: "start", sample_rate: this.sampleRate, encoding: "pcm_s16le" };
      if (this.id) Object.assign(start, { resume: this.id, from: this.keptFrom, seq: this.seq });
      this.socket.send(JSON.stringify(start));
    };
    this.socket.onmessage = (message) => this.hear(JSON.parse(message.data));
    this.socket.onclose = (event) => this.lost(event);
  }

  hear(message) {
    if (message.type === "session") {
      this.id = message.id;
      this.sent = message.position;
      this.isReady = true;
      this.retryMs = RETRY_MS;
      this.onStatus("Listening.");
      this.flush();
    } else if (message.type === "ack") {
      this.forget(message.position);
    } else if (message.type === "busy") {
      this.retryMs = Math.max(RETRY_MS, 1000 * message.retry_after);
      this.onStatus("The server is busy.");
    } else if (message.type === "error") {
      this.onStatus(message.message);
    } else if (message.type === "done") {
      this.isOver = true;
      this.socket.close(1000);
      this.onEnd();
    } else if (message.seq > this.seq) {
      this.seq = message.seq;
      this.onEvent(message);
      if (message.type !== "partial") {
        this.socket.send(JSON.stringify({ type: "ack", seq: this.seq }));
      }
    }
  }

  flush() {
    if (!this.isReady || this.socket.readyState !== WebSocket.OPEN) return;
    let at = this.keptFrom;
    for (const piece of this.kept) {
      const skip = Math.max(0, this.sent - at);
      if (skip < piece.length) {
        this.socket.send(piece.slice(skip));
        this.sent = at + piece.length;
      }
      at += piece.length;
    }
    if (this.isFinishing && !this.eofSent) {
      this.eofSent = true;
      this.socket.send(JSON.stringify({ type: "eof" }));
    }
  }

  forget(position) {
    while (this.kept.length && this.keptFrom + this.kept[0].length <= position) {
      this.keptFrom += this.kept.shift().length;
    }
  }

  lost(event) {
    if (this.isOver) return;
    this.isReady = false;
    if (FATAL.has(event.code)) {
      this.isOver = true;
      if (event.code === 4404) this.onStatus("The server has lost this session.");
      this.onEnd();
      return;
    }
    this.onStatus("The connection is lost; trying again.");
    setTimeout(() => this.connect(), this.retryMs);
    this.retryMs = Math.min(MAX_RETRY_MS, 2 * this.retryMs);
  }
}

const byId = (id) => document.getElementById(id);
let running = null;

function show(event) {
  if (event.type === "partial") {
    byId("partial").textContent = event.text;
  } else if (event.type === "final") {
    byId("final").textContent += `${event.text} `;
    byId("partial").textContent = "";
  }
}

async function start() {
  const media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext();
  await context.audioWorklet.addModule("worklet.js");
  const source = context.createMediaStreamSource(media);
  const microphone = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
  const close = () => {
    for (const track of media.getTracks()) track.stop();
    if (context.state !== "closed") context.close();
  };
  const status = (text) => (byId("status").textContent = text);
  const stream = new EchoicStream(new URL("v1/stream", location.href.replace(/^http/, "ws")), {
    sampleRate: context.sampleRate,
    key: byId("key").value.trim(),
    onEvent: show,
    onStatus: status,
    onEnd: () => {
      close();
      if (stream.isFinishing) status("The microphone is off.");
      byId("toggle").textContent = "Start";
      running = null;
    },
  });
  microphone.port.onmessage = ({ data }) => {
    if (data === null) {
      close();
      stream.finish();
    } else if (!stream.isFinishing) {
      stream.put(data);
    }
  };
  source.connect(microphone);
  return { stop: () => microphone.port.postMessage("stop") };
}

byId("controls").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (running) {
    running.stop();
    byId("status").textContent = "Hearing the rest.";
    return;
  }
  byId("toggle").textContent = "Stop";
  try {
    running = await start();
  } catch (error) {
    byId("status").textContent = `No microphone: ${error.message}`;
    byId("toggle").textContent = "Start";
  }
});
