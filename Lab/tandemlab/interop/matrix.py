"""The matrix in print and as a file."""

import json

from .course import CELLS

MARKS = {"passed": "+", "failed": "F", "not_offered": "-"}
OUTCOMES = ("passed", "failed", "not_offered")


def count(rows):
    """How many cells of each outcome."""
    found = {outcome: 0 for outcome in OUTCOMES}
    for row in rows:
        for cell in row["cells"].values():
            found[cell["outcome"]] += 1
    return found


def row_line(row, number, total):
    """One row as soon as it is done, with what failed."""
    marks = "".join(MARKS[cell["outcome"]] for cell in row["cells"].values())
    lines = [f"{number:3}/{total} {row['name']:58} {marks} {row['seconds']:5.0f} s"]
    lines += [f"        F {name}: {cell['detail'].splitlines()[0]}" for name, cell in row["cells"].items() if cell["outcome"] == "failed"]
    return "\n".join(lines)


def table(rows):
    """The whole matrix: a line for each row, a column for each cell, and the reasons of `-`."""
    used = [cell for cell in CELLS if any(cell in row["cells"] for row in rows)]
    height = max(map(len, used))
    width = max(len(row["name"]) for row in rows)
    lines = [" " * (width + 1) + " ".join(cell.rjust(height)[level] for cell in used) for level in range(height)]
    for row in rows:
        lines.append(row["name"].ljust(width + 1) + " ".join(MARKS[row["cells"][cell]["outcome"]] if cell in row["cells"] else " " for cell in used))
    lines.append("+ passed, F failed, - not offered:")
    reasons = {}
    for row in rows:
        for name, cell in row["cells"].items():
            if cell["outcome"] == "not_offered" and cell["detail"] != "not in this row":
                reasons.setdefault(cell["detail"], set()).add(row["peer"])
    lines += [f"  {', '.join(sorted(peers))}: {reason}" for reason, peers in sorted(reasons.items())]
    return "\n".join(lines)


def write(path, rows, is_complete):
    with open(path, "w") as file:
        json.dump({**count(rows), "complete": is_complete, "rows": rows}, file, indent=2)
        file.write("\n")
