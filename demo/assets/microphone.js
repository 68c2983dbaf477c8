// The microphone as pieces of 16-bit samples.

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

// Open it; `keep` gets each piece as Int16Array, `onEnd` is called when it is pulled out. Returns
// its rate and `close`, after which no piece is left.
async function openMicrophone(keep, onEnd) {
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
  node.port.onmessage = ({ data }) => (data === "end" ? ended?.() : keep(toInt16(data)));
  stream.getTracks()[0].onended = onEnd;
  context.createMediaStreamSource(stream).connect(node);
  await context.resume();
  const close = async () => {
    const flushed = new Promise((resolve) => {
      ended = resolve;
      node.port.postMessage("flush");
    });
    await Promise.race([flushed, sleep(500)]);
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
    part("root").style.removeProperty("--level");
  };
  return { rate: Math.round(context.sampleRate), close };
}

function toInt16(samples) {
  const block = new Int16Array(samples.length);
  let energy = 0;
  for (let i = 0; i < samples.length; i++) {
    const x = Math.max(-1, Math.min(1, samples[i]));
    block[i] = Math.round(x * 32767);
    energy += x * x;
  }
  const level = Math.min(1, 4 * Math.sqrt(energy / Math.max(1, samples.length)));
  part("root").style.setProperty("--level", level.toFixed(3));
  return block;
}

function microphoneProblem(error) {
  return error.name === "NotAllowedError"
    ? "The microphone was refused: allow it beside the page's address, and try again."
    : error.name === "NotFoundError" ? "No microphone was found." : error.message;
}
