"use strict";

/** The parts of what a heap holds, in the order in which they are drawn, and how they are called. */
const PARTS = {
  requested: "requested", internal: "rounding", own: "headers and records", cached: "cached", free_rest: "free",
  free_pages: "free whole pages", unknown: "not reported",
};

/** What is drawn around a map: its curves over the same time, axes, seams between ranges of addresses, and marks. */
function drawAround(panel) {
  const { svg, page, map, width } = panel, top = MAP.curve + MAP.gap;
  const x = d3.scaleLinear(page.time, [MAP.left, MAP.left + width]);
  svg.selectAll("*").remove();
  drawCurves(svg, page, map, x);
  svg.append("g").attr("class", "axis").attr("transform", `translate(0,${top + MAP.height})`)
    .call(d3.axisBottom(x).ticks(Math.max(2, Math.floor(width / 90))).tickFormat(momentText(page)));
  const y = d3.scaleLinear(panel.place, [top + MAP.height, top]);
  drawAddresses(svg, map, panel.place, y);
  drawMarks(svg, page, map, x, y);
}

/** Moments as labels of the axis. In a short range of a long run, full milliseconds tell them apart. */
function momentText({ subject, time }) {
  if (!subject.times.length) return d3.format(time[1] - time[0] < time[1] / 50 ? "," : "~s");
  const [first, last] = time.map((event) => subject.timeOf(event));
  const isShort = last - first < last / 10 && last > 1e6;
  return (event) => (isShort ? `${grouped.format(subject.timeOf(event) / 1000)} ms` : durationText(subject.timeOf(event)));
}

function drawCurves(svg, page, map, x) {
  const y = d3.scaleLinear([0, Math.max(1, page.highest)], [MAP.curve, 6]);
  const inside = svg.append("g").attr("clip-path", clipped(svg, x));
  if (map.parts) drawParts(inside, map.parts, x, y);
  else drawOwnCurves(inside, page.subject, map, x, y);
  svg.append("g").attr("class", "axis").attr("transform", `translate(${MAP.left},0)`)
    .call(d3.axisLeft(y).tickValues(byteSteps(page.highest)).tickFormat(sizeText));
}

/** Live and resident bytes, and the pages in which blocks have lain. */
function drawOwnCurves(inside, subject, map, x, y) {
  const step = subject.events / Math.max(1, subject.live.length), when = (_, place) => x(place ? map.stops[place - 1] : 0);
  const resident = [map.resident_bytes[0] ?? 0, ...map.resident_bytes], touched = [map.touched[0] ?? 0, ...map.touched];
  const area = d3.area().curve(d3.curveStepBefore).x(when).y0(y(0)).y1((value) => y(value));
  const line = d3.line().curve(d3.curveStepBefore).x(when).y((value) => y(value));
  inside.append("path").attr("class", "resident").attr("d", area(resident));
  inside.append("path").attr("class", "live").attr("d", d3.area().curve(d3.curveStepAfter)
    .x((_, place) => x(place * step)).y0(y(0)).y1((value) => y(value))([...subject.live, ...subject.live.slice(-1)]));
  inside.append("path").attr("class", "touched").attr("d", line(touched));
}

/** The parts of what the heap holds, one on the other, and resident bytes as a line. */
function drawParts(inside, parts, x, y) {
  const rows = parts.event.map((event, place) => Object.fromEntries([
    ["event", event], ...Object.keys(PARTS).map((name) => [name, parts[`${name}_bytes`][place] ?? 0]),
  ]));
  const area = d3.area().x(({ data }) => x(data.event)).y0(([low]) => y(low)).y1(([, high]) => y(high));
  inside.selectAll(".part").data(d3.stack().keys(Object.keys(PARTS))(rows)).join("path")
    .attr("class", ({ key }) => `part ${key}`).attr("d", area);
  const line = d3.line().x((_, place) => x(parts.event[place])).y((bytes) => y(bytes));
  inside.append("path").attr("class", "touched").attr("d", line(parts.resident_bytes));
}

function clipped(svg, x) {
  const [left, right] = x.range(), id = `clip-${svg.node().parentNode.parentNode.dataset.number}`;
  svg.append("clipPath").attr("id", id).append("rect").attr("x", left).attr("width", right - left).attr("height", MAP.curve + MAP.gap + MAP.height);
  return `url(#${id})`;
}

function byteSteps(most) {
  let step = 1;
  while (most / step > 3) step *= 2;
  return d3.range(0, most * 1.0001, step);
}

/** Labels for some addresses, and a line wherever addresses in between were never used. */
function drawAddresses(svg, map, [low, high], y) {
  const [bottom, top] = y.range(), count = Math.max(2, Math.floor((bottom - top) / 60));
  const places = d3.range(count).map((step) => low + ((step + 0.5) / count) * (high - low));
  const labels = svg.append("g").attr("class", "axis");
  labels.selectAll("text").data(places).join("text").attr("x", MAP.left - 8).attr("y", (place) => y(place) + 4)
    .attr("text-anchor", "end").text((place) => hex(map.address(place)));
  const seams = d3.range(1, map.chunks.length).filter((row) => map.chunks[row] !== map.chunks[row - 1] + 1)
    .map((row) => row * map.room).filter((place) => place > low && place < high);
  if (seams.length > 200) return;
  svg.append("g").selectAll("line").data(seams).join("line").attr("class", "seam").attr("x1", MAP.left - 6).attr("x2", MAP.left)
    .attr("y1", y).attr("y2", y);
}

/** The peak, the first failure and the largest hole. */
function drawMarks(svg, page, map, x, y) {
  const [left, right] = x.range(), [bottom, top] = y.range(), marks = svg.append("g").attr("class", "marks");
  const isShown = (event) => x(event) >= left && x(event) <= right;
  const line = (event, name) => isShown(event) && marks.append("line").attr("class", `cursor ${name}`).attr("x1", x(event)).attr("x2", x(event))
    .attr("y1", 0).attr("y2", MAP.curve);
  line(page.subject.peak, "at-peak");
  if (map.failure) line(map.failure.event, "at-failure");
  const { hole } = map;
  if (!hole || !isShown(hole.event)) return;
  const place = hole.place / map.unit, ends = [place, place + hole.size / map.unit].map((each) => Math.max(top, Math.min(bottom, y(each))));
  marks.append("path").attr("class", "mark hole").attr("d", `M${x(hole.event) + 4},${ends[0]}h-4V${ends[1]}h4`);
}
