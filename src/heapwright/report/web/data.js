"use strict";

const METRICS = {
  peak: { name: "live at the peak", isBytes: true },
  requested: { name: "bytes asked for", isBytes: true },
  requests: { name: "requests", isBytes: false },
  temporary: { name: "temporary blocks", isBytes: false },
  left: { name: "bytes never freed", isBytes: true },
};

function metricText(metric, value) {
  return METRICS[metric].isBytes ? sizeText(value) : grouped.format(value);
}

/** One process: its findings, and values of its call stacks that can be summed over any range of bins. */
class Process {
  constructor(raw) {
    Object.assign(this, raw);
    this.count = raw.bins.high.length;
    this.columns = {};
  }

  /** A moment on the axis, in words. */
  when(x) {
    return this.axis === "time" ? durationText(x) : `event ${grouped.format(x + 1)}`;
  }

  /** Where a bin starts; where the last one ends for the number of bins. */
  edge(bin) {
    return Math.min(this.bins.start + bin * this.bins.width, Math.max(this.curve.end, this.bins.start + 1));
  }

  /** The bin with the most live bytes from `first` to `last`. */
  peakBin(first, last) {
    let best = first;
    for (let bin = first; bin <= last; bin++) if (this.bins.high[bin] > this.bins.high[best]) best = bin;
    return best;
  }

  /** What the trace says of call stacks. A sample does not know which blocks are temporary. */
  get metrics() {
    return Object.keys(METRICS).filter((metric) => metric !== "temporary" || !this.sample);
  }

  /** A metric's matrix: an array of all rows for each bin. */
  matrix(metric) {
    if (!this.columns[metric]) {
      const rows = this.values[metric], columns = Array.from({ length: this.count }, () => new Float64Array(rows.length));
      rows.forEach((steps, row) => fromSteps(steps, this.count).forEach((value, bin) => (columns[bin][row] = value)));
      this.columns[metric] = columns;
    }
    return this.columns[metric];
  }

  /** Each row's own value in a range of bins: at its peak, or summed. */
  own(metric, [first, last]) {
    const matrix = this.matrix(metric);
    if (!this.count) return new Float64Array(this.parents.length);
    if (metric === "peak") return matrix[this.peakBin(first, last)];
    const sums = new Float64Array(this.parents.length);
    for (let bin = first; bin <= last; bin++) matrix[bin].forEach((value, row) => (sums[row] += value));
    return sums;
  }

  frameName(frame) {
    return frame < 0 ? "an unknown caller" : this.frames[frame][0];
  }

  /** Rows summed by the function to name: name to sum. */
  byName(values) {
    const sums = new Map();
    values.forEach((value, row) => {
      if (value) sums.set(this.named[row], (sums.get(this.named[row]) ?? 0) + value);
    });
    return sums;
  }
}

// --- trees

/** The tree from the outermost frames down. A row is a node under its caller's. */
function treeDown(process, values) {
  const nodes = Array.from(values, (own, row) => ({ frame: process.frame[row], own, children: [] }));
  for (let row = nodes.length - 1; row > 0; row--) {
    nodes[row].value = (nodes[row].value ?? 0) + nodes[row].own;
    const parent = nodes[process.parents[row]];
    parent.value = (parent.value ?? 0) + nodes[row].value;
    if (nodes[row].value > 0) parent.children.push(nodes[row]);
  }
  nodes[0].value = (nodes[0].value ?? 0) + nodes[0].own;
  return merged(nodes[0]);
}

/** The tree from the functions that called malloc up to their callers. */
function treeUp(process, values) {
  const root = { frame: -1, own: 0, children: [], byFrame: new Map() };
  values.forEach((value, row) => {
    if (!value) return;
    let node = root;
    for (let at = row; at > 0; at = process.parents[at]) {
      const frame = process.frame[at];
      if (!node.byFrame.has(frame)) {
        const child = { frame, own: 0, children: [], byFrame: new Map() };
        node.byFrame.set(frame, child);
        node.children.push(child);
      }
      node = node.byFrame.get(frame);
    }
    node.own += value;
  });
  return root;
}

/** A tree in which no node has two children of one frame. */
function merged(node) {
  const byFrame = new Map();
  for (const child of node.children) {
    const twin = byFrame.get(child.frame);
    if (twin) {
      twin.own += child.own;
      twin.children.push(...child.children);
    } else byFrame.set(child.frame, child);
  }
  node.children = [...byFrame.values()];
  node.children.forEach(merged);
  return node;
}
