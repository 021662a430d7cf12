"""One line for every check, and the closing line `N passed, N failed`."""

import sys


class Checks:
    def __init__(self, title=""):
        self.passed, self.failed = [], []
        if title:
            print(title, flush=True)

    def expect(self, name, holds, detail=""):
        """Notes a check. `detail` says what was seen; it is printed in any case."""
        (self.passed if holds else self.failed).append(name)
        print(f"{'ok  ' if holds else 'FAIL'} {name}{f' ({detail})' if detail else ''}", flush=True)
        return holds

    def run(self, name, body):
        """Runs a test function; an exception is a failed check, not the end of the others."""
        try:
            body()
        except KeyboardInterrupt:
            raise
        except Exception as error:  # noqa: BLE001 the report is the point
            self.expect(name, False, f"{type(error).__name__}: {error}")

    def close(self):
        """Prints the closing line; returns the exit code."""
        print(f"{len(self.passed)} passed, {len(self.failed)} failed", flush=True)
        for name in self.failed:
            print(f"failed: {name}", file=sys.stderr)
        return 1 if self.failed else 0
