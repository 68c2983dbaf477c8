// Hands the microphone's samples on as 16-bit integers, in pieces of about 60 ms.
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate * 0.06);
    this.piece = new Int16Array(this.size);
    this.filled = 0;
    this.port.onmessage = () => {
      this.port.postMessage(this.piece.slice(0, this.filled));
      this.port.postMessage(null); // the last one
      this.filled = 0;
    };
  }

  process(inputs) {
    const channel = inputs[0][0];
    if (!channel) return true;
    for (const value of channel) {
      this.piece[this.filled++] = Math.max(-1, Math.min(1, value)) * 32767;
      if (this.filled === this.size) {
        this.port.postMessage(this.piece.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
