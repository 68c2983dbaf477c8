// A recording to the server, its words back: in time below the waveform, and to read.

const MAX_RECORD_SECONDS = 600;

const track = new Track(part("track"));
let name = "recording";

function call(request) {
  return server.files(request);
}

async function transcribe(file) {
  name = file.name;
  await busily(async () => {
    showNothing();
    track.at("name").textContent = name;
    await send(file);
    let shown = false;
    const { result } = await work({ do: "transcribe" }, (answer) => {
      showDoing(answer);
      if (answer.rate && !shown) {
        shown = true;
        fetchTrack("sound").then((samples) => track.load(samples, answer.rate)).catch(() => null);
      }
    });
    if (result) await show(result);
  });
  markEmpty(!track.seconds);
}

function markEmpty(isEmpty) {
  part("root").dataset.empty = isEmpty ? "yes" : "no";
  part("hint").hidden = !isEmpty;
}

function showNothing() {
  track.clear();
  part("lines").replaceChildren();
  markEmpty(false);
  for (const stat of ["length", "words", "took", "rtf"]) write(stat, "–");
  for (const button of element.querySelectorAll("[data-save]")) button.disabled = true;
}

async function show(result) {
  const words = result.lines.flatMap((line) => line.words);
  track.load(await fetchTrack("sound"), result.rate, words);
  showLines(part("lines"), result.lines, track);
  if (!words.length) tell("No speech was heard in this recording.");
  write("length", placeOf(result.seconds, result.seconds).split(" / ")[1]);
  write("words", words.length.toLocaleString("en"));
  write("took", `${result.took.toFixed(1)} s`);
  write("rtf", rtfOf(result.took / result.seconds));
  for (const button of element.querySelectorAll("[data-save]")) button.disabled = false;
}

async function save(kind) {
  const { text } = await must({ do: "export", kind });
  const types = { json: "application/json", vtt: "text/vtt" };
  download(`${stemOf(name)}.${kind}`, text, types[kind]);
}

setUpBringing(part("root"), transcribe, MAX_RECORD_SECONDS);
playWordsOf(part("lines"), track);
part("stop").addEventListener("click", () => ask({ do: "stop" }).catch((e) => tell(e.message)));
for (const button of element.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => save(button.dataset.save).catch((e) => tell(e.message)));
}
element.dataset.ready = "yes";
