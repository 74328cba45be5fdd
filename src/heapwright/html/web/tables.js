"use strict";

const FEW_ROWS = 8; // that need no search

/** A table that sorts by any column and can be searched. A column has a title, a value and its text. */
class SortedTable {
  constructor(element, columns, label) {
    Object.assign(this, { columns, rows: [], pattern: "", order: 1, isDescending: true });
    const root = d3.select(element).html("");
    const tools = root.append("div").attr("class", "tools");
    this.tools = tools;
    tools.append("label").text("search ").append("input").attr("type", "search").attr("aria-label", `search ${label}`)
      .on("input", (event) => this.search(event.target.value));
    this.counter = tools.append("output").attr("class", "hint");
    const table = root.append("div").attr("class", "scroll").append("table").attr("aria-label", label);
    this.heads = table.append("thead").append("tr").selectAll("th").data(columns).join("th").attr("scope", "col");
    this.heads.append("button").attr("type", "button").text((column) => column.title)
      .on("click", (_, column) => this.sort(columns.indexOf(column)));
    this.body = table.append("tbody");
  }

  show(rows) {
    this.rows = rows;
    this.tools.attr("hidden", rows.length > FEW_ROWS || this.pattern ? null : "");
    this.draw();
  }

  search(pattern) {
    this.pattern = pattern.trim().toLowerCase();
    this.draw();
  }

  sort(column) {
    this.isDescending = column === this.order ? !this.isDescending : column > 0;
    this.order = column;
    this.draw();
  }

  draw() {
    const { value } = this.columns[this.order], [name] = this.columns;
    const shown = this.rows.filter((row) => String(name.value(row)).toLowerCase().includes(this.pattern));
    shown.sort((a, b) => d3[this.isDescending ? "descending" : "ascending"](value(a), value(b)));
    this.heads.attr("aria-sort", (_, place) => (place !== this.order ? null : this.isDescending ? "descending" : "ascending"));
    this.counter.text(shown.length < this.rows.length ? `${shown.length} of ${this.rows.length}` : "");
    this.body.selectAll("tr").data(shown).join("tr").selectAll("td")
      .data((row) => this.columns.map((column) => ({ column, row }))).join("td")
      .attr("class", ({ column }) => (column.part ? "share" : null))
      .style("--part", ({ column, row }) => (column.part ? `${Math.round(100 * column.part(row))}%` : null))
      .text(({ column, row }) => column.text(row));
  }
}

function column(title, key, text = grouped.format) {
  return { title, value: (row) => row[key], text: (row) => text(row[key]) };
}

function bytesColumn(title, key) {
  return column(title, key, sizeText);
}

function nameColumn(title) {
  return column(title, "name", String);
}

function shareColumn(title, key) {
  return { title, value: (row) => row[key], text: (row) => shareText(row[key], 1), part: (row) => row[key] };
}

/** Fill a table, or hide its section if there are no rows. */
function fill(id, rows, columns) {
  byId(`${id}-section`).hidden = !rows.length;
  if (rows.length) new SortedTable(byId(id), columns, id).show(rows);
}
