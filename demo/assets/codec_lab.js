// A recording to the server; its reconstruction from the first layers of codes back, beside it.

const MAX_RECORD_SECONDS = 30;

const original = new Track(part("original"));
const decoded = new Track(part("decoded"));
const tracks = [original, decoded];
let name = "recording";
let result = null;
let wanted = null; // layers that were chosen while others were worked on

function call(request) {
  return server.codec_lab(request);
}

original.at("name").textContent = "Original";
decoded.at("name").textContent = "Reconstruction";
for (const track of tracks) {
  track.at("picture").hidden = false;
  track.onPlay = () => tracks.forEach((other) => other !== track && other.audio.pause());
  track.onTime = (time) => {
    if (!track.audio.paused) showNow(time);
  };
}

async function bring(file) {
  name = file.name;
  await busily(async () => {
    setLab(null);
    await send(file);
    await code({ fresh: true, n_q: chosenLayers() });
  });
  part("hint").hidden = Boolean(result);
}

// How many layers the slider says; 0, all, before its codec is known.
const chosenLayers = () => (part("layers").disabled && !result ? 0 : Number(part("layers").value));

async function code(settings) {
  const answer = await work({ do: "code", codec: part("codec").value, ...settings }, showDoing);
  if (!answer.result) return;
  if (settings.fresh) original.load(await fetchTrack("original"), answer.result.rate);
  const at = decoded.audio.currentTime;
  const plays = decoded.canPlay && !decoded.audio.paused;
  decoded.load(await fetchTrack("decoded"), answer.result.rate);
  setLab(answer.result);
  if (plays) decoded.play(at);
}

async function choose(layers) {
  wanted = layers;
  if (phase() === "busy") return; // it is seen when that is done
  await busily(async () => {
    while (wanted !== null) {
      const n_q = wanted;
      wanted = null;
      await code({ n_q });
    }
  });
}

function setLab(found) {
  result = found;
  part("lab").dataset.empty = found ? "no" : "yes";
  part("hint").hidden = true;
  part("layers").disabled = !found;
  for (const button of element.querySelectorAll("[data-save]")) button.disabled = !found;
  if (!found) {
    tracks.forEach((track) => track.clear());
    for (const stat of ["bitrate", "bytes", "mel", "sdr", "speed"]) write(stat, "–");
    return;
  }
  part("layers").max = found.max_books;
  if (wanted === null) part("layers").value = found.books;
  showLayers();
  write("bitrate", `${found.kbits.toFixed(1)} kbit/s`);
  write("bytes", `${sizeOf(found.bytes)} · 1/${Math.round(found.pcm_bytes / found.bytes)}`);
  write("mel", found.mel_distance.toFixed(2));
  write("sdr", found.si_sdr === null ? "–" : `${found.si_sdr.toFixed(1)} dB`);
  write("speed", `${found.encode_rtf.toFixed(2)}, ${found.decode_rtf.toFixed(2)} ×`);
  draw();
}

function showLayers() {
  const layers = Number(part("layers").value);
  const kbits = (result.kbits / result.books) * layers;
  write("layers-shown", `${layers} of ${result.max_books} · ${kbits.toFixed(1)} kbit/s`);
}

function draw() {
  if (!result) return;
  drawPicture(original.at("picture"), result.original, "--ec-ramp");
  drawPicture(decoded.at("picture"), result.decoded, "--ec-ramp");
  drawPicture(part("books"), result.codes, "--ec-hues", result.max_books);
}

function showNow(time) {
  const now = part("codes-now");
  now.hidden = false;
  now.style.transform = `translateX(${(time / result.seconds) * part("books").clientWidth}px)`;
}

async function save(kind) {
  const type = { echo: "application/octet-stream", wav: "audio/wav" }[kind];
  const content = kind === "echo"
    ? fromBase64((await must({ do: "export" })).data)
    : wavOf(decoded.samples, decoded.rate);
  download(`${stemOf(name)}-${result.books}-layers.${kind}`, content, type);
}

setUpBringing(part("root"), bring, MAX_RECORD_SECONDS);
part("layers").addEventListener("input", showLayers);
part("layers").addEventListener("change", () => choose(Number(part("layers").value)));
part("codec").addEventListener("change", () => {
  if (result) busily(() => code({ fresh: true, n_q: 0 }));
});
for (const button of element.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => save(button.dataset.save).catch((e) => tell(e.message)));
}
new ResizeObserver(draw).observe(part("lab"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(draw, 50));
element.dataset.ready = "yes";
