"use strict";

const MEASURES = ["peak", "left", "requested"];

/** Two recordings as one tree: a node is as wide as the larger of what it has now and what it had before. */
class DifferenceTree {
  constructor(raw) {
    Object.assign(this, raw);
    this.frames = raw.names.map((name) => [name, "", ""]);
  }

  frameName(node) {
    return this.names[node];
  }

  tree(measure) {
    const [now, before] = this.own[measure], { parents } = this;
    const nodes = parents.map((_, frame) => ({
      frame, own: Math.max(now[frame], before[frame]), now: now[frame], before: before[frame], children: [],
    }));
    for (let node = nodes.length - 1; node > 0; node--) {
      const parent = nodes[parents[node]];
      parent.now += nodes[node].now;
      parent.before += nodes[node].before;
      if (nodes[node].now || nodes[node].before) parent.children.push(nodes[node]);
    }
    return nodes[0];
  }
}

/** A flame graph of what changed: red grew, blue shrank, the more the stronger. */
class DifferenceFlame extends Flame {
  text(node) {
    const { now, before } = node.data, change = now - before;
    const by = change ? `${change > 0 ? "grew" : "shrank"} by ${sizeText(Math.abs(change))}` : "did not change";
    return `${this.name(node)}: ${by}, from ${sizeText(before)} to ${sizeText(now)}`;
  }

  classOf(node) {
    return `${super.classOf(node)} change`;
  }

  tint(nodes) {
    const part = ({ data }) => Math.abs(data.now - data.before) / Math.max(1, data.now, data.before);
    nodes.style("--tint", ({ data }) => `var(--${data.now > data.before ? "grew" : "shrank"})`)
      .style("--part", (node) => `${Math.round(100 * part(node))}%`);
  }
}

/** The section about an earlier recording. */
class Against {
  constructor(against) {
    this.tree = new DifferenceTree(against.tree);
    this.flame = new DifferenceFlame(byId("difference"), {
      onTip: showTip, onDetail: (text) => (byId("difference-detail").textContent = text), onMatched: () => {},
    });
    d3.select("#measure").selectAll("option").data(MEASURES).join("option")
      .attr("value", (measure) => measure).text((measure) => METRICS[measure].name);
    byId("measure").addEventListener("change", () => this.draw());
  }

  draw() {
    const measure = byId("measure").value;
    this.flame.show(this.tree, measure, this.tree.tree(measure));
  }

  /** Show all frames again. False if they are shown already. */
  unzoom() {
    if (!this.flame.path.length) return false;
    this.flame.zoom(this.flame.root);
    return true;
  }
}
