// A sound to look at and to play: its waveform, its words below, and a line where it is.
//
// The canvas is as wide as what is seen of the track, and is drawn anew when that moves: one as
// wide as ten minutes would be more than a browser draws.

const MIN_PIXELS = 110; // a second, where there are words to read
const WORD_ROWS = 3;
const ROW_PIXELS = 22;
const LABEL_FONT = "13px 'IBM Plex Sans', system-ui, sans-serif";

function placeOf(time, seconds) {
  if (seconds >= 60) return `${clock(time)} / ${clock(seconds)}`;
  return `${time.toFixed(1)} / ${seconds.toFixed(1)} s`;
}

class Track {
  constructor(root) {
    this.at = (name) => root.querySelector(`[data-track="${name}"]`);
    this.samples = new Int16Array(0);
    this.rate = 16000;
    this.words = [];
    this.labels = [];
    this.current = -1;
    this.live = null; // seconds, while a stream plays elsewhere
    this.audio = new Audio();
    this.onPlay = this.onWord = this.onTime = () => {};
    this.at("play").addEventListener("click", () => this.toggle());
    this.audio.addEventListener("play", () => this.follow());
    this.audio.addEventListener("pause", () => this.showPlaying());
    const scroll = this.at("scroll");
    scroll.addEventListener("scroll", () => this.draw());
    scroll.addEventListener("click", (event) => this.clicked(event));
    scroll.addEventListener("keydown", (event) => this.pressed(event));
    new ResizeObserver(() => this.layOut()).observe(scroll);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.showPlaying();
  }

  get seconds() {
    return this.samples.length / this.rate;
  }

  get time() {
    return this.live ?? this.audio.currentTime;
  }

  get canPlay() {
    return Boolean(this.audio.src);
  }

  // Show samples that cannot be played from here yet.
  show(samples, rate, words = this.words) {
    [this.samples, this.rate] = [samples, rate];
    this.setWords(words);
  }

  load(samples, rate, words = []) {
    this.clear();
    this.show(samples, rate, words);
    if (samples.length) this.audio.src = URL.createObjectURL(wavOf(samples, rate));
    this.showPlaying();
  }

  clear() {
    this.audio.pause();
    if (this.canPlay) URL.revokeObjectURL(this.audio.src);
    this.audio.removeAttribute("src");
    this.live = null;
    this.show(new Int16Array(0), this.rate, []);
    this.showPlaying();
  }

  toggle() {
    if (!this.canPlay) return;
    if (this.audio.paused) this.play(this.audio.ended ? 0 : this.audio.currentTime);
    else this.audio.pause();
  }

  play(from) {
    if (!this.canPlay) return;
    this.audio.currentTime = from;
    this.onPlay(this);
    this.audio.play().catch((error) => error.name === "AbortError" || tell(error.message));
  }

  seek(time) {
    if (this.canPlay) this.audio.currentTime = Math.max(0, Math.min(this.seconds, time));
    this.tick();
  }

  clicked(event) {
    const word = event.target.closest("[data-word]");
    if (word) return this.play(this.words[Number(word.dataset.word)].start);
    const x = event.clientX - this.at("lane").getBoundingClientRect().left;
    this.play(Math.max(0, Math.min(this.seconds - 0.01, x / this.pixels)));
  }

  pressed(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) this.seek(this.time + step);
    else if (event.key === " " || event.key === "Enter") this.toggle();
    else return;
    event.preventDefault();
  }

  setWords(words) {
    this.words = words;
    const box = this.at("words");
    box.hidden = !words.length;
    this.labels = words.map((word, index) => {
      const label = document.createElement("span");
      label.className = "ec-label";
      label.textContent = word.text;
      label.title = titleOf(word);
      label.dataset.word = index;
      return label;
    });
    box.replaceChildren(...this.labels);
    this.current = -1;
    this.layOut();
  }

  layOut() {
    const width = this.at("scroll").clientWidth;
    if (!width || !this.seconds) {
      this.pixels = 1;
      this.at("lane").style.width = "100%";
      return this.draw();
    }
    this.pixels = Math.max(width / this.seconds, this.words.length ? MIN_PIXELS : 0);
    this.at("lane").style.width = `${Math.max(width, this.seconds * this.pixels)}px`;
    this.placeWords();
    this.draw();
  }

  // Each word begins under its beginning, in the first row that is free there.
  placeWords() {
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = LABEL_FONT;
    const free = Array(WORD_ROWS).fill(-Infinity);
    let rows = 1;
    this.words.forEach((word, index) => {
      const left = word.start * this.pixels;
      const fits = free.findIndex((end) => end <= left);
      const row = fits < 0 ? free.indexOf(Math.min(...free)) : fits;
      free[row] = left + pen.measureText(word.text).width + 8;
      rows = Math.max(rows, row + 1);
      this.labels[index].style.transform = `translate(${left}px, ${row * ROW_PIXELS}px)`;
    });
    this.at("words").style.height = `${rows * ROW_PIXELS}px`;
  }

  draw() {
    const scroll = this.at("scroll");
    const canvas = this.at("wave");
    const [width, height] = [scroll.clientWidth, canvas.clientHeight];
    const scale = window.devicePixelRatio || 1;
    this.at("view").style.width = `${width}px`;
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    this.drawWave(pen, width, height, scroll.scrollLeft);
    this.tick();
  }

  drawWave(pen, width, height, left) {
    const middle = height / 2;
    const [soft, mark] = [color("--ec-wave"), color("--ec-mark")];
    pen.fillStyle = mark;
    for (const { start, end } of this.words) {
      const x = start * this.pixels - left;
      if (x < width && end * this.pixels > left) {
        pen.fillRect(x, 0, Math.max(1, (end - start) * this.pixels - 1), height);
      }
    }
    pen.fillStyle = soft;
    const loudest = Math.max(3000, this.loudest());
    const each = this.rate / this.pixels; // samples of a pixel
    for (let x = 0; x < width; x++) {
      const from = Math.floor((left + x) * each);
      const to = Math.min(this.samples.length, Math.ceil((left + x + 1) * each));
      if (from >= to) break;
      let [low, high] = [0, 0];
      for (let i = from; i < to; i++) {
        if (this.samples[i] < low) low = this.samples[i];
        else if (this.samples[i] > high) high = this.samples[i];
      }
      const top = middle - (high / loudest) * (middle - 2);
      const bottom = middle - (low / loudest) * (middle - 2);
      pen.fillRect(x, top, 1, Math.max(1, bottom - top));
    }
  }

  loudest() {
    if (this.scaled !== this.samples) {
      let most = 0;
      for (const x of this.samples) most = Math.max(most, Math.abs(x));
      [this.scaled, this.most] = [this.samples, most];
    }
    return this.most;
  }

  // Move with the sound while it plays.
  follow() {
    this.showPlaying();
    const step = () => {
      this.tick(true);
      if (!this.audio.paused) requestAnimationFrame(step);
    };
    step();
  }

  tick(keepInView = false) {
    const x = this.time * this.pixels;
    this.at("now").style.transform = `translateX(${x}px)`;
    this.at("now").hidden = !this.seconds;
    const scroll = this.at("scroll");
    const isSeen = x > scroll.scrollLeft && x < scroll.scrollLeft + scroll.clientWidth - 20;
    if (keepInView && !isSeen) scroll.scrollLeft = x - 60;
    this.at("time").textContent = this.seconds ? placeOf(this.time, this.seconds) : "";
    scroll.setAttribute("aria-valuenow", this.time.toFixed(1));
    scroll.setAttribute("aria-valuemax", this.seconds.toFixed(1));
    const plays = this.live !== null || this.time > 0;
    const now = plays ? this.words.findLastIndex((word) => word.start <= this.time + 0.01) : -1;
    if (now !== this.current) {
      this.labels[this.current]?.classList.remove("ec-now");
      this.labels[now]?.classList.add("ec-now");
      this.current = now;
      this.onWord(now);
    }
    this.onTime(this.time);
  }

  showPlaying() {
    const plays = this.canPlay && !this.audio.paused;
    this.at("play").classList.toggle("ec-plays", plays);
    this.at("play").setAttribute("aria-label", plays ? "Pause" : "Play");
    this.at("play").disabled = !this.canPlay;
  }
}

// Lines of words to read, as in the captions; a click on a word plays from there.
function showLines(box, lines, track) {
  let index = 0;
  const spans = [];
  box.replaceChildren(
    ...lines.map((line) => {
      const row = document.createElement("div");
      row.className = "ec-line";
      const time = Object.assign(document.createElement("time"), {
        className: "ec-at",
        textContent: clock(line.start),
      });
      const said = Object.assign(document.createElement("p"), { className: "ec-said" });
      line.words.forEach((word, place) => {
        const span = document.createElement("span");
        span.className = "ec-word ec-final";
        [span.textContent, span.title, span.dataset.word] = [word.text, titleOf(word), index++];
        said.append(place ? word.gap : "", span);
        spans.push(span);
      });
      row.append(time, said);
      return row;
    })
  );
  track.onWord = (now) => spans.forEach((span, i) => span.classList.toggle("ec-now", i === now));
}

function playWordsOf(box, track) {
  box.addEventListener("click", (event) => {
    const word = event.target.closest("[data-word]");
    if (word) track.play(track.words[Number(word.dataset.word)].start);
  });
}
