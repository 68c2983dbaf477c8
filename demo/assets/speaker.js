// Sound that is played while more of it comes.
//
// Pieces are put one behind the other on the clock of the sound card. A little is gathered first,
// at the start, so that one late piece is not heard; after each gap twice as much as before.

const STORE_SECONDS = 0.2;
const MAX_STORE_SECONDS = 3.2;

class Speaker {
  constructor() {
    this.context = new AudioContext();
    this.next = 0; // when the next piece begins, on the context's clock
    this.total = 0; // seconds put there
    this.started = null; // of performance.now(), when the first sample is heard
    this.gaps = 0;
    this.store = STORE_SECONDS;
    this.waiting = [];
  }

  add(samples, rate) {
    if (!samples.length || this.context.state === "closed") return;
    const buffer = this.context.createBuffer(1, samples.length, rate);
    const channel = buffer.getChannelData(0);
    for (let i = 0; i < samples.length; i++) channel[i] = samples[i] / 32768;
    this.waiting.push(buffer);
    const stored = this.waiting.reduce((sum, piece) => sum + piece.duration, 0);
    const runs = this.next > this.context.currentTime;
    if (runs || stored >= this.store) this.schedule();
  }

  schedule() {
    if (!this.waiting.length || this.context.state === "closed") return;
    const now = this.context.currentTime;
    if (this.next <= now) {
      if (this.started === null) {
        this.started = performance.now() + 1000 * this.context.baseLatency;
      } else {
        this.gaps++;
        this.store = Math.min(2 * this.store, MAX_STORE_SECONDS);
      }
      this.next = now + 0.005;
    }
    for (const buffer of this.waiting.splice(0)) {
      const source = new AudioBufferSourceNode(this.context, { buffer });
      source.connect(this.context.destination);
      source.start(this.next);
      this.next += buffer.duration;
      this.total += buffer.duration;
    }
  }

  get heard() {
    return Math.max(0, this.total - Math.max(0, this.next - this.context.currentTime));
  }

  get isOver() {
    return this.next <= this.context.currentTime;
  }

  close() {
    return this.context.state === "closed" ? null : this.context.close();
  }
}
