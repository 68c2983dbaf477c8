// Text to the server; sound back, which plays while the rest is generated.

const MAX_RECORD_SECONDS = 30;

const track = new Track(part("track"));
let speaker = null;
let preparing = null;
let seed = 0;
let sentences = [];

function call(request) {
  return server.speech(request);
}

// The talker is loaded when its tab is first seen, so that the first text need not wait for it.
function prepare() {
  preparing ??= work({ do: "prepare" }).catch(() => (preparing = null));
  return preparing;
}

async function speak() {
  const pressed = performance.now();
  speaker = new Speaker(); // here: browsers let sound begin only where somebody has pressed
  for (const stat of ["first", "alone", "rtf", "length", "gaps"]) write(stat, "–");
  await busily(async () => {
    markSpeaking(true);
    part("hint").hidden = true;
    doing("Loading the talker");
    await prepare();
    track.clear();
    sentences = [];
    const text = part("text").value;
    const pieces = [];
    let have = 0;
    const take = (answer) => {
      const { rate } = answer; // before it is told, the track is still that of the last text
      const piece = fromBase64(rate ? answer.pcm : "");
      if (piece.length) {
        pieces.push(piece);
        have += piece.length;
        speaker.add(samplesOf([piece]), rate);
      }
      showStats(answer, pressed);
      if (answer.sentences) sentences = answer.sentences;
      if (rate) showSound(pieces, rate);
      return { track: "speech", at: have };
    };
    const last = await work({ do: "speak", text, seed, track: "speech", at: 0 }, (news) => {
      showDoing(news);
      return take(news);
    });
    let answer = last;
    while (take(answer).at < answer.bytes) {
      answer = await must({ do: "look", track: "speech", at: have, result: false });
    }
    speaker.schedule();
    await playOut();
    showStats(last, pressed);
    const { rate } = last;
    if (rate) track.load(samplesOf(pieces), rate, wordsOf(sentences));
    const cut = last.result?.cut ?? [];
    if (cut.length) tell(`“${cut[0]}” was cut short: try another reading.`);
  });
  await speaker.close();
  track.live = null;
  part("hint").hidden = Boolean(track.seconds);
  markSpeaking(false);
}

const wordsOf = (rows) => rows.flatMap((row) => row.words);

function showSound(pieces, rate) {
  const words = wordsOf(sentences);
  track.show(samplesOf(pieces), rate, words.length === track.words.length ? track.words : words);
  track.live = speaker.heard;
  track.tick(true);
}

async function playOut() {
  doing("Playing");
  while (!speaker.isOver && speaker.context.state !== "closed") {
    track.live = speaker.heard;
    track.tick(true);
    await sleep(40);
  }
}

function showStats(answer, pressed) {
  const { started, gaps } = speaker;
  const inSeconds = (seconds) => (seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`);
  if (started !== null) write("first", inSeconds((started - pressed) / 1000));
  if (answer.first) write("alone", inSeconds(answer.first));
  if (answer.rtf) write("rtf", rtfOf(answer.rtf));
  if (track.seconds) write("length", `${track.seconds.toFixed(1)} s`);
  write("gaps", String(gaps));
}

function markSpeaking(speaks) {
  part("speak").textContent = speaks ? "Stop" : "Speak";
  part("root").classList.toggle("ec-speaks", speaks);
  part("again").disabled = speaks || !track.seconds;
  for (const button of element.querySelectorAll("[data-save]")) button.disabled = speaks || !track.seconds;
}

async function stop() {
  await Promise.all([ask({ do: "stop" }), speaker?.close()]);
}

async function makeVoice(file) {
  await busily(async () => {
    await prepare();
    await send(file);
    const { result } = await work({ do: "voice", text: part("said").value }, showDoing);
    part("said").value = result.text;
    write("voice-name", `Voice: ${result.voice}`);
    part("own").hidden = false;
  });
}

async function forgetVoice() {
  await must({ do: "forget" });
  write("voice-name", "Voice: the talker's own");
  part("said").value = "";
  part("own").hidden = true;
}

function save(kind) {
  if (kind === "wav") return download("speech.wav", wavOf(track.samples, track.rate), "audio/wav");
  download("speech.json", JSON.stringify({ sentences }, null, 2) + "\n", "application/json");
}

setUpBringing(part("voice"), makeVoice, MAX_RECORD_SECONDS);
part("speak").addEventListener("click", () => {
  const act = part("root").classList.contains("ec-speaks") ? stop : phase() === "idle" ? speak : null;
  act?.().catch((error) => tell(error.message));
});
part("again").addEventListener("click", () => {
  seed++;
  speak();
});
part("own").addEventListener("click", () => forgetVoice().catch((error) => tell(error.message)));
for (const button of element.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => save(button.dataset.save));
}
const seen = new IntersectionObserver(([entry]) => {
  if (!entry.isIntersecting) return;
  seen.disconnect();
  prepare();
});
seen.observe(part("root"));
element.dataset.ready = "yes";
