"use strict";

/** What is drawn around a map: its curves over the same time, axes, seams between ranges of addresses, and marks. */
function drawAround(panel) {
  const { svg, page, map, width } = panel, top = MAP.curve + MAP.gap;
  const x = d3.scaleLinear(page.time, [MAP.left, MAP.left + width]);
  svg.selectAll("*").remove();
  drawCurves(svg, page, map, x);
  const text = (event) => (page.subject.times.length ? durationText(page.subject.timeOf(event)) : d3.format("~s")(event));
  svg.append("g").attr("class", "axis").attr("transform", `translate(0,${top + MAP.height})`)
    .call(d3.axisBottom(x).ticks(Math.max(2, Math.floor(width / 90))).tickFormat(text));
  const y = d3.scaleLinear(panel.place, [top + MAP.height, top]);
  drawAddresses(svg, map, panel.place, y);
  drawMarks(svg, page, map, x, y);
}

function drawCurves(svg, page, map, x) {
  const { subject } = page, y = d3.scaleLinear([0, Math.max(1, page.highest)], [MAP.curve, 6]);
  const step = subject.events / Math.max(1, subject.live.length);
  const inside = svg.append("g").attr("clip-path", clipped(svg, x));
  const byStop = d3.line().curve(d3.curveStepBefore).x((_, place) => x(place ? map.stops[place - 1] : 0)).y((value) => y(value));
  const resident = [map.resident_bytes[0] ?? 0, ...map.resident_bytes], touched = [map.touched[0] ?? 0, ...map.touched];
  const area = d3.area().curve(d3.curveStepBefore).x((_, place) => x(place ? map.stops[place - 1] : 0)).y0(y(0)).y1((value) => y(value));
  inside.append("path").attr("class", "resident").attr("d", area(resident));
  inside.append("path").attr("class", "live").attr("d", d3.area().curve(d3.curveStepAfter)
    .x((_, place) => x(place * step)).y0(y(0)).y1((value) => y(value))([...subject.live, ...subject.live.slice(-1)]));
  inside.append("path").attr("class", "touched").attr("d", byStop(touched));
  svg.append("g").attr("class", "axis").attr("transform", `translate(${MAP.left},0)`)
    .call(d3.axisLeft(y).tickValues(byteSteps(page.highest)).tickFormat(sizeText));
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
