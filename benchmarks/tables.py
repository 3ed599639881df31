"""Markdown tables of the rows that compare.py collects."""

import os
import platform
import statistics

NAMES = {
    "weft": "Weft, loop as written", "weft_compile": "Weft, compiled", "weft_fit": "Weft, fit",
    "weft_scan": "Weft, one scan",
    "torch": "PyTorch", "torch_compile": "torch.compile", "keras": "Keras/TF", "keras_jit": "Keras/TF, XLA",
    "jax": "JAX", "jax_scan": "JAX, one scan", "tinygrad": "tinygrad", "ort": "onnxruntime",
}  # fmt: skip


class Results:
    """The rows by workload and framework; noisy runs count only where there is no quiet one."""

    def __init__(self, rows):
        self.workloads = sorted({r["workload"] for r in rows}, key=lambda w: (w[:2], len(w), w))
        found = {r["framework"] for r in rows}
        self.frameworks = [f for f in NAMES if f in found] + sorted(found - set(NAMES))
        self.runs, self.errors, self.unit = {}, {}, dict.fromkeys(self.workloads, "")
        for r in rows:
            key = r["workload"], r["framework"]
            if "error" in r:
                self.errors[key] = r["error"]
            else:
                self.runs.setdefault(key, []).append(r)
                self.unit[r["workload"]] = r["unit"]
        self.runs = {k: [r for r in v if r["quiet"]] or v for k, v in self.runs.items()}
        self.median = {k: statistics.median(r["ms"] for r in v) for k, v in self.runs.items()}

    def best_peer(self, workload, scan):
        """The shortest median of the other frameworks, among scans or among all others."""
        times = [
            m for (w, f), m in self.median.items()
            if w == workload and not f.startswith("weft") and f.endswith("_scan") == scan
        ]  # fmt: skip
        return min(times, default=None)


def short(x):
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def machine():
    """The processor and its cores, as the system names them."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            name = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def print_table(head, lines):
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for line in lines:
        print("| " + " | ".join(line) + " |")


def headline(rows):
    """One table: the times, and how many times as fast as the best peer Weft is."""
    found = Results(rows)

    def cell(w, f):
        key = w, f
        if key not in found.median:
            return "error" if key in found.errors else ""
        noisy = not any(r["quiet"] for r in found.runs[key])
        return "~" * noisy + short(found.median[key])

    def ratio(peer, mine):
        return "" if peer is None or mine is None else f"{peer / mine:.2f}"

    lines = []
    for w in found.workloads:
        ratios = [
            ratio(found.best_peer(w, False), found.median.get((w, "weft_compile"))),
            ratio(found.best_peer(w, True), found.median.get((w, "weft_scan"))),
            ratio(found.median.get((w, "torch")), found.median.get((w, "weft"))),
        ]
        lines.append([w, found.unit[w], *[cell(w, f) for f in found.frameworks], *ratios])
    head = ["workload", "unit", *[NAMES.get(f, f) for f in found.frameworks]]
    print(f"{machine()}; 2 threads, float32. Ratios: the peer's time / Weft's, above 1 Weft is faster.\n")
    print_table([*head, "best peer / compiled", "best scan / scan", "PyTorch / loop as written"], lines)


def details(rows):
    """Best blocks, spread and first calls."""
    found = Results(rows)

    def spread(runs):
        ms = [r["ms"] for r in runs]
        return f"{short(min(ms))}-{short(max(ms))}, {len(ms)}"

    def first_call(runs):
        first, *later = [r["first_s"] for r in runs]
        return f"{first:.2f}" + (f" / {statistics.median(later):.2f}" if later else "")

    for title, text in (
        ("Best block of any run", lambda runs: short(min(r["ms_min"] for r in runs))),
        ("Spread over rounds: min-max of per-process medians, rounds", spread),
        ("First call, s: empty caches / later processes", first_call),
    ):
        print(f"\n### {title}\n")
        lines = []
        for w in found.workloads:
            cells = [text(found.runs[w, f]) if (w, f) in found.runs else "" for f in found.frameworks]
            lines.append([w, found.unit[w], *cells])
        print_table(["workload", "unit", *found.frameworks], lines)


def faults(rows):
    """Results that do not agree with the first framework's within 2%, and runs that failed."""
    found = Results(rows)
    for w in found.workloads:
        checks = {f: found.runs[w, f][0]["check"] for f in found.frameworks if (w, f) in found.runs}
        reference = next(iter(checks.values()), None)
        for f, check in checks.items():
            if max(abs(x - y) / (abs(y) + 1e-3) for x, y in zip(check, reference)) > 0.02:
                print(f"- MISMATCH {w} {f}: {check} against {reference}")
    for (w, f), error in found.errors.items():
        if (w, f) not in found.runs:
            print(f"- {w} {f}: {error}")
