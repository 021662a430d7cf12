"""The timeline as an SVG: who was active, the gaps between probes, the download's rate, and each takeover close up."""

from html import escape

WIDTH, LEFT, RIGHT = 1240, 210, 24
COLOURS = {"active": "#2f6f4f", "standby": "#b9d8c6", "syncing": "#e8d9a0", "dead": "#444444", "cut": "#b0563a", "starting": "#e3e3e3"}
UP, DOWN = "#2b5fa8", "#b5651d"
STYLE = """\
text { font-family: system-ui, sans-serif; font-size: 12px; fill: #222 }
.small { font-size: 10px; fill: #555 } .title { font-size: 17px; font-weight: 600 } .lane { font-weight: 600 }
.grid { stroke: #ddd; stroke-width: 1 } .mark { stroke: #b03030; stroke-width: 1; stroke-dasharray: 3 3 }
"""
#: The close-ups' span round an event.
BEFORE_S, AFTER_S = 0.05, 0.25
GAP_TOP_MS = 400.0


class Canvas:
    """Shapes and words of an SVG that stands alone, in one style."""

    def __init__(self, width, height=0):
        self.width, self.height = width, height
        self.parts = []

    def rectangle(self, x, y, width, height, fill, tip="", opacity=None, stroke=None):
        inside = f"<title>{escape(tip)}</title>" if tip else ""
        size = f'width="{max(width, 0.5):.1f}" height="{height:.1f}"'
        more = f' fill-opacity="{opacity}"' if opacity is not None else ""
        more += f' stroke="{stroke}"' if stroke else ""
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{fill}"{more}>{inside}</rect>')

    def line(self, x1, y1, x2, y2, kind="grid"):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def stroke(self, x1, y1, x2, y2, colour, width=1.0):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>')

    def dot(self, x, y, radius, colour):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def text(self, x, y, text, kind="", anchor="start", fill=""):
        colour = f' style="fill:{fill}"' if fill else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}"{colour}>{escape(text)}</text>')

    def svg(self):
        size = f'viewBox="0 0 {self.width} {self.height:.0f}" width="{self.width}" height="{self.height:.0f}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n'
            f"<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n" + "\n".join(self.parts) + "\n</svg>\n")


class Drawing(Canvas):
    """A canvas over a span of time, filled from above: `y` is where the next lane begins."""

    def __init__(self, start, end):
        super().__init__(WIDTH)
        self.start, self.end = start, end
        self.y = 0

    def x(self, moment):
        return LEFT + (moment - self.start) / (self.end - self.start) * (WIDTH - LEFT - RIGHT)

    def svg(self):
        self.height = self.y
        return super().svg()


def draw(title, subtitle, start, end, lanes, events, records, progress):
    """The whole picture. `records`: direction name → (sent, received); `progress`: (seconds, bytes) of the download."""
    drawing = Drawing(start, end)
    drawing.text(24, 30, title, "title")
    drawing.text(24, 50, subtitle, "small")
    drawing.y = 92
    top = drawing.y
    for node in ("sg1", "sg2"):
        _lane(drawing, node, lanes.segments(node, end))
    _legend(drawing)
    for (name, (_, received)), colour in zip(records.items(), (UP, DOWN)):
        _gaps(drawing, name, [record[2] / 1e9 for record in received], colour)
    _rate(drawing, progress)
    _axis(drawing, top, events)
    drawing.y += 46
    _close_ups(drawing, [event for event in events if event.takeover], records)
    return drawing.svg()


def _lane(drawing, node, segments):
    drawing.text(24, drawing.y + 18, node, "lane")
    for begin, finish, state in segments:
        begin = max(begin, drawing.start)
        if finish <= begin:
            continue
        x, width = drawing.x(begin), drawing.x(finish) - drawing.x(begin)
        drawing.rectangle(x, drawing.y, width, 26, COLOURS.get(state, "#ccc"), f"{node} {state}")
        if width > 45:
            drawing.text(x + 6, drawing.y + 17, state, "small", fill="white" if state in ("active", "dead", "cut") else "#222")
    drawing.y += 34


def _legend(drawing):
    x = LEFT
    for state in ("active", "standby", "syncing", "dead", "cut"):
        drawing.rectangle(x, drawing.y, 10, 10, COLOURS[state])
        drawing.text(x + 14, drawing.y + 9, state, "small")
        x += 80
    drawing.y += 24


def _gaps(drawing, name, times, colour):
    """The time since the probe before, the largest of each column of pixels."""
    height, base = 70, drawing.y + 70
    drawing.text(24, drawing.y + 30, "probes", "lane")
    drawing.text(24, drawing.y + 46, name, "small")
    drawing.text(24, drawing.y + 60, "gap to the one before", "small")
    for value in (0, 100, 200, 300, 400):
        y = base - value / GAP_TOP_MS * height
        drawing.line(LEFT, y, WIDTH - RIGHT, y)
        drawing.text(LEFT - 6, y + 3, f"{value} ms" if value else "0", "small", "end")
    columns = {}
    ordered = sorted(times)
    for before, moment in zip(ordered, ordered[1:]):
        if not drawing.start <= moment <= drawing.end:
            continue
        column = int(drawing.x(moment))
        columns[column] = max(columns.get(column, 0), (moment - before) * 1000)
    for column, gap in sorted(columns.items()):
        tall = min(gap, GAP_TOP_MS) / GAP_TOP_MS * height
        drawing.rectangle(column, base - tall, 2 if gap > 40 else 1, tall, colour, f"{gap:.1f} ms")
    drawing.y = base + 22


def _rate(drawing, progress, bin_s=0.25):
    height, base = 70, drawing.y + 70
    drawing.text(24, drawing.y + 30, "download", "lane")
    drawing.text(24, drawing.y + 46, "one TCP connection", "small")
    count = int((drawing.end - drawing.start) / bin_s) + 1
    bins, known = [0] * count, 0
    for moment, total in progress:
        index = int((moment - drawing.start) / bin_s)
        if 0 <= index < count:
            bins[index] += total - known
        known = total
    rates = [amount / bin_s / 1e6 for amount in bins]
    scale = max(1.0, max(rates, default=1.0))
    for value in (0, scale / 2, scale):
        y = base - value / scale * height
        drawing.line(LEFT, y, WIDTH - RIGHT, y)
        drawing.text(LEFT - 6, y + 3, f"{value:.1f} MB/s" if value else "0", "small", "end")
    points = []
    for index, value in enumerate(rates):
        y = base - value / scale * height
        left, right = drawing.x(drawing.start + index * bin_s), drawing.x(min(drawing.end, drawing.start + (index + 1) * bin_s))
        points += [f"{left:.1f},{y:.1f}", f"{right:.1f},{y:.1f}"]
    shape = " ".join([f"{LEFT},{base}", *points, f"{WIDTH - RIGHT},{base}"])
    drawing.parts.append(f'<polygon points="{shape}" fill="#7a5ea8" fill-opacity="0.45" stroke="#7a5ea8"/>')
    drawing.y = base + 8


def _axis(drawing, top, events):
    span = drawing.end - drawing.start
    step = next(s for s in (1, 2, 5, 10, 20, 60, 120, 600) if span / s <= 14 or s == 600)
    for index in range(int(span / step) + 1):
        x = drawing.x(drawing.start + index * step)
        drawing.line(x, drawing.y, x, drawing.y + 5)
        drawing.text(x, drawing.y + 18, f"{index * step} s", "small", "middle")
    for index, event in enumerate(events):
        x = drawing.x(event.at)
        drawing.line(x, top - 6, x, drawing.y, "mark")
        drawing.text(x + 3, top - 10 - 12 * (index % 2), event.kind, "small", fill="#b03030")


def _close_ups(drawing, events, records):
    """A panel for each takeover: every probe as a dot, each step as a tick."""
    if not events:
        return
    width = (WIDTH - 24 - RIGHT - 16 * (len(events) - 1)) / len(events)
    top, height = drawing.y, 190
    for index, event in enumerate(events):
        left = 24 + index * (width + 16)
        drawing.parts.append(
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}" fill="#fafafa" stroke="#ccc"/>')
        drawing.text(left + 8, top + 17, f"{event.text}", "lane")
        drawing.text(left + 8, top + 32, f"blackout {event.blackout_ms:.1f} ms, {event.lost} lost of a {event.rate}/s stream", "small")
        _close_up(drawing, event, left, top, width, height, records)
    drawing.y = top + height + 20


def _close_up(drawing, event, left, top, width, height, records):
    def x(moment):
        return left + 8 + (moment - event.at + BEFORE_S) / (BEFORE_S + AFTER_S) * (width - 16)

    for milliseconds in range(-50, 251, 50):
        place = x(event.at + milliseconds / 1000)
        drawing.line(place, top + 40, place, top + height - 16)
        drawing.text(place, top + height - 4, f"{milliseconds}", "small", "middle")
    drawing.line(x(event.at), top + 40, x(event.at), top + height - 16, "mark")
    for row, ((name, (_, received)), colour) in enumerate(zip(records.items(), (UP, DOWN))):
        y = top + 58 + row * 18
        drawing.text(left + width - 8, y - 6, name, "small", "end")
        for _, _, moment in received:
            moment /= 1e9
            if event.at - BEFORE_S <= moment <= event.at + AFTER_S:
                drawing.dot(x(moment), y, 1.8, colour)
    marks = [(moment, name) for moment, name, _ in event.steps()]
    if event.first_esp:
        marks.append((event.first_esp, "first ESP"))
    for row, (moment, name) in enumerate(sorted(marks)):
        if event.at - BEFORE_S <= moment <= event.at + AFTER_S:
            y = top + 94 + row * 10
            drawing.line(x(moment), top + 82, x(moment), y, "grid")
            late = x(moment) > left + width - 120
            label = f"{name} {(moment - event.at) * 1000:.1f}"
            drawing.text(x(moment) + (-3 if late else 3), y + 3, label, "small", "end" if late else "start")
