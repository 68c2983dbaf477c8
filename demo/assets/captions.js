// Microphone to server to captions. Gradio runs this once the tab's HTML stands, and gives
// `element`, the tab, and `server.captions(request)`, which answers at once.
//
// Sound stays here until the server has it: a request that fails is sent again, and the server
// knows by `at` what it has heard already. So nothing is lost and nothing is heard twice.

const PAUSE_MS = 100; // between two requests
const MAX_SECONDS = 5; // of sound in a request
const MAX_TRIES = 20;
const NUM_DELAYS = 20;

// The same id that the page's load event tells the server, which forgets the page when it is left.
const page = (window.echoicPage ??= Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) =>
  n.toString(16).padStart(8, "0")
).join(""));

const RECORDER = `
registerProcessor("echoic-recorder", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(2048);
    this.size = 0;
    this.port.onmessage = () => { this.give(); this.port.postMessage("end"); };
  }
  give() {
    this.port.postMessage(this.block.slice(0, this.size));
    this.size = 0;
  }
  process(inputs) {
    const channels = inputs[0];
    if (!channels.length) return true;
    for (let i = 0; i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.size++] = sum / channels.length;
      if (this.size === this.block.length) this.give();
    }
    return true;
  }
});`;

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let microphone = null; // {context, stream, node, rate}
let blocks = []; // Int16Array, not yet sent
let captured = 0; // samples since Start
let acknowledged = 0; // of them, those that the server has
let seen = 0; // lines shown
let said = 0; // words shown
let delays = [];

function setPhase(phase) {
  part("root").dataset.phase = phase;
  part("label").textContent =
    { idle: "Start", starting: "Starting…", running: "Stop", finishing: "Finishing…" }[phase];
  part("toggle").disabled = phase === "starting" || phase === "finishing";
  part("chunk").disabled = phase !== "idle";
  updateHint();
}
const phase = () => part("root").dataset.phase;

function updateHint() {
  const hint = part("hint");
  hint.hidden = part("lines").childElementCount > 0 || part("open").childElementCount > 0;
  hint.innerHTML = phase() === "running" ? "Listening…" : "Press <b>Start</b> and speak.";
}

function tell(problem) {
  part("problem").textContent = problem || "";
  part("problem").hidden = !problem;
}

// ---- the microphone

async function openMicrophone() {
  if (!navigator.mediaDevices) {
    throw new Error("The browser gives no microphone to this address: open the page by https, or "
      + "on this computer as localhost.");
  }
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: true },
  });
  const context = new AudioContext();
  const url = URL.createObjectURL(new Blob([RECORDER], { type: "text/javascript" }));
  await context.audioWorklet.addModule(url);
  URL.revokeObjectURL(url);
  const node = new AudioWorkletNode(context, "echoic-recorder", { numberOfOutputs: 0 });
  let ended = null;
  node.port.onmessage = ({ data }) => (data === "end" ? ended?.() : keep(data));
  stream.getTracks()[0].onended = () => stop();
  context.createMediaStreamSource(stream).connect(node);
  await context.resume();
  const flush = () =>
    new Promise((resolve) => {
      ended = resolve;
      node.port.postMessage("flush");
    });
  return { context, stream, flush, rate: Math.round(context.sampleRate) };
}

async function closeMicrophone() {
  const closing = microphone;
  if (!closing) return;
  microphone = null;
  await Promise.race([closing.flush(), sleep(500)]);
  closing.stream.getTracks().forEach((track) => track.stop());
  await closing.context.close();
  part("root").style.removeProperty("--level");
}

function keep(samples) {
  const block = new Int16Array(samples.length);
  let energy = 0;
  for (let i = 0; i < samples.length; i++) {
    const x = Math.max(-1, Math.min(1, samples[i]));
    block[i] = Math.round(x * 32767);
    energy += x * x;
  }
  blocks.push(block);
  captured += block.length;
  const level = Math.min(1, 4 * Math.sqrt(energy / Math.max(1, samples.length)));
  part("root").style.setProperty("--level", level.toFixed(3));
}

// ---- the server

async function ask(request) {
  let tries = 0;
  for (;;) {
    try {
      const answer = await server.captions({ page, seen, ...request });
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

function encode(wanted) {
  const pieces = [];
  let size = 0;
  while (blocks.length && (size === 0 || size + blocks[0].length <= wanted)) {
    size += blocks[0].length;
    pieces.push(blocks.shift());
  }
  let bytes = "";
  for (const piece of pieces) {
    bytes += String.fromCharCode(...new Uint8Array(piece.buffer));
  }
  return { size, pcm: btoa(bytes) };
}

async function sendSound(rate) {
  const { size, pcm } = encode(MAX_SECONDS * rate);
  const answer = await ask({ do: "hear", at: acknowledged, rate, pcm });
  if (answer.problem) throw new Error(answer.problem);
  acknowledged += size;
  return answer;
}

// ---- what the user does

async function run() {
  setPhase("starting");
  tell("");
  [blocks, captured, acknowledged, delays] = [[], 0, 0, []];
  try {
    microphone = await openMicrophone();
    const rate = microphone.rate;
    // Sound gathers here while a model is loaded.
    const answer = await ask({ do: "start", chunk_ms: Number(part("chunk").value), rate });
    if (answer.problem) throw new Error(answer.problem);
    setPhase("running");
    show(answer, rate);
    while (microphone || blocks.length) {
      show(await sendSound(rate), rate);
      await sleep(PAUSE_MS);
    }
    await finish(rate);
  } catch (error) {
    await closeMicrophone();
    await ask({ do: "stop" }).catch(() => null);
    tell(error.name === "NotAllowedError"
      ? "The microphone was refused: allow it beside the page's address, and press Start."
      : error.name === "NotFoundError" ? "No microphone was found." : error.message);
  }
  setPhase("idle");
}

async function stop() {
  if (phase() !== "running") return;
  setPhase("finishing");
  await closeMicrophone();
}

async function finish(rate) {
  setPhase("finishing");
  let answer = await ask({ do: "stop" });
  for (;;) {
    show(answer, rate);
    if (answer.problem || answer.error) throw new Error(answer.problem || answer.error);
    if (answer.phase === "idle") return;
    await sleep(PAUSE_MS);
    answer = await ask({ do: "look" });
  }
}

async function clear() {
  const answer = await ask({ do: "clear" });
  part("lines").replaceChildren();
  seen = 0;
  show(answer, microphone?.rate);
}

async function save(kind) {
  const { text, problem } = await ask({ do: "export", kind });
  tell(problem);
  if (problem) return;
  const types = { json: "application/json", vtt: "text/vtt" };
  const url = URL.createObjectURL(new Blob([text], { type: types[kind] || "text/plain" }));
  const link = Object.assign(document.createElement("a"), {
    href: url,
    download: `captions.${kind}`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// ---- what the user sees

function show(answer, rate) {
  if (answer.problem) return;
  const stage = part("stage");
  const follows = stage.scrollHeight - stage.scrollTop - stage.clientHeight < 80;
  if (answer.from === 0 && seen > 0 && answer.total !== seen) part("lines").replaceChildren();
  for (const html of answer.lines) {
    const line = document.createElement("div");
    line.className = "ec-line";
    line.innerHTML = html;
    part("lines").append(line);
  }
  seen = answer.total;
  if (part("open").innerHTML !== answer.open) part("open").innerHTML = answer.open;
  updateHint();
  if (follows) stage.scrollTop = stage.scrollHeight;
  showStats(answer, rate);
}

function showStats(answer, rate) {
  if (rate && answer.phase === "running" && answer.said > said) {
    const ends = answer.newest.slice(said - answer.said);
    delays.push(...ends.map((end) => Math.max(0, captured / rate - end)));
    delays = delays.slice(-NUM_DELAYS);
  }
  said = answer.said;
  const middle = [...delays].sort((a, b) => a - b)[delays.length >> 1];
  const lost = answer.dropped ? `, ${answer.dropped.toFixed(0)} s lost` : "";
  const write = (name, text) => (part(name).textContent = text);
  write("delay", middle === undefined ? "–" : `${middle.toFixed(1)} s`);
  write("rtf", answer.rtf === null ? "–" : `${answer.rtf.toFixed(2)} ×`);
  write("work", answer.chunk_ms === null ? "–" : `${answer.chunk_ms.toFixed(0)} ms`);
  write("behind", `${answer.behind.toFixed(1)} s${lost}`);
  part("behind").classList.toggle("ec-late", answer.behind > 2 || answer.dropped > 0);
  const seconds = Math.floor(answer.audio);
  write("heard", `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
}

part("toggle").addEventListener("click", () => (phase() === "idle" ? run() : stop()));
part("clear").addEventListener("click", () => clear().catch((error) => tell(error.message)));
for (const button of element.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => save(button.dataset.save).catch((e) => tell(e.message)));
}
element.dataset.ready = "yes";
