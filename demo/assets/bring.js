// A recording from the user: chosen, dropped or from the microphone; it goes to the server in
// pieces. Phases of a tab: idle, recording, busy.

const PIECE_BYTES = 2 ** 20;

let recording = null; // {microphone, blocks, timer}

const phase = () => part("root").dataset.phase;

function setPhase(name) {
  part("root").dataset.phase = name;
  for (const button of element.querySelectorAll("[data-when]")) {
    button.disabled = !button.dataset.when.split(" ").includes(name);
  }
  part("record-label").textContent = name === "recording" ? "Stop" : "Record";
  if (name !== "busy") doing("");
}

function doing(what, share) {
  part("doing").hidden = !what;
  write("doing-text", what ? `${what}…` : "");
  part("doing").style.setProperty("--done", share ?? 0);
}

function showDoing(answer) {
  const wait = answer.phase === "waiting" ? "Waiting for others" : answer.doing || "Starting";
  doing(answer.done ? `${wait}, ${Math.round(100 * answer.done)} %` : wait, answer.done);
}

// Do something that may fail while the tab is busy; a failure is a line on the page.
async function busily(act) {
  setPhase("busy");
  tell("");
  try {
    await act();
  } catch (error) {
    tell(microphoneProblem(error));
  }
  setPhase("idle");
}

async function send(file) {
  let at = 0;
  do {
    const bytes = new Uint8Array(await file.slice(at, at + PIECE_BYTES).arrayBuffer());
    const answer = await must({
      do: "bring", at, name: file.name.slice(-200), size: file.size, data: toBase64(bytes),
    });
    at = answer.have;
    doing("Sending", at / file.size);
  } while (at < file.size);
}

async function toggleRecording(onFile, maxSeconds) {
  if (phase() === "recording") return stopRecording(onFile);
  tell("");
  const blocks = [];
  setPhase("recording");
  doing("Recording");
  try {
    const microphone = await openMicrophone((block) => blocks.push(block), () => stopRecording(onFile));
    const start = performance.now();
    const timer = setInterval(() => {
      const seconds = (performance.now() - start) / 1000;
      doing(`Recording ${clock(seconds)}`, seconds / maxSeconds);
      if (seconds > maxSeconds - 0.5) stopRecording(onFile);
    }, 200);
    recording = { microphone, blocks, timer };
  } catch (error) {
    tell(microphoneProblem(error));
    setPhase("idle");
  }
}

async function stopRecording(onFile) {
  if (!recording) return;
  const { microphone, blocks, timer } = recording;
  recording = null;
  clearInterval(timer);
  await microphone.close();
  const samples = samplesOf(blocks.map((block) => new Uint8Array(block.buffer)));
  onFile(new File([wavOf(samples, microphone.rate)], "recording.wav"));
}

// `onFile` gets what was brought; `area` takes what is dropped.
function setUpBringing(area, onFile, maxSeconds) {
  const input = part("file");
  part("choose").addEventListener("click", () => input.click());
  part("record").addEventListener("click", () => toggleRecording(onFile, maxSeconds));
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = "";
    if (file) onFile(file);
  });
  const mark = (is) => (event) => {
    event.preventDefault();
    area.classList.toggle("ec-over", is && phase() === "idle");
  };
  area.addEventListener("dragover", mark(true));
  area.addEventListener("dragleave", mark(false));
  area.addEventListener("drop", (event) => {
    mark(false)(event);
    const [file] = event.dataTransfer.files;
    if (file && phase() === "idle") onFile(file);
  });
}
