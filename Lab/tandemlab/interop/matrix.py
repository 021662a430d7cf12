"""The matrix in print and as a file."""

import json

from .course import CELLS, NOT_IN_ROW

MARKS = {"passed": "+", "failed": "F", "not_offered": "-"}
#: Characters of a failure's reason that are printed; the file has all of it.
DETAIL_MAX = 300
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
    lines, said = [f"{number:3}/{total} {row['name']:58} {marks} {row['seconds']:5.0f} s"], set()
    for name, cell in row["cells"].items():
        if cell["outcome"] == "failed" and cell["detail"] not in said:
            said.add(cell["detail"])
            lines.append(f"        F {name}: {cell['detail'].splitlines()[0][:DETAIL_MAX]}")
    return "\n".join(lines)


def table(rows):
    """The whole matrix: a line for each row, a column for each cell, and the reasons of `-`."""
    used = [cell for cell in CELLS if any(cell in row["cells"] for row in rows)]
    width = max(len(row["name"]) for row in rows)
    lines = [f"{number:2} {cell}" for number, cell in enumerate(used, 1)]
    lines.append(" " * width + "".join(f"{number:3}" for number in range(1, len(used) + 1)))
    for row in rows:
        marks = [MARKS[row["cells"][cell]["outcome"]] if cell in row["cells"] else " " for cell in used]
        lines.append(row["name"].ljust(width) + "".join(mark.rjust(3) for mark in marks))
    lines.append("+ passed, F failed, - not offered:")
    reasons = {}
    for row in rows:
        for name, cell in row["cells"].items():
            if cell["outcome"] == "not_offered" and cell["detail"] != NOT_IN_ROW:
                reasons.setdefault(cell["detail"], set()).add(row["peer"])
    lines += [f"  {', '.join(sorted(peers))}: {reason}" for reason, peers in sorted(reasons.items())]
    return "\n".join(lines)


def write(path, rows, is_complete):
    with open(path, "w") as file:
        json.dump({**count(rows), "complete": is_complete, "rows": rows}, file, indent=2)
        file.write("\n")
