"use strict";

/** The page: what is chosen, and the maps side by side. */
class Page {
  constructor(data) {
    this.subject = new Subject(data);
    this.palette = new Palette(this.subject);
    this.time = [0, this.subject.events];
    this.colour = "state";
    this.highest = this.highestBytes();
    byId("facts").textContent = data.facts;
    this.fillChoices();
    this.makePanels();
    this.makeTable();
    this.listen();
    this.resize();
  }

  fillChoices() {
    const { sites, blocks } = this.subject, isThreaded = blocks.thread.some((each) => each !== blocks.thread[0]);
    const known = Object.entries(COLOURS).filter(([key]) => (key === "site" ? sites.length : key !== "thread" || isThreaded));
    d3.select("#colour").selectAll("option").data(known).join("option").attr("value", ([key]) => key).text(([, { name }]) => name);
    byId("to-failure").disabled = !this.subject.maps.some((map) => map.failure);
    byId("parts").hidden = !this.subject.maps.some((map) => map.parts);
    d3.select("#parts").selectAll("span").data(Object.entries(PARTS)).join("span")
      .attr("class", ([key]) => `swatch-${key}`).text(([, name]) => name);
    byId("to-hole").disabled = !this.subject.maps.some((map) => map.hole);
  }

  /** The most bytes of any curve, so that all have one scale. */
  highestBytes() {
    const { live, maps } = this.subject;
    const ofMap = (map) => (map.parts ? [...map.parts.held_bytes, ...map.parts.resident_bytes] : [...map.touched, ...map.resident_bytes]);
    return d3.max([...live, ...maps.flatMap(ofMap)]) ?? 1;
  }

  makePanels() {
    const elements = d3.select("#maps").selectAll(".panel").data(this.subject.maps).join("div").attr("class", "panel")
      .attr("data-number", (_, place) => place).nodes();
    this.panels = this.subject.maps.map((map, place) => new Panel(elements[place], map, this));
  }

  makeTable() {
    const rows = this.subject.maps.map((map) => ({
      name: map.name, peak: d3.max(map.resident_bytes) ?? 0, end: map.resident_bytes.at(-1) ?? 0, touched: map.touched.at(-1) ?? 0,
      hole: map.hole?.size ?? 0, empty: map.hole?.resident ?? 0, failures: map.failures,
      single: map.place.filter((each) => each >= 0).length, placements: map.placements,
    }));
    new SortedTable(byId("table"), [
      nameColumn("malloc"), bytesColumn("most resident", "peak"), bytesColumn("resident at the end", "end"),
      bytesColumn("pages ever used", "touched"), bytesColumn("largest hole", "hole"), bytesColumn("of it resident", "empty"),
      column("refused requests", "failures"), column("blocks shown singly", "single"), column("of", "placements"),
    ], "figures").show(rows);
  }

  resize() {
    this.panels.forEach((panel) => panel.resize());
    this.changed();
  }

  /** Draw again in the next frame. */
  changed() {
    if (!this.isWaiting) requestAnimationFrame(() => this.draw());
    this.isWaiting = true;
  }

  draw() {
    this.isWaiting = false;
    const [first, last] = this.time, { subject } = this;
    byId("range-text").textContent = `${subject.when(first)} to ${subject.when(Math.max(first, last - 1))}`;
    d3.select("#legend").selectAll("span").data(this.palette.legend(this.colour)).join("span")
      .style("--swatch", ([, rgb]) => d3.rgb(...rgb)).text(([name]) => name);
    this.panels.forEach((panel) => panel.draw());
  }

  /** Tell what lies at a point of a map. */
  name(panel, px, py) {
    byId("detail").textContent = `${panel.map.name}: ${panel.text(panel.at(px, py)).replaceAll("\n", "; ")}`;
  }

  // --- jumps

  whole() {
    this.time = [0, this.subject.events];
    this.panels.forEach((panel) => (panel.place = [0, panel.map.height]));
    this.changed();
  }

  around(event) {
    const length = this.time[1] - this.time[0], reach = Math.min(length, Math.max(NEAREST.events, this.subject.events / 10));
    this.time = moved([event - reach / 2, event + reach / 2], 0, [0, this.subject.events]);
    this.changed();
  }

  toPeak() {
    this.whole();
    this.around(this.subject.peak);
    byId("detail").textContent = `the peak: ${sizeText(d3.max(this.subject.live))} live at ${this.subject.when(this.subject.peak - 1)}`;
  }

  toFailure() {
    const failed = d3.least(this.subject.maps.filter((map) => map.failure), (map) => map.failure.event);
    if (!failed) return;
    this.whole();
    this.around(failed.failure.event);
    byId("detail").textContent = `${failed.name} refused ${sizeText(failed.failure.size)} at ${this.subject.when(failed.failure.event)}`;
  }

  /** Each map goes to its own largest hole; the time is that of the largest of all. */
  toHole() {
    const holed = this.panels.filter((panel) => panel.map.hole), largest = d3.greatest(holed, (panel) => panel.map.hole.size);
    if (!largest) return;
    this.whole();
    for (const panel of holed) {
      const { map } = panel, place = map.hole.place / map.unit, size = map.hole.size / map.unit;
      panel.place = zoomed([place - size, place + 2 * size], place, 1, [0, map.height], NEAREST.bytes / map.unit);
    }
    const { name, hole } = largest.map;
    this.around(hole.event);
    byId("detail").textContent = `${name}: the largest hole has ${sizeText(hole.size)} at ${hex(hole.start)}, `
      + `${sizeText(hole.resident)} of it resident, after ${this.subject.when(hole.event - 1)}`;
  }

  listen() {
    byId("colour").addEventListener("change", (event) => {
      this.colour = event.target.value;
      this.changed();
    });
    byId("whole").addEventListener("click", () => this.whole());
    byId("to-peak").addEventListener("click", () => this.toPeak());
    byId("to-failure").addEventListener("click", () => this.toFailure());
    byId("to-hole").addEventListener("click", () => this.toHole());
    listenToKeys({ Escape: () => this.whole(), p: () => this.toPeak(), f: () => this.toFailure(), h: () => this.toHole() });
    onNewWidth(() => this.resize());
    const recolour = () => {
      this.palette.read();
      this.changed();
    };
    new MutationObserver(recolour).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  }
}

openPage(Page);
