// Microphone to server to captions; `server.captions(request)` answers at once.
//
// Sound stays here until the server has it: a request that fails is sent again, and the server
// knows by `at` what it has heard already. So nothing is lost and nothing is heard twice.

const PAUSE_MS = 100; // between two requests
const MAX_SECONDS = 5; // of sound in a request
const NUM_DELAYS = 20;

let microphone = null; // {rate, close, closes}
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

function call(request) {
  return server.captions({ seen, ...request });
}

// ---- sound

async function closeMicrophone() {
  const closing = microphone;
  if (!closing || closing.closes) return;
  closing.closes = true;
  await closing.close(); // before it has gone its last piece comes
  microphone = null;
}

function keep(block) {
  blocks.push(block);
  captured += block.length;
}

function encode(wanted) {
  const pieces = [];
  let size = 0;
  while (blocks.length && (size === 0 || size + blocks[0].length <= wanted)) {
    size += blocks[0].length;
    pieces.push(new Uint8Array(blocks.shift().buffer));
  }
  return { size, pcm: toBase64(new Uint8Array(samplesOf(pieces).buffer)) };
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
    microphone = await openMicrophone(keep, stop);
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
    tell(microphoneProblem(error));
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
  download(`captions.${kind}`, text, types[kind]);
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
  write("delay", middle === undefined ? "–" : `${middle.toFixed(1)} s`);
  write("rtf", rtfOf(answer.rtf));
  write("work", answer.chunk_ms === null ? "–" : `${answer.chunk_ms.toFixed(0)} ms`);
  write("behind", `${answer.behind.toFixed(1)} s${lost}`);
  part("behind").classList.toggle("ec-late", answer.behind > 2 || answer.dropped > 0);
  write("heard", clock(answer.audio));
}

part("toggle").addEventListener("click", () => (phase() === "idle" ? run() : stop()));
part("clear").addEventListener("click", () => clear().catch((error) => tell(error.message)));
for (const button of element.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => save(button.dataset.save).catch((e) => tell(e.message)));
}
element.dataset.ready = "yes";
