"""The stepper in a terminal: keys move it, panes show what is there."""

from __future__ import annotations

import re
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Input, Static

from heapwright.stepper.describe import name_of
from heapwright.stepper.events import Kind
from heapwright.stepper.screen.panes import Pane, SourcePane
from heapwright.stepper.stepper import Stop
from heapwright.stepper.view import View

ACCESSES = {Kind.LOAD, Kind.STORE}


class StepperApp(App[None]):
    """One recording, from word to word."""

    TITLE = "heapwright"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = None
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "forward", "word", key_display="→"),
        Binding("left,h", "backward", "back", key_display="←"),
        Binding("full_stop", "row(1)", "line", key_display="."),
        Binding("comma", "row(-1)", "line back", key_display=",", show=False),
        Binding("down,n", "call(1)", "call", key_display="↓"),
        Binding("up,p", "call(-1)", "back", key_display="↑"),
        Binding("home", "start", "start", show=False),
        Binding("end", "end", "end", show=False),
        Binding("g", "ask", "go"),
        Binding("j", "block(1)", "choose", key_display="j k"),
        Binding("k", "block(-1)", "block back", show=False),
        Binding("a", "follow", "follow", show=False),
        Binding("w", "stop_at_word", "stop at word"),
        Binding("b", "stop_at_block", "block"),
        Binding("x", "no_stops", "clear", show=False),
        Binding("c", "run(1)", "run", key_display="c"),
        Binding("C", "run(-1)", "back", key_display="C"),
        Binding("i", "invariant", "first broken"),
        Binding("f", "fault", "fault"),
        Binding("s", "save", "SVG"),
        Binding("escape", "cancel", "cancel", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, view: View, program: str, allocator: str):
        super().__init__(ansi_color=False)
        self.view = view
        self.program, self.allocator = program, allocator
        self.message = ""

    # --- the screen

    def compose(self) -> ComposeResult:
        view = self.view
        yield Static(id="title")
        with Horizontal(id="top"):
            with Vertical(id="left"):
                yield Pane("calls", view.call_lines, "calls")
                yield Pane("this call", view.access_lines, "accesses")
            yield SourcePane(view, "source")
        with Horizontal(id="bottom"):
            yield Pane("heap", view.heap_lines, "heap")
            yield Pane("block", view.word_lines, "words")
        yield Static(id="status")
        yield Input(placeholder="number of a call", type="integer", id="ask", disabled=True)
        yield Footer()

    def on_mount(self) -> None:
        self.view.to_call(1)
        stopped = self.view.recording.stopped
        self.show(f"the recording stopped before the program: {stopped}" if stopped else "")

    def on_resize(self) -> None:
        self.show()

    def show(self, message: str | None = None) -> None:
        """Draw everything anew, with a message, or with the old one."""
        run = f"{without_folders(self.program)} on {without_folders(self.allocator)}"
        self.query_one("#title", Static).update(f" {run}   {self.view.title()}")
        for pane in self.query(Pane):
            pane.refresh()
        self.query_one(SourcePane).refresh()
        call = self.view.call
        self.query_one("#accesses", Pane).border_title = f"inside call {call.number}" if call else "inside"
        self.query_one("#words", Pane).border_title = self.block_title()
        if message is not None:
            self.message = message
        stops = f"   stops: {', '.join(map(str, self.view.stops))}" if self.view.stops else ""
        self.query_one("#status", Static).update(f" {self.message or self.view.totals()}{stops}")

    def block_title(self) -> str:
        event, block = self.view.event, self.view.block()
        if event is not None and event.kind == Kind.FAULT:
            return "fault"
        return f"{block.kind}, {block.size:,} bytes at {block.start:#x}" if block else "block"

    # --- moves

    def action_forward(self) -> None:
        self.view.forward()
        self.show("")

    def action_backward(self) -> None:
        self.view.back()
        self.show("")

    def action_row(self, direction: int) -> None:
        rows, here = self.view.row_ends(), self.view.position
        ahead = [row for row in rows if row > here] if direction > 0 else [row for row in reversed(rows) if row < here]
        self.view.go(ahead[0] if ahead else here + direction)
        self.show("")

    def action_call(self, direction: int) -> None:
        self.view.next_call() if direction > 0 else self.view.previous_call()
        self.show("")

    def action_start(self) -> None:
        self.view.go(0)
        self.show("")

    def action_end(self) -> None:
        self.view.end()
        self.show("")

    def action_fault(self) -> None:
        fault = self.view.recording.fault
        if fault:
            self.view.end()
        self.show("" if fault else "no fault: the program ended by itself")

    def action_ask(self) -> None:
        ask = self.query_one("#ask", Input)
        ask.value = ""
        ask.disabled, ask.display = False, True
        ask.focus()

    def action_cancel(self) -> None:
        ask = self.query_one("#ask", Input)
        ask.disabled, ask.display = True, False

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.action_cancel()
        if event.value:
            self.view.to_call(int(event.value))
        self.show("")

    # --- blocks

    def action_block(self, blocks: int) -> None:
        self.view.move(blocks)
        self.show()

    def action_follow(self) -> None:
        self.view.selected = None
        self.show("the block follows the accesses again")

    # --- stops

    def action_stop_at_word(self) -> None:
        event = self.view.event
        if event is None or event.kind not in ACCESSES:
            self.show("go to a load or a store first: w stops at every change of its word")
            return
        self.toggle(Stop(event.address, event.size, name_of(self.view, event)[0]))

    def action_stop_at_block(self) -> None:
        block = self.view.block()
        if block is None:
            self.show("choose a block first, with j and k")
            return
        self.toggle(Stop(block.start, block.size, f"the {block.size:,} bytes at {block.start:#x}", loads=True))

    def toggle(self, stop: Stop) -> None:
        stops = self.view.stops
        stops.remove(stop) if stop in stops else stops.append(stop)
        self.show("")

    def action_no_stops(self) -> None:
        self.view.stops.clear()
        self.show("no stops")

    def action_run(self, direction: int) -> None:
        if not self.view.stops:
            self.show("there are no stops: w sets one at a word, b at a block")
            return
        met = self.view.run(direction)
        self.show(f"stopped at {met}" if met else f"no stop {'ahead' if direction > 0 else 'before'}")

    def action_invariant(self) -> None:
        broken = self.view.to_first_broken()
        self.show(f"broken here: {broken}" if broken else "no call from here on leaves a broken heap")

    # --- pictures

    def action_save(self) -> None:
        name = self.view.file_name(self.program)
        try:
            self.view.picture().save(name)
        except OSError as error:
            self.show(f"{name}: {error.strerror}")
            return
        self.show(f"saved {name}")


def without_folders(text: str) -> str:
    """A name in which each path is cut to its last part, so that the title has room for the rest."""
    return re.sub(r"[^\s(]*/", "", text)


def show(view: View, program: str, allocator: str) -> None:
    """Run the interface until the user quits."""
    StepperApp(view, program, allocator).run()
