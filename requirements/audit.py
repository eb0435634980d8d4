"""Known vulnerabilities of pinned packages: `python requirements/audit.py PIP_AUDIT FILE...`.

pip-audit asks the package index about each pin. Where the index has no such data, as mirrors often have not,
pip-audit reports success; here that is a failure of its own.

Exit status: 0 where each pin was checked and nothing is known against it, 1 where something is, 2 where some
could not be checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

KNOWN, UNCHECKED = 1, 2


def main(program: str, files: Sequence[str]) -> int:
    """Check every file; the exit status of the worst."""
    pins = {pin["name"]: pin for file in files for pin in audited(program, file)}
    known = [pin for pin in pins.values() if pin.get("vulns")]
    unchecked = sorted(name for name, pin in pins.items() if "skip_reason" in pin)
    for pin in known:
        for one in pin["vulns"]:
            mended = ", ".join(one["fix_versions"]) or "no version yet"
            print(f"audit: {pin['name']} {pin['version']}: {one['id']}, mended in {mended}")
    if unchecked:
        print(f"audit: of {len(pins)} pins {len(unchecked)} could not be checked:", ", ".join(unchecked))
        print("audit: the package index has no data about their vulnerabilities, or cannot be reached")
    if not (known or unchecked):
        print(f"audit: nothing is known against {len(pins)} pins")
    return KNOWN if known else UNCHECKED if unchecked else 0


def audited(program: str, file: str) -> list[dict[str, Any]]:
    """What pip-audit says about each pin of a file."""
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    command = [program, *options, "--requirement", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        print(f"audit: pip-audit could not read {file}: {done.stderr.strip()}")
        raise SystemExit(UNCHECKED)
    return json.loads(done.stdout)["dependencies"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
