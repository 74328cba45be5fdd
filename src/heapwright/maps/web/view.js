"use strict";

const MAP = { left: 130, right: 12, curve: 84, gap: 6, height: 360, bottom: 24 };
const NEAREST = { events: 4, bytes: 128 }; // of what can be shown

/** Sums of colours in the pixels of a canvas: what covers a part of a pixel counts with that part. */
class Paint {
  constructor(width, height) {
    Object.assign(this, { width, height });
    this.sums = new Float32Array(width * height * 4);
  }

  /** Add a rectangle in pixels. Its colour may be a function of the column. */
  add(x0, x1, y0, y1, colour, weight = 1) {
    const { width, height, sums } = this, isFixed = Array.isArray(colour);
    const left = Math.max(0, x0), right = Math.min(width, x1), top = Math.max(0, y0), bottom = Math.min(height, y1);
    for (let x = Math.floor(left); x < right; x++) {
      const across = weight * (Math.min(right, x + 1) - Math.max(left, x)), [r, g, b] = isFixed ? colour : colour(x);
      for (let y = Math.floor(top); y < bottom; y++) {
        const part = across * (Math.min(bottom, y + 1) - Math.max(top, y)), at = (y * width + x) * 4;
        sums[at] += part * r;
        sums[at + 1] += part * g;
        sums[at + 2] += part * b;
        sums[at + 3] += part;
      }
    }
  }

  /** The picture, over a background: a function of column and row. */
  over(image, background) {
    const { width, height, sums } = this, pixels = image.data;
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at += 4) {
        const cover = sums[at + 3], scale = cover > 1 ? 1 / cover : 1, rest = cover > 1 ? 0 : 1 - cover, back = background(x, y);
        for (let part = 0; part < 3; part++) pixels[at + part] = sums[at + part] * scale + back[part] * rest;
        pixels[at + 3] = 255;
      }
    }
    return image;
  }
}

/** One malloc's map with its curves. All panels show the same time; each has its own addresses. */
class Panel {
  constructor(element, map, page) {
    Object.assign(this, { map, page, palette: page.palette });
    this.place = [0, map.height];
    this.element = d3.select(element);
    this.element.append("h3").text(map.name);
    this.drawn = this.element.append("div").attr("class", "drawn");
    this.svg = this.drawn.append("svg").attr("class", "axes");
    this.canvas = this.drawn.append("canvas").attr("tabindex", 0).attr("role", "img").style("left", `${MAP.left}px`)
      .style("top", `${MAP.curve + MAP.gap}px`);
    new Pointing(this);
  }

  resize() {
    this.width = Math.max(120, this.element.node().clientWidth - MAP.left - MAP.right);
    const scale = Math.min(2, window.devicePixelRatio || 1), canvas = this.canvas.node();
    canvas.width = Math.round(this.width * scale);
    canvas.height = Math.round(MAP.height * scale);
    this.canvas.style("width", `${this.width}px`).style("height", `${MAP.height}px`);
    const height = MAP.curve + MAP.gap + MAP.height + MAP.bottom;
    this.svg.attr("width", MAP.left + this.width + MAP.right).attr("height", height);
  }

  draw() {
    const { width, height } = this.canvas.node();
    this.x = d3.scaleLinear(this.page.time, [0, width]);
    this.y = d3.scaleLinear(this.place, [height, 0]);
    const paint = new Paint(width, height);
    this.paintCells(paint);
    this.paintBlocks(paint);
    const context = this.canvas.node().getContext("2d");
    context.putImageData(paint.over(context.createImageData(width, height), this.background(width, height)), 0, 0);
    this.canvas.attr("aria-label", `${this.map.name}: heap, ${this.rangeText()}`);
    drawAround(this);
  }

  /** The blocks that are known singly. */
  paintBlocks(paint) {
    const { map, x, y, page } = this, { start, end, count } = map.blocks, [t0, t1] = page.time, [p0, p1] = this.place;
    for (let each = 0; each < count && start[each] < t1; each++) {
      const at = map.place[each], top = at + map.units(each);
      if (at < 0 || end[each] <= t0 || at >= p1 || top <= p0) continue;
      const colour = this.palette.ofBlock(page.colour, each);
      paint.add(x(start[each]), x(end[each]), y(top), y(at), Array.isArray(colour) ? colour : (column) => colour(x.invert(column)));
    }
  }

  /** The cells of what is not known singly. */
  paintCells(paint) {
    const { map, x, y, page } = this, { rest } = map;
    if (!rest) return;
    const events = map.width * rest.step, units = map.room * map.factor;
    const [c0, c1] = page.time.map((event) => event / events), [r0, r1] = this.place.map((place) => place / units);
    for (let row = Math.max(0, Math.floor(r0)); row < Math.min(rest.cover.length, r1); row++) {
      for (let column = Math.max(0, Math.floor(c0)); column < Math.min(rest.cover[row].length, c1); column++) {
        const cover = rest.cover[row][column];
        if (!cover) continue;
        const colour = this.palette.ofCell(page.colour, rest.size[row][column], rest.life[row][column]);
        paint.add(x(column * events), x((column + 1) * events), y((row + 1) * units), y(row * units), colour, cover);
      }
    }
  }

  /** What lies behind the blocks: free memory that is resident, or was given back; or has not been used. */
  background(width, height) {
    const { map, palette } = this, share = new Float32Array(1);
    const rows = d3.range(height).map((y) => Math.floor(this.y.invert(y + 0.5) / map.room));
    const events = d3.range(width).map((x) => this.x.invert(x + 0.5));
    const stops = events.map((event) => Math.min(map.stops.length - 1, d3.bisectLeft(map.stops, event)));
    const mixed = d3.range(65).map((step) => d3.range(3).map((part) =>
      palette.givenBack[part] + (palette.idle[part] - palette.givenBack[part]) * (step / 64)));
    return (x, y) => {
      const row = rows[y];
      if (row < 0 || row >= map.chunks.length) return palette.back;
      if (!map.isUsedBy(events[x], row)) return palette.unused;
      share[0] = map.resident[Math.floor(row / map.factor)]?.[stops[x]] ?? 0;
      return mixed[Math.round((share[0] / 255) * 64)];
    };
  }

  rangeText() {
    const { map } = this, [low, high] = this.place;
    return `${hex(map.address(low))} to ${hex(map.address(Math.max(low, high - 1e-9)))}`;
  }

  // --- what is at a point

  /** The moment and the place at a point of the canvas, in CSS pixels. */
  at(px, py) {
    const [t0, t1] = this.page.time, [p0, p1] = this.place;
    return { event: t0 + (px / this.width) * (t1 - t0), units: p1 - (py / MAP.height) * (p1 - p0) };
  }

  /** What lies there, in words. */
  text({ event, units }) {
    const { map } = this, row = Math.floor(units / map.room);
    if (event < 0 || event >= this.page.subject.events || row < 0 || row >= map.chunks.length) return "";
    const block = map.blockAt(event, units), when = this.page.subject.when(event);
    if (block >= 0) return map.blocks.text(block, map.address(map.place[block]));
    const cell = map.cellAt(event, units);
    if (cell) return `small or short-lived blocks, not shown singly, have ${shareText(cell.cover, 1)} of this cell at ${when}: `
      + `about ${sizeText(cell.size)} each, for ${d3.format("~s")(Math.round(cell.life))} events`;
    const where = `${hex(map.address(units))} at ${when}`;
    if (!map.isUsedBy(event, row)) return `not used yet: ${where}`;
    return `free: ${where}; ${shareText(map.residentShare(event, row), 1)} of the pages here are resident`;
  }

  // --- moves

  /** Zoom by factors around a point; a factor below 1 comes nearer. */
  zoom({ event, units }, byTime, byPlace) {
    const { map, page } = this;
    page.time = zoomed(page.time, event, byTime, [0, page.subject.events], NEAREST.events);
    this.place = zoomed(this.place, units, byPlace, [0, map.height], NEAREST.bytes / map.unit);
    page.changed();
  }

  /** Move by shares of what is shown. */
  pan(byTime, byPlace) {
    const { map, page } = this;
    page.time = moved(page.time, byTime, [0, page.subject.events]);
    this.place = moved(this.place, byPlace, [0, map.height]);
    page.changed();
  }
}

function zoomed([low, high], around, factor, [least, most], shortest) {
  const length = Math.min(most - least, Math.max(Math.min(shortest, most - least), (high - low) * factor));
  const share = (around - low) / (high - low);
  return moved([around - share * length, around + (1 - share) * length], 0, [least, most]);
}

function moved([low, high], share, [least, most]) {
  const length = high - low, start = Math.max(least, Math.min(most - length, low + share * length));
  return [start, start + length];
}
