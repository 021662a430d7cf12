"""What follows from the data that are kept: figures, each with its target. One that was not measured is absent."""

from .catalogue import FIGURES


def derive(kept):
    """Of what is kept, every figure that follows from it: (figure, value, whether it is of a quick run)."""
    found = []
    for figure in FIGURES:
        if figure.part not in kept:
            continue
        try:
            value = figure.derive(kept[figure.part]["data"])
        except KeyError:
            continue  # a count or a side that this run did not measure
        if value is not None:
            found.append((figure, rounded(value), kept[figure.part]["quick"]))
    return found


def rounded(value):
    """Three digits that mean something."""
    return float(f"{value:.3g}") if abs(value) < 1000 else round(value)


def result(found, kept, failed):
    """What result.json and Docs/benchmarks.json hold: the plain figures, then each with its target."""
    return {
        **{figure.key: value for figure, value, _ in found},
        "figures": [{
            "key": figure.key, "text": figure.text, "unit": figure.unit, "part": figure.part, "value": value, "quick": quick,
            **({"target": figure.target, "reached": figure.reached(value)} if figure.target else {})} for figure, value, quick in found],
        "targets_missed": [figure.key for figure, value, _ in found if figure.reached(value) is False],
        "not_measured": [figure.key for figure in FIGURES if figure.key not in {each.key for each, _, _ in found}],
        "parts": {part: {key: each.get(key) for key in ("quick", "shortened", "seconds", "machine")} for part, each in kept.items()},
        "failed_parts": failed}


def show(result):
    """The figures as a table for a terminal."""
    for each in result["figures"]:
        mark = {True: "reached", False: "MISSED", None: ""}[each.get("reached")]
        said = f"  {each['text']:<80}{each['value']:>12g} {each['unit']:<7} {each.get('target', ''):>10} {mark}"
        print(f"{said}{' (quick)' if each['quick'] else ''}")
    if result["not_measured"]:
        print(f"  not measured: {', '.join(result['not_measured'])}")


def check_recordable(kept, failed):
    """Raises SystemExit when what is kept is of a quick run, or a part has just failed. A part that is missing or shortened is named."""
    quick = [part for part, each in kept.items() if each["quick"]]
    if quick or failed or not kept:
        raise SystemExit(
            f"not recorded: only quick: {', '.join(quick) or 'nothing'}; failed: {', '.join(failed) or 'nothing'}. "
            "Measure these again (`--only`), then `--render --record`")
