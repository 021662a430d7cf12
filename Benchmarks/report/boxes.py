"""Box and whiskers as SVG: one plot, groups along the axis, a box for each series of a group, and ranges of others drawn in."""

import math
import os
import statistics
import sys
from dataclasses import dataclass, field

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "Lab"))

from tandemlab.drawing import Canvas  # noqa: E402 found by the line above

WIDTH, PLOT_HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 320, 76, 20, 84, 62
COLOURS = ("#2b5fa8", "#b5651d", "#2f6f4f", "#7a5ea8")
PAPER = "#b03030"
#: Of the small type, in about; the font is the reader's.
LETTER = 5.6
#: More than so many times between least and most is shown on a logarithmic scale.
LOGARITHMIC_FROM = 30


@dataclass
class Plot:
    name: str
    title: str
    unit: str
    #: What the groups are, under the axis.
    axis: str
    #: series → group → samples
    series: dict
    #: (text, low, high), drawn as a band.
    bands: list = field(default_factory=list)
    #: (text, value), drawn as a line.
    limits: list = field(default_factory=list)
    note: str = ""

    @property
    def groups(self):
        seen = {}
        for values in self.series.values():
            seen.update(dict.fromkeys(values))
        return list(seen)


def summary(samples):
    """Whiskers within one and a half times the box, as Tukey drew them; what lies outside is a dot."""
    ordered = sorted(samples)
    low, middle, high = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else [ordered[0]] * 3
    reach = 1.5 * (high - low)
    inside = [value for value in ordered if low - reach <= value <= high + reach]
    outside = [value for value in ordered if not low - reach <= value <= high + reach]
    return {"low": low, "median": middle, "high": high, "from": min(inside[0], low), "to": max(inside[-1], high), "outside": outside}


class Scale:
    """Values to heights; logarithmic when the values are far apart."""

    def __init__(self, values):
        positive = [value for value in values if value > 0]
        self.logarithmic = bool(positive) and max(positive) / min(positive) > LOGARITHMIC_FROM
        if self.logarithmic:
            self.least, self.most = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
        else:
            self.step = nice_step(max([*values, 0]) * 1.05 or 1)
            self.least, self.most = 0, math.ceil(max([*values, 0]) * 1.02 / self.step) * self.step or self.step

    def y(self, value):
        place = math.log10(max(value, 10**self.least)) if self.logarithmic else value
        return TOP + PLOT_HEIGHT * (1 - (place - self.least) / (self.most - self.least))

    def ticks(self):
        if self.logarithmic:
            return [10.0**power for power in range(self.least, self.most + 1)]
        return [self.step * index for index in range(round(self.most / self.step) + 1)]


def nice_step(most):
    rough = most / 6
    power = 10 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough)


def draw(plot):
    """The plot as an SVG element that stands alone."""
    values = [value for groups in plot.series.values() for samples in groups.values() for value in samples]
    values += [edge for _, low, high in plot.bands for edge in (low, high)] + [limit for _, limit in plot.limits]
    scale, canvas = Scale(values), Canvas(WIDTH)
    canvas.text(20, 26, plot.title, "title")
    _axes(canvas, scale, plot)
    for text, low, high in plot.bands:
        canvas.rectangle(LEFT, scale.y(high), WIDTH - LEFT - RIGHT, scale.y(low) - scale.y(high), PAPER, text, opacity=0.1)
    for _, limit in plot.limits:
        canvas.line(LEFT, scale.y(limit), WIDTH - RIGHT, scale.y(limit), "mark")
    width = (WIDTH - LEFT - RIGHT) / max(1, len(plot.groups))
    for index, group in enumerate(plot.groups):
        present = list(plot.series)
        box = min(34.0, width * 0.8 / len(present))
        for place, name in enumerate(present):
            if plot.series[name].get(group):
                centre = LEFT + width * (index + 0.5) + (place - (len(present) - 1) / 2) * box
                _box(canvas, scale, centre, box * 0.72, plot.series[name][group], COLOURS[place % len(COLOURS)], f"{name}, {group}")
        for row, words in enumerate(_lines(group, width)):
            canvas.text(LEFT + width * (index + 0.5), TOP + PLOT_HEIGHT + 18 + 11 * row, words, "small", "middle")
    _legend(canvas, plot)
    canvas.height = TOP + PLOT_HEIGHT + BOTTOM
    return canvas.svg()


def _lines(text, width):
    """A group's name in lines that fit under it."""
    if len(text) * LETTER <= width:
        return [text]
    lines = [""]
    for word in text.replace("_", " ").split():
        joined = f"{lines[-1]} {word}".strip()
        if lines[-1] and len(joined) * LETTER > width:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def _axes(canvas, scale, plot):
    for tick in scale.ticks():
        canvas.line(LEFT, scale.y(tick), WIDTH - RIGHT, scale.y(tick))
        canvas.text(LEFT - 8, scale.y(tick) + 4, f"{tick:,.10g}", "small", "end")
    canvas.text(20, TOP - 12, f"{plot.unit}{', logarithmic' if scale.logarithmic else ''}", "small")
    canvas.text((LEFT + WIDTH - RIGHT) / 2, TOP + PLOT_HEIGHT + 38, plot.axis, "small", "middle")


def _box(canvas, scale, centre, width, samples, colour, name):
    """Whiskers, box, median, and what lies outside; a tip says the numbers."""
    each = summary(samples)
    tip = f"{name}: median {each['median']:.4g}, quartiles {each['low']:.4g} and {each['high']:.4g}, {len(samples)} samples"
    for value, edge in ((each["from"], each["low"]), (each["to"], each["high"])):
        canvas.stroke(centre, scale.y(value), centre, scale.y(edge), colour)
        canvas.stroke(centre - width / 4, scale.y(value), centre + width / 4, scale.y(value), colour)
    top, bottom = scale.y(each["high"]), scale.y(each["low"])
    canvas.rectangle(centre - width / 2, top, width, max(bottom - top, 1.0), colour, tip, opacity=0.35, stroke=colour)
    canvas.stroke(centre - width / 2, scale.y(each["median"]), centre + width / 2, scale.y(each["median"]), colour, 2.5)
    for value in each["outside"]:
        canvas.dot(centre, scale.y(value), 1.8, colour)


def _legend(canvas, plot):
    entries = [(name, COLOURS[place % len(COLOURS)], 0.6) for place, name in enumerate(plot.series)]
    entries += [(text, PAPER, 0.2) for text, _, _ in plot.bands] + [(text, PAPER, 1.0) for text, _ in plot.limits]
    x = LEFT
    for text, colour, opacity in entries:
        canvas.rectangle(x, 42 if opacity < 1 else 47, 12, 12 if opacity < 1 else 2, colour, opacity=opacity)
        canvas.text(x + 17, 52, text, "small")
        x += 17 + LETTER * len(text) + 22
