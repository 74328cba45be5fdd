"use strict";

const BARS = { height: 210, top: 10, right: 8, bottom: 46, left: 60 };
const LEAST = 1.5; // pixels, for what is there at all

/** A histogram: a column for each power of two, as high as its count. */
function drawBars(element, rows, named, onTip) {
  const { height, top, right, bottom, left } = BARS;
  if (!rows.length) {
    d3.select(element).html("").append("p").attr("class", "empty").text("none");
    return;
  }
  const width = Math.max(280, element.clientWidth), names = rows.map((row) => named(row.up_to));
  const x = d3.scaleBand(names, [left, width - right]).padding(0.15);
  const y = d3.scaleLinear([0, d3.max(rows, (row) => row.count)], [height - bottom, top]).nice(4);
  const svg = d3.select(element).html("").append("svg").attr("width", width).attr("height", height).attr("role", "list");
  svg.append("g").attr("class", "grid").attr("transform", `translate(${left},0)`)
    .call(d3.axisLeft(y).ticks(4).tickSize(-(width - left - right)).tickFormat("")).select(".domain").remove();
  const every = Math.ceil(rows.length / ((width - left - right) / 26));
  svg.append("g").attr("class", "axis").attr("transform", `translate(0,${height - bottom})`)
    .call(d3.axisBottom(x).tickValues(names.filter((_, place) => place % every === 0)).tickSizeOuter(0))
    .selectAll("text").attr("transform", "rotate(-40)").attr("text-anchor", "end").attr("dx", "-.4em").attr("dy", ".5em");
  svg.append("g").attr("class", "axis").attr("transform", `translate(${left},0)`)
    .call(d3.axisLeft(y).ticks(4).tickFormat(d3.format("~s")));
  const text = (row, place) => `up to ${names[place]}: ${grouped.format(row.count)} blocks, ${sizeText(row.bytes)}`;
  const bars = svg.selectAll(".bar").data(rows).join("g").attr("class", "bar").attr("role", "listitem").attr("aria-label", text);
  const heightOf = (row) => Math.max(y(0) - y(row.count), row.count > 0 ? LEAST : 0);
  bars.append("rect").attr("x", (_, place) => x(names[place])).attr("width", x.bandwidth())
    .attr("y", (row) => y(0) - heightOf(row)).attr("height", heightOf);
  bars.append("rect").attr("x", (_, place) => x(names[place])).attr("width", x.bandwidth()).attr("y", top)
    .attr("height", height - bottom - top).style("fill", "transparent")
    .on("pointermove", (event, row) => onTip(event, text(row, rows.indexOf(row)))).on("pointerleave", () => onTip(null));
}
