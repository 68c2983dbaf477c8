// What all tabs share. Gradio runs the scripts of a tab as the body of one function, once the tab's
// HTML stands, and gives `element`, the tab, and `server`. Each tab says how it is asked: `call`.

const MAX_TRIES = 20;

// The same id that the page's load event tells the server, which forgets the page when it is left.
const page = (window.echoicPage ??= Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) =>
  n.toString(16).padStart(8, "0")
).join(""));

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const write = (name, text) => (part(name).textContent = text);

function tell(problem) {
  write("problem", problem || "");
  part("problem").hidden = !problem;
}

// ---- the server

async function ask(request) {
  let tries = 0;
  for (;;) {
    try {
      const answer = await call({ page, ...request });
      if (answer && typeof answer === "object" && !answer.detail) return answer;
    } catch {
      // the network; the same as an answer that is none
    }
    if (++tries === MAX_TRIES) {
      throw new Error("The server does not answer: see whether echoic demo still runs.");
    }
    await sleep(Math.min(2000, 100 * 2 ** tries));
  }
}

async function must(request) {
  const answer = await ask(request);
  if (answer.problem) throw new Error(answer.problem);
  return answer;
}

// Start a job and return its last answer; `onLook` gets those before it, and says what else to ask.
async function work(request, onLook) {
  let answer = await must(request);
  while (answer.phase !== "idle") {
    const more = onLook?.(answer) || {};
    answer = await must({ do: "look", version: answer.version, wait: 400, ...more });
  }
  return answer;
}

async function fetchTrack(track) {
  const pieces = [];
  let [at, bytes] = [0, 1];
  while (at < bytes) {
    const answer = await must({ do: "look", track, at, result: false });
    const piece = fromBase64(answer.pcm);
    bytes = answer.bytes;
    if (!piece.length) break;
    pieces.push(piece);
    at += piece.length;
  }
  return samplesOf(pieces);
}

// ---- bytes

function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) {
    text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  }
  return btoa(text);
}

const fromBase64 = (text) => Uint8Array.from(atob(text || ""), (c) => c.charCodeAt(0));

// 16-bit samples of pieces of bytes; a typed array of 16 bits needs an even place to begin.
function samplesOf(pieces) {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return new Int16Array(bytes.buffer);
}

function wavOf(samples, rate) {
  const head = new DataView(new ArrayBuffer(44));
  const size = samples.length * 2;
  const word = (at, text) => [...text].forEach((c, i) => head.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  word(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); // PCM
  head.setUint16(22, 1, true); // one channel
  head.setUint32(24, rate, true);
  head.setUint32(28, rate * 2, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  word(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head, samples], { type: "audio/wav" });
}

function download(name, content, type = "text/plain") {
  const url = URL.createObjectURL(new Blob([content], { type }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// ---- words for people

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function sizeOf(bytes) {
  return bytes < 10000 ? `${bytes.toLocaleString("en")} B` : `${(bytes / 1000).toFixed(1)} kB`;
}

const rtfOf = (rtf) => (rtf == null ? "–" : `${rtf.toFixed(2)} ×`);

function titleOf(word) {
  const sure = word.sure ? ` · ${(100 * word.sure).toFixed(0)} % sure` : "";
  return `${word.start.toFixed(2)} – ${word.end.toFixed(2)} s${sure}`;
}

// The name of a file without its ending, for the names of what is made of it.
const stemOf = (name) => name.replace(/\.[^.]*$/, "") || "recording";

const color = (name) => getComputedStyle(part("root")).getPropertyValue(name).trim();
