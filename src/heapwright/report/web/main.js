"use strict";

/** The page: what is chosen, and its parts. */
class Page {
  constructor(data) {
    this.data = data;
    this.range = [0, 0];
    this.flame = new Flame(byId("flame"), {
      onTip: showTip,
      onDetail: (text) => (byId("detail").textContent = text),
      onMatched: (text) => (byId("matched").textContent = text),
    });
    this.fillChoices();
    this.listen();
    this.open(0);
    this.against = data.against && new Against(data.against);
    this.against?.draw();
  }

  fillChoices() {
    d3.select("#process").selectAll("option").data(this.data.processes).join("option").attr("value", (_, place) => place)
      .text((each) => `${each.process.command || "?"} (PID ${each.process.pid})`);
    byId("process-label").hidden = this.data.processes.length < 2;
  }

  /** Show the process at a place. */
  open(place) {
    this.process = new Process(this.data.processes[place]);
    const { process } = this;
    d3.select("#metric").selectAll("option").data(process.metrics).join("option")
      .attr("value", (key) => key).text((key) => METRICS[key].name);
    byId("facts").textContent = process.facts
      + (process.has_call_sites ? "" : "; the trace has no call sites, so blocks are told apart by thread and size")
      + (this.data.left_out ? `; further processes, not on this page: ${this.data.left_out}` : "");
    d3.select("#remarks").selectAll("li").data(process.remarks).join("li").text((text) => text);
    this.range = [0, Math.max(0, process.count - 1)];
    this.flame.path = [];
    this.makeTables();
    this.curve = process.count ? new Curve(byId("curve"), process, (range) => this.choose(range)) : null;
    this.drawBars();
    this.choose(this.range);
  }

  makeTables() {
    const { process, data } = this, first = process.has_call_sites ? "function" : "size";
    byId("callers-title").textContent = `By ${first}, in the chosen time`;
    this.callers = new SortedTable(byId("callers"), [
      nameColumn(first), bytesColumn("at the peak", "peak"), shareColumn("share", "share"),
      bytesColumn("asked for", "requested"), column("requests", "requests"),
      ...(process.sample ? [] : [column("temporary", "temporary")]), bytesColumn("never freed", "left"),
    ], "by function");
    fill("growth", process.growth ? process.growth.callers : [], [
      nameColumn(first), column("growths", "count"), column("of one block", "longest"), bytesColumn("bytes to copy", "old_bytes"),
    ]);
    fill("threads", process.threads.length > 1 ? process.threads : [], [
      nameColumn("thread"), bytesColumn("asked for", "bytes"), bytesColumn("at the peak", "at_peak"),
      column("requests", "requests"), column("frees", "frees"), column("of others' blocks", "frees_of_others"),
    ]);
    const against = data.against ?? { rows: [], text: "" };
    byId("against-text").textContent = against.text;
    fill("against", against.rows, [
      nameColumn(first), bytesColumn("grew by", "difference"), bytesColumn("now", "now"), bytesColumn("before", "before"),
    ]);
  }

  drawBars() {
    const { process } = this;
    drawBars(byId("sizes"), process.sizes, powerText, showTip);
    const isTime = process.axis === "time";
    byId("lifetimes-title").textContent = `Freed blocks by lifetime${isTime ? "" : ", in events"}`;
    drawBars(byId("lifetimes"), process.lifetimes, isTime ? durationText : d3.format("~s"), showTip);
  }

  /** Choose a range of bins: the flame graph and the table follow. */
  choose(range) {
    this.range = range;
    const { process } = this, [first, last] = range;
    if (process.count) {
      const bin = process.peakBin(first, last), peak = sizeText(process.bins.high[bin]);
      byId("range-text").textContent = `${process.when(process.edge(first))} to ${process.when(process.edge(last + 1))}: `
        + `at most ${peak} at ${process.when(process.bins.when[bin])}`;
    }
    if (!this.isWaiting) requestAnimationFrame(() => this.follow());
    this.isWaiting = true;
  }

  follow() {
    this.isWaiting = false;
    const own = {};
    for (const metric of this.process.metrics) own[metric] = this.process.own(metric, this.range);
    this.showCallers(own);
    this.own = own;
    this.showFlame();
  }

  showFlame() {
    const metric = byId("metric").value, tree = byId("direction").value === "down" ? treeDown : treeUp;
    this.flame.show(this.process, metric, tree(this.process, this.own[metric]));
  }

  showCallers(own) {
    const rows = new Map();
    for (const [metric, values] of Object.entries(own)) {
      for (const [frame, sum] of this.process.byName(values)) {
        if (!rows.has(frame)) rows.set(frame, { name: this.process.frameName(frame), peak: 0, requested: 0, requests: 0, temporary: 0, left: 0 });
        rows.get(frame)[metric] = sum;
      }
    }
    const whole = d3.sum(rows.values(), (row) => row.peak);
    for (const row of rows.values()) row.share = whole ? row.peak / whole : 0;
    this.callers.show([...rows.values()]);
  }

  toPeak() {
    this.curve?.around(this.process.peakBin(0, this.process.count - 1));
  }

  escape() {
    if (this.against?.unzoom()) return;
    if (this.flame.path.length) this.flame.zoom(this.flame.root);
    else this.curve?.choose([0, this.process.count - 1]);
  }

  redraw() {
    this.curve?.draw();
    this.drawBars();
    this.flame.draw();
    this.against?.draw();
  }

  listen() {
    byId("process").addEventListener("change", (event) => this.open(Number(event.target.value)));
    for (const id of ["metric", "direction"]) byId(id).addEventListener("change", () => this.showFlame());
    byId("layout").addEventListener("change", (event) => {
      this.flame.layout = event.target.value;
      this.flame.draw();
    });
    byId("search").addEventListener("input", (event) => this.flame.search(event.target.value));
    byId("unzoom").addEventListener("click", () => this.flame.zoom(this.flame.root));
    byId("whole").addEventListener("click", () => this.curve?.choose([0, this.process.count - 1]));
    byId("to-peak").addEventListener("click", () => this.toPeak());
    listenToKeys({ Escape: () => this.escape(), "/": () => byId("search").focus(), p: () => this.toPeak() });
    onNewWidth(() => this.redraw());
  }
}

openPage(Page);
