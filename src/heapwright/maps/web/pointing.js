"use strict";

const CLICK = 4; // pixels that a finger may tremble
const ARROWS = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
const ZOOMS = { "+": [0.7, 0.7], "=": [0.7, 0.7], "-": [1.4, 1.4], "*": [0.7, 1], _: [1.4, 1] };

/** Mouse, fingers and keys on a panel's map. */
class Pointing {
  constructor(panel) {
    Object.assign(this, { panel, down: new Map(), isDrag: false });
    panel.canvas.on("wheel", (event) => this.wheel(event), { passive: false })
      .on("pointerdown", (event) => this.press(event)).on("pointermove", (event) => this.move(event))
      .on("pointerup pointercancel", (event) => this.release(event))
      .on("pointerleave", () => showTip(null))
      .on("dblclick", (event) => panel.zoom(panel.at(event.offsetX, event.offsetY), 0.4, 0.4))
      .on("keydown", (event) => this.pressed(event));
  }

  wheel(event) {
    event.preventDefault();
    const { panel } = this, step = event.deltaY || event.deltaX, factor = Math.exp(Math.max(-400, Math.min(400, step)) * 0.002);
    panel.zoom(panel.at(event.offsetX, event.offsetY), event.altKey ? 1 : factor, event.shiftKey ? 1 : factor);
    showTip(null);
  }

  press(event) {
    this.down.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.isDrag = this.down.size > 1;
    this.panel.canvas.node().setPointerCapture(event.pointerId);
    this.panel.canvas.node().focus({ preventScroll: true });
  }

  move(event) {
    const { panel } = this, before = this.down.get(event.pointerId), now = [event.offsetX, event.offsetY];
    if (!before) return showTip(event, panel.text(panel.at(...now)) || panel.map.name);
    if (!this.isDrag && Math.hypot(now[0] - before[0], now[1] - before[1]) < CLICK) return undefined;
    this.isDrag = true;
    showTip(null);
    const others = [...this.down].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.down.set(event.pointerId, now);
    if (others.length) return this.pinch(others[0], before, now);
    return panel.pan((before[0] - now[0]) / panel.width, (now[1] - before[1]) / MAP.height);
  }

  /** Two fingers: their distance is the zoom. */
  pinch(fixed, before, now) {
    const { panel } = this, old = Math.hypot(before[0] - fixed[0], before[1] - fixed[1]);
    const factor = old / Math.max(1, Math.hypot(now[0] - fixed[0], now[1] - fixed[1]));
    panel.zoom(panel.at(...fixed), factor, factor);
  }

  release(event) {
    if (this.down.delete(event.pointerId) && !this.isDrag) this.panel.page.name(this.panel, event.offsetX, event.offsetY);
  }

  pressed(event) {
    const { panel } = this, [x, y] = [panel.width / 2, MAP.height / 2];
    if (event.ctrlKey || event.metaKey) return;
    if (ARROWS[event.key]) panel.pan(...ARROWS[event.key]);
    else if (ZOOMS[event.key]) panel.zoom(panel.at(x, y), ...ZOOMS[event.key]);
    else if (event.key === "Enter") panel.page.name(panel, x, y);
    else return;
    event.preventDefault();
  }
}
