"use strict";

/** What all maps share: the blocks, and what is known about each. */
class Blocks {
  constructor(raw, data) {
    const { start, length, age, size, thread, site } = raw;
    this.start = fromDifferences(start);
    this.end = this.start.map((at, place) => at + length[place]);
    this.born = this.start.map((at, place) => at - age[place]);
    Object.assign(this, { size, thread, site, data });
  }

  get count() {
    return this.start.length;
  }

  /** One block in words. */
  text(place, address) {
    const { data } = this, start = this.start[place], end = this.end[place], born = this.born[place];
    const lines = [`${sizeText(this.size[place])} (${grouped.format(this.size[place])} bytes) at ${hex(address)}`];
    lines.push(`${born < start ? "reallocated" : "allocated"} at ${data.when(start)}`
      + (born < start ? `, first allocated at ${data.when(born)}` : ""));
    lines.push(end < data.events ? `until ${data.when(end)}` : "never freed");
    lines.push(data.threadName(this.thread[place]));
    if (this.site[place] >= 0) lines.push(`asked for by ${data.sites[this.site[place]]}`);
    return lines.join("\n");
  }
}

/** One malloc's heap. A place is an offset in the rows; addresses that were never used have no row. */
class HeapMap {
  constructor(raw, blocks) {
    Object.assign(this, raw);
    this.blocks = blocks;
    this.chunks = fromDifferences(raw.chunks);
    this.place = fromDifferences(raw.places); // -1 for a block that is not there
    this.room = 2 ** raw.shift / raw.unit; // of a row, in units
    this.height = Math.max(1, this.chunks.length) * this.room;
    this.resident = raw.resident.map((steps) => fromSteps(steps, raw.stops.length));
    if (raw.rest) this.rest = restOf(raw.rest, Math.ceil(raw.columns / raw.rest.step));
  }

  units(place) {
    return Math.max(1, this.blocks.size[place]) / this.unit;
  }

  address(units) {
    const row = Math.min(this.chunks.length - 1, Math.floor(units / this.room));
    return this.chunks[row] * 2 ** this.shift + Math.floor((units - row * this.room) * this.unit);
  }

  /** The block that lies somewhere at some time; -1 if none is known. */
  blockAt(event, units) {
    const { start, end, count } = this.blocks;
    for (let place = 0; place < count && start[place] <= event; place++) {
      const at = this.place[place];
      if (end[place] > event && at >= 0 && at <= units && units < at + this.units(place)) return place;
    }
    return -1;
  }

  /** The cell of small blocks at a place and time, if there are any. */
  cellAt(event, units) {
    if (!this.rest) return null;
    const row = Math.floor(units / this.room / this.factor), column = Math.floor(event / this.width / this.rest.step);
    const cover = this.rest.cover[row]?.[column];
    return cover ? { cover, size: 2 ** this.rest.size[row][column], life: 2 ** this.rest.life[row][column] } : null;
  }

  residentShare(event, row) {
    const rows = this.resident[Math.floor(row / this.factor)];
    return rows ? rows[Math.min(this.stops.length - 1, d3.bisectLeft(this.stops, event))] / 255 : 0;
  }

  isUsedBy(event, row) {
    return this.first[row] * this.width <= event;
  }
}

function restOf(raw, count) {
  const all = (rows, factor) => rows.map((steps) => fromSteps(steps, count).map((value) => value / factor));
  return { step: raw.step, cover: all(raw.cover, 255), size: all(raw.size, 8), life: all(raw.life, 8) };
}

function hex(address) {
  return `0x${Math.floor(address).toString(16)}`;
}

/** The trace: how moments and threads are named. */
class Subject {
  constructor(raw) {
    Object.assign(this, raw);
    this.blocks = new Blocks(raw.blocks, this);
    this.maps = raw.maps.map((each) => new HeapMap(each, this.blocks));
  }

  when(event) {
    const name = `event ${grouped.format(Math.min(this.events, Math.floor(event) + 1))}`;
    return this.times.length ? `${name} (${durationText(this.timeOf(event))})` : name;
  }

  timeOf(event) {
    const last = this.times.length - 1, at = Math.max(0, Math.min(last, (event / Math.max(1, this.events - 1)) * last));
    return this.times[Math.floor(at)];
  }

  threadName(thread) {
    const name = this.threads[thread];
    return name ? `${name} (thread ${thread + 1})` : `thread ${thread + 1}`;
  }
}
