"""One HTML page that holds every plot and figure: no scripts, nothing loaded from elsewhere."""

import os
from html import escape

from . import boxes, plots

STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 900px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 26px } h2 { font-size: 19px; margin-top: 2em } svg { max-width: 100%; height: auto }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid #ddd }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums } th.number { text-align: right }
.missed { color: #b03030; font-weight: 600 } .note { color: #555; font-size: 13px } figure { margin: 1.5em 0 }
"""


def write(out, kept, result):
    """The page, and each plot beside it; returns the page's path."""
    folder = os.path.join(out, "plots")
    os.makedirs(folder, exist_ok=True)
    figures = []
    for plot in plots.of(kept):
        svg = boxes.draw(plot)
        with open(os.path.join(folder, f"{plot.name}.svg"), "w") as file:
            file.write(svg)
        figures.append(f'<figure id="{plot.name}">{svg}<figcaption class="note">{escape(plot.note.strip())}</figcaption></figure>')
    path = os.path.join(out, "index.html")
    with open(path, "w") as file:
        file.write(_page(figures, result))
    return path


def _page(figures, result):
    rows = "\n".join(_row(each) for each in result["figures"])
    failed = "".join(f"<p class=missed>{escape(part)} failed: {escape(why)}</p>" for part, why in result["failed_parts"].items())
    missing = f"<p class=note>Not measured: {escape(', '.join(result['not_measured']))}.</p>" if result["not_measured"] else ""
    machines = {_machine(each["machine"]) for each in result["parts"].values()}
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Tandem: the numbers</title><style>{STYLE}</style></head><body>
<h1>Tandem: the numbers</h1>
<p class=note>{'<br>'.join(escape(text) for text in sorted(machines))}</p>{failed}
<p>A box is the middle half of the samples, the thick line their median; whiskers reach as far as one and a half boxes, dots lie beyond. Red
bands are what the paper reports, red lines are targets. How each was measured, and what a machine like this cannot show:
Docs/benchmarks.md.</p>
<h2>Figures</h2>
<table><tr><th>medians<th class=number>value<th>unit<th class=number>target<th></tr>
{rows}
</table>
{missing}
<h2>Plots</h2>
{chr(10).join(figures)}
</body></html>
"""


def _row(each):
    reached = {True: "reached", False: '<span class="missed">missed</span>', None: ""}[each.get("reached")]
    quick = ' <span class="note">(quick run)</span>' if each["quick"] else ""
    return (
        f'<tr><td>{escape(each["text"])}{quick}<td class="number">{each["value"]:g}<td>{escape(each["unit"])}'
        f'<td class="number">{escape(each.get("target", ""))}<td>{reached}</tr>')


def _machine(facts):
    words = [facts.get("processor", facts["architecture"]), f"{facts['cores']} cores"]
    words += [f"{facts['memory_mib']} MiB"] if "memory_mib" in facts else []
    words += [f"tandemd {facts['tandemd']}"] if "tandemd" in facts else []
    words += [f"Linux {facts['kernel']}"] + [facts[key] for key in ("distribution", "charon", "openssl") if key in facts]
    return ", ".join(words)
