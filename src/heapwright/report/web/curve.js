"use strict";

const CURVE = { height: 220, top: 12, right: 16, bottom: 28, left: 76 };

/** The curve of live bytes, on which a range of bins is chosen with the mouse, a finger or the keyboard. */
class Curve {
  constructor(element, process, onChoose) {
    Object.assign(this, { element, process, onChoose });
    this.range = [0, Math.max(0, process.count - 1)];
    this.draw();
  }

  draw() {
    const { process } = this, points = process.curve, width = Math.max(280, this.element.clientWidth);
    const { height, top, right, bottom, left } = CURVE;
    this.x = d3.scaleLinear([points.start, Math.max(points.end, points.start + 1)], [left, width - right]);
    const y = d3.scaleLinear([0, Math.max(1, d3.max(points.high))], [height - bottom, top]).nice();
    const svg = d3.select(this.element).html("").append("svg").attr("width", width).attr("height", height)
      .attr("role", "group").attr("aria-label", "live bytes over the run");
    this.drawAxes(svg, y, width);
    const step = (points.end - points.start + 1) / Math.max(1, points.high.length);
    const area = (values) => d3.area().curve(d3.curveStepAfter).x((_, i) => this.x(points.start + i * step))
      .y0(y(0)).y1((value) => y(value))([...values, ...values.slice(-1)]);
    svg.append("path").attr("class", "high").attr("d", area(points.high));
    svg.append("path").attr("class", "low").attr("d", area(points.low));
    this.drawPeak(svg, y);
    this.brush = d3.brushX().extent([[left, top], [width - right, height - bottom]])
      .on("brush end", (event) => this.brushed(event));
    this.layer = svg.append("g").attr("class", "brush").call(this.brush);
    this.layer.selectAll(".handle").remove();
    this.drawEnds(svg);
    this.show();
  }

  drawAxes(svg, y, width) {
    const { height, bottom, left, right } = CURVE, ticks = Math.max(2, Math.round(width / 140));
    const text = (x) => (this.process.axis === "time" ? durationText(x) : grouped.format(x));
    svg.append("g").attr("class", "grid").attr("transform", `translate(${left},0)`)
      .call(d3.axisLeft(byteTicks(y)).tickValues(byteTicks(y).ticks).tickSize(-(width - left - right)).tickFormat(""))
      .select(".domain").remove();
    svg.append("g").attr("class", "axis").attr("transform", `translate(0,${height - bottom})`)
      .call(d3.axisBottom(this.x).ticks(ticks).tickFormat(text));
    svg.append("g").attr("class", "axis").attr("transform", `translate(${left},0)`)
      .call(d3.axisLeft(y).tickValues(byteTicks(y).ticks).tickFormat(sizeText));
  }

  drawPeak(svg, y) {
    const { peak } = this.process, x = this.x(peak.x), isRight = x > this.x.range()[1] - 120;
    const mark = svg.append("g").attr("class", "peak");
    mark.append("line").attr("x1", x).attr("x2", x).attr("y1", y(peak.bytes)).attr("y2", y(0));
    mark.append("text").attr("x", x + (isRight ? -6 : 6)).attr("y", y(peak.bytes) + 11)
      .attr("text-anchor", isRight ? "end" : "start").text(`peak ${sizeText(peak.bytes)}`);
  }

  /** The two ends of the range: they can be dragged, and moved with the arrow keys. */
  drawEnds(svg) {
    const middle = (CURVE.top + CURVE.height - CURVE.bottom) / 2;
    this.ends = svg.selectAll(".end").data([0, 1]).join("g").attr("class", "end").attr("tabindex", 0)
      .attr("role", "slider").attr("aria-label", (side) => (side ? "end of the range" : "start of the range"))
      .attr("aria-valuemin", 0).attr("aria-valuemax", Math.max(0, this.process.count - 1));
    this.ends.append("rect").attr("x", -4).attr("y", middle - 16).attr("width", 8).attr("height", 32).attr("rx", 3);
    this.ends.on("keydown", (event, side) => this.pressed(event, side))
      .call(d3.drag().on("drag", (event, side) => this.move(side, this.binAt(event.x))));
  }

  binAt(pixel) {
    const bin = Math.floor((this.x.invert(pixel) - this.process.bins.start) / this.process.bins.width);
    return Math.max(0, Math.min(this.process.count - 1, bin));
  }

  pressed(event, side) {
    const far = this.process.count, step = event.shiftKey ? 10 : 1;
    const by = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, PageUp: 10, PageDown: -10,
      Home: -far, End: far }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.move(side, this.range[side] + by);
  }

  move(side, bin) {
    const [least, most] = side ? [this.range[0], this.process.count - 1] : [0, this.range[1]];
    const range = [...this.range];
    range[side] = Math.max(least, Math.min(most, bin));
    this.choose(range);
  }

  brushed(event) {
    if (!event.sourceEvent) return; // our own move
    if (event.selection) this.choose(event.selection.map((pixel, side) => this.binAt(pixel - side)), event.type === "brush");
    else if (event.type === "end") this.choose([0, this.process.count - 1]);
  }

  choose(range, isDragging = false) {
    this.range = range;
    this.show(isDragging);
    this.onChoose(range);
  }

  around(bin) {
    const reach = Math.max(1, Math.round(this.process.count / 40));
    this.choose([Math.max(0, bin - reach), Math.min(this.process.count - 1, bin + reach)]);
  }

  /** Draw the range. While it is dragged, its rectangle follows the mouse instead. */
  show(isDragging = false) {
    const { process } = this, edges = [process.edge(this.range[0]), process.edge(this.range[1] + 1)].map(this.x);
    const isWhole = this.range[0] === 0 && this.range[1] === process.count - 1;
    if (!isDragging) this.layer.call(this.brush.move, isWhole ? null : edges);
    this.ends.attr("transform", (side) => `translate(${edges[side]},0)`)
      .attr("aria-valuenow", (side) => this.range[side])
      .attr("aria-valuetext", (side) => process.when(process.edge(this.range[side] + side)));
  }
}

/** Multiples of a power of two, for an axis of bytes. */
function byteTicks(scale) {
  const [, most] = scale.domain();
  let step = 1;
  while (most / step > 4) step *= 2;
  const copy = scale.copy();
  copy.ticks = d3.range(0, most * 1.0001, step);
  return copy;
}
