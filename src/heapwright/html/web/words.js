"use strict";

// --- figures in words

const KIB = 1024, MIB = 1024 * KIB;
const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const decimal = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

function sizeText(count) {
  const size = Math.abs(count);
  if (size < KIB) return count ? `${grouped.format(count)} B` : "0";
  return size >= MIB / 10 ? `${decimal.format(count / MIB)} MiB` : `${decimal.format(count / KIB)} KiB`;
}

function shareText(part, whole) {
  if (!whole) return "-";
  const percent = (100 * part) / whole;
  if (percent > 0 && percent < 0.05) return "<0.1 %";
  return `${percent.toFixed(percent > 0 && percent < 1 ? 1 : 0)} %`;
}

function durationText(microseconds) {
  const [factor, unit] = [[1e6, "s"], [1e3, "ms"], [1, "µs"]].find(([least]) => microseconds >= least) ?? [1, "µs"];
  const value = microseconds / factor;
  if (!value) return "0 s";
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
}

function powerText(size) {
  const unit = Math.min(Math.floor(Math.log2(size) / 10), 5);
  return `${size / 1024 ** unit} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}

// --- the data of the page

async function loadData() {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

/** The values of a row, from its steps: for each, how many columns after the one before, and by how much it changes. */
function fromSteps(steps, count) {
  const values = new Float64Array(count);
  let at = 0;
  for (let step = 0; step < steps.length; step += 2) values[(at += steps[step])] = steps[step + 1];
  for (let place = 1; place < count; place++) values[place] += values[place - 1];
  return values;
}

/** Numbers, from their differences. */
function fromDifferences(differences) {
  let sum = 0;
  return Float64Array.from(differences, (each) => (sum += each));
}
