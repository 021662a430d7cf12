"""The table in Docs/benchmarks.md, between two marks, from the figures that are recorded."""

BEGIN, END = "<!-- figures: written by `make bench RECORD=1` -->", "<!-- end of figures -->"


def write(path, result):
    """Puts the table where the last one was; returns the path."""
    with open(path) as file:
        text = file.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{path}: there must be one line `{BEGIN}` and one `{END}`")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    with open(path, "w") as file:
        file.write(f"{before}{BEGIN}\n\n{table(result)}\n\n{END}{after}")
    return path


def table(result):
    lines = ["| median of | value | target | |", "| --- | ---: | ---: | --- |"]
    for each in result["figures"]:
        reached = {True: "reached", False: "**missed**", None: ""}[each.get("reached")]
        lines.append(f"| {each['text']} (`{each['key']}`) | {each['value']:g} {each['unit']} | {each.get('target', '')} | {reached} |")
    facts = result["parts"][next(iter(result["parts"]))]["machine"]
    where = ", ".join(str(facts[key]) for key in ("date", "processor", "kernel", "distribution") if key in facts)
    lines += ["", f"Measured on {facts['cores']} cores: {where}."]
    lines += [f"Shortened: {part} ({each['shortened']})." for part, each in result["parts"].items() if each["shortened"]]
    if result["not_measured"]:
        lines.append(f"Not measured: {', '.join(f'`{key}`' for key in result['not_measured'])}.")
    return "\n".join(lines)
