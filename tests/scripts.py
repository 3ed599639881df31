"""Scripts that tests run in a process of their own, as they may end it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_script(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code that may import from `tests` and from the test's own `folder`."""
    path = os.pathsep.join([str(folder), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
