"use strict";

// None is near the colours of free memory. As many sites and threads have a colour of their own.
const KINDS = ["#4e79a7", "#59a14f", "#e15759", "#b07aa1", "#17a2a2", "#9c755f", "#d37295", "#2f5d8a", "#86bcb6", "#7b5cc4"];
const DECADES = { size: [3, 24], life: [0, 24], age: [0, 24] }; // logarithms at the two ends of a scale

/** What a block's colour may stand for: a text, and the colours in the legend. */
const COLOURS = {
  state: { name: "state" },
  size: { name: "size", text: (power) => `${powerText(2 ** power)}` },
  age: { name: "age so far", text: (power) => `${d3.format("~s")(2 ** power)} events` },
  life: { name: "lifetime", text: (power) => `${d3.format("~s")(2 ** power)} events` },
  site: { name: "call site" },
  thread: { name: "thread" },
};

/** Colours as numbers for pixels. They follow light and dark. */
class Palette {
  constructor(subject) {
    this.subject = subject;
    this.read();
  }

  read() {
    const style = getComputedStyle(document.documentElement);
    const named = (name) => rgbOf(style.getPropertyValue(name).trim());
    this.back = named("--map-back");
    this.unused = named("--unused");
    this.givenBack = named("--given-back");
    this.idle = named("--idle");
    this.live = named("--low");
    this.other = named("--faint");
    const isDark = d3.lab(style.getPropertyValue("--map-back")).l < 50;
    const ramp = isDark ? (t) => d3.interpolateViridis(0.15 + 0.85 * t) : (t) => d3.interpolateViridis(0.95 - 0.9 * t);
    this.scale = d3.range(64).map((step) => rgbOf(ramp(step / 63)));
    this.kinds = KINDS.map(rgbOf);
  }

  /** The colour of a logarithm. */
  ofPower(kind, power) {
    const [low, high] = this.range(kind), share = (power - low) / Math.max(1, high - low);
    return this.scale[Math.max(0, Math.min(63, Math.round(63 * share)))];
  }

  range(kind) {
    if (kind === "size") return DECADES.size;
    return [0, Math.max(1, Math.log2(this.subject.events))];
  }

  ofKind(number) {
    return this.kinds[number] ?? this.other;
  }

  /** The colour of a block; for `age` a function of the event, because it changes. */
  ofBlock(kind, place) {
    const { blocks } = this.subject;
    if (kind === "size") return this.ofPower(kind, Math.log2(Math.max(1, blocks.size[place])));
    if (kind === "life") return this.ofPower(kind, Math.log2(blocks.end[place] - blocks.start[place]));
    if (kind === "age") return (event) => this.ofPower(kind, Math.log2(Math.max(1, event - blocks.born[place])));
    if (kind === "site") return this.ofKind(blocks.site[place]);
    if (kind === "thread") return this.ofKind(blocks.thread[place]);
    return this.live;
  }

  /** The colour of a cell of small blocks, which have a mean size and a mean lifetime, but no site and thread. */
  ofCell(kind, size, life) {
    if (kind === "size") return this.ofPower(kind, size);
    if (kind === "life" || kind === "age") return this.ofPower(kind, life);
    return kind === "state" ? this.live : this.other;
  }

  legend(kind) {
    const { sites, threads } = this.subject, rows = this.kindsIn(kind, sites, threads);
    rows.push(["free or overhead, resident", this.idle], ["given back to the kernel", this.givenBack], ["not used yet", this.unused]);
    return rows;
  }

  kindsIn(kind, sites, threads) {
    if (kind === "state") return [["in use", this.live]];
    const whole = [["others", this.other]];
    if (kind === "site") return [...sites.slice(0, KINDS.length).map((name, place) => [name, this.kinds[place]]), ...whole];
    if (kind === "thread") {
      const count = Math.max(threads.length, 1 + d3.max(this.subject.blocks.thread));
      return d3.range(Math.min(count, this.kinds.length)).map((each) => [this.subject.threadName(each), this.kinds[each]]);
    }
    const [low, high] = this.range(kind);
    return d3.range(5).map((step) => low + (step * (high - low)) / 4)
      .map((power) => [COLOURS[kind].text(Math.round(power)), this.ofPower(kind, power)]);
  }
}

function rgbOf(text) {
  const { r, g, b } = d3.rgb(text);
  return [r, g, b];
}
