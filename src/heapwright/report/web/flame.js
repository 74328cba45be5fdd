"use strict";

const ROW = 20, LETTER = 6.6, MIN_WIDTH = 0.7; // pixels

/** A tree of call stacks as an icicle or a flame graph. A click or Enter shows only a frame and what is below it. */
class Flame {
  constructor(element, callbacks) {
    Object.assign(this, { element, ...callbacks });
    this.layout = "icicle";
    this.pattern = "";
    this.path = []; // frames from the root to the one that is shown
  }

  /** Show another tree; what was shown before is shown again if it is there. */
  show(process, metric, root) {
    Object.assign(this, { process, metric });
    this.root = d3.hierarchy(root).sum((node) => node.own).sort((a, b) => b.value - a.value);
    d3.partition()(this.root);
    this.top = this.find(this.path);
    this.draw();
  }

  find(path) {
    let node = this.root;
    for (const frame of path) node = (node.children ?? []).find((child) => child.data.frame === frame) ?? node;
    return node;
  }

  draw() {
    const width = Math.max(280, this.element.clientWidth - 1), top = this.top;
    const x = d3.scaleLinear([top.x0, top.x1 > top.x0 ? top.x1 : top.x0 + 1], [0, width]);
    const above = top.ancestors().reverse();
    const shown = [...above.slice(0, -1), ...visible(top, x)];
    const depth = d3.max(shown, (node) => node.depth) + 1;
    const svg = d3.select(this.element).html("").append("svg").attr("width", width).attr("height", depth * ROW + 1)
      .attr("role", "tree").attr("aria-label", `${METRICS[this.metric].name} by call stack`);
    this.nodes = svg.selectAll("g").data(shown).join("g")
      .attr("class", (node) => this.classOf(node)).attr("role", "treeitem").attr("aria-level", (node) => node.depth + 1)
      .attr("tabindex", (node) => (node === top ? 0 : -1)).attr("aria-label", (node) => this.text(node))
      .attr("transform", (node) => `translate(${Math.max(0, x(node.x0))},${this.y(node, depth)})`);
    this.tint(this.nodes);
    const room = (node) => Math.max(0, Math.min(width, x(node.x1)) - Math.max(0, x(node.x0)));
    this.nodes.append("rect").attr("width", room).attr("height", ROW).attr("rx", 2);
    this.nodes.append("text").attr("x", 4).attr("y", ROW - 6).text((node) => fitted(this.name(node), room(node)));
    this.nodes.on("click", (_, node) => this.zoom(node)).on("keydown", (event, node) => this.pressed(event, node))
      .on("pointermove", (event, node) => this.onTip(event, this.text(node))).on("pointerleave", () => this.onTip(null))
      .on("focus", (_, node) => this.onDetail(this.text(node)));
    if (this.layout === "flame") this.element.scrollTop = this.element.scrollHeight;
    this.onMatched(this.pattern ? this.matchedShare() : "");
  }

  y(node, depth) {
    return (this.layout === "icicle" ? node.depth : depth - 1 - node.depth) * ROW;
  }

  name(node) {
    return node.parent ? this.process.frameName(node.data.frame) : "all";
  }

  text(node) {
    const parts = [`${this.name(node)}: ${metricText(this.metric, node.value)}, ${shareText(node.value, this.root.value)}`];
    if (node.children && node.data.own) parts.push(`${metricText(this.metric, node.data.own)} by itself`);
    return parts.join("; ");
  }

  classOf(node) {
    const classes = ["frame"];
    if (!node.parent) classes.push("all");
    if (this.isMatch(node)) classes.push("match");
    if (node.depth < this.top.depth) classes.push("above");
    return classes.join(" ");
  }

  tint(nodes) {
    nodes.style("--hue", (node) => this.hue(node));
  }

  /** Python is blue and green, all else is warm; a library or a file has a hue of its own. */
  hue(node) {
    const [name, language, group] = this.process.frames[node.data.frame] ?? ["", "", ""];
    let hash = 7;
    for (const letter of group || name) hash = (hash * 31 + letter.charCodeAt(0)) % 1009;
    return language === "python" ? 150 + (hash % 110) : 5 + (hash % 55);
  }

  isMatch(node) {
    return Boolean(this.pattern) && this.name(node).toLowerCase().includes(this.pattern);
  }

  /** The share of the frames that match, each call stack counted once. */
  matchedShare() {
    let sum = 0;
    const visit = (node) => {
      if (node.parent && this.isMatch(node)) sum += node.value;
      else (node.children ?? []).forEach(visit);
    };
    visit(this.root);
    return `${shareText(sum, this.root.value)} matches`;
  }

  search(pattern) {
    this.pattern = pattern.trim().toLowerCase();
    this.nodes.attr("class", (node) => this.classOf(node));
    this.onMatched(this.pattern ? this.matchedShare() : "");
  }

  zoom(node) {
    this.top = node;
    this.path = node.ancestors().reverse().slice(1).map((each) => each.data.frame);
    this.draw();
    this.focus(node);
  }

  focus(node) {
    this.nodes.attr("tabindex", (each) => (each === node ? 0 : -1)).filter((each) => each === node).node()?.focus();
  }

  pressed(event, node) {
    const deeper = this.layout === "icicle" ? "ArrowDown" : "ArrowUp";
    const next = {
      Enter: () => this.zoom(node),
      " ": () => this.zoom(node),
      ArrowRight: () => this.focus(neighbour(node, 1)),
      ArrowLeft: () => this.focus(neighbour(node, -1)),
      ArrowDown: () => this.focus(deeper === "ArrowDown" ? node.children?.[0] : node.parent),
      ArrowUp: () => this.focus(deeper === "ArrowUp" ? node.children?.[0] : node.parent),
    }[event.key];
    if (!next) return;
    event.preventDefault();
    next();
  }
}

/** A node and those below it that are wide enough to see. */
function visible(node, x) {
  const found = [node];
  for (const child of node.children ?? []) if (x(child.x1) - x(child.x0) >= MIN_WIDTH) found.push(...visible(child, x));
  return found;
}

function neighbour(node, by) {
  const row = node.parent?.children ?? [node];
  return row[row.indexOf(node) + by] ?? node;
}

function fitted(text, width) {
  const letters = Math.floor((width - 8) / LETTER);
  if (letters < 3) return "";
  return text.length <= letters ? text : `${text.slice(0, letters - 1)}…`;
}
