"""The part of scripts/gpu-check that runs beside the GPU: steps with time limits, and one Markdown file about them.

Needs Python's standard library only. The folder of this file holds what `gpu-check build` packed.
"""

import argparse
import ctypes
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time

FAIL = "**fail**"
HERE = pathlib.Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda", "wgpu"])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repetitions")
    parser.add_argument("--seconds", type=float, default=540, help="limit of all steps together")
    return parser.parse_args()


def environment(device):
    """What our programs see: the libraries and the device library that were packed."""
    packed = dict(os.environ, LD_LIBRARY_PATH=f"{HERE / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}")
    packed["HEMOFLOW_TEST_DEVICE"] = device
    packed["CUDA_PATH"] = str(HERE)
    return packed


def hardware(device):
    """Name of the device and version of its driver, as its own tools tell them."""
    if device == "cpu":
        names = re.findall(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
        return f"{names[0] if names else platform.processor()}, {os.cpu_count()} virtual cores", "none"
    if device == "wgpu":
        told = adapter()
        return (told.removeprefix("found: "), "as wgpu found it") if told.startswith("found: ") else ("none", told)
    asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
        name, driver = told.splitlines()[0].rsplit(",", 1)
        return name.strip(), driver.strip()
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return "unknown", "unknown"


def libcuda():
    """The driver's library answers: its version, or why not."""
    try:
        library, version = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
        status = library.cuInit(0) or library.cuDriverGetVersion(ctypes.byref(version))
    except OSError as error:
        return False, str(error)
    if status:
        return False, f"status {status}"
    return True, f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"


def adapter():
    """What wgpu finds on this machine, as our program tells it."""
    name = "device::tests::a_device_is_found_or_what_is_missing_is_named"
    run = subprocess.run(
        [HERE / "bin/kernels-tests", "--exact", name, "--nocapture"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment("cpu"),
    )
    found = re.search(r"^wgpu: (.*)$", run.stdout, re.MULTILINE)
    return found[1] if found else f"exit status {run.returncode}"


def tests(said):
    """The last line of Rust's test programs."""
    found = re.findall(r"test result: .*?(\d+) passed; (\d+) failed", said)
    return f"{found[-1][0]} passed, {found[-1][1]} failed" if found else ""


def rows(value, path=""):
    """The lists of records in a JSON value, each with its path."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from rows(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from rows(item, f"{path}.{key}" if path else key)


def flat(record, prefix=""):
    """A record's numbers and texts, those of its parts under `part.name`."""
    cells = {}
    for key, value in record.items():
        if isinstance(value, dict):
            cells.update(flat(value, f"{prefix}{key}."))
        elif isinstance(value, list):
            cells[prefix + key] = "x".join(str(item) for item in value)
        else:
            cells[prefix + key] = f"{value:.4g}" if isinstance(value, float) else str(value)
    return cells


# What the JSON holds and a table can do without: spreads, and the times that a ratio in the table was made of.
DETAIL = re.compile(r"\.(count|p10|p90|p99|threads)$|^(copy|reference|burn|kernels)\..*milliseconds|^shape$|^bytes$")


def markdown(records):
    """Records as a table."""
    cells = [flat(record) for record in records]
    columns = [key for key in dict.fromkeys(key for row in cells for key in row) if not DETAIL.search(key)]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row.get(column, "").replace("|", "/") for column in columns) + " |" for row in cells]
    return lines


class Check:
    """The steps, what they took, and what they told."""

    def __init__(self, options):
        self.options = options
        self.started = time.monotonic()
        self.steps, self.tables, self.log = [], [], []
        self.environment = environment(options.device)

    def note(self, step, passed, seconds, told):
        print(f"gpu-check: {step}: {'pass' if passed else 'FAIL'} {told}", file=sys.stderr, flush=True)
        self.steps.append((step, "pass" if passed else FAIL, f"{seconds:.1f}", told))

    def skip(self, step, why):
        print(f"gpu-check: {step}: skipped: {why}", file=sys.stderr, flush=True)
        self.steps.append((step, "skipped", "", why))

    def step(self, name, command, limit, ours=True, tell=lambda said: "", keep=False, table=False, lines=False):
        """Runs a command, and tells whether it passed: what comes next runs in any case.

        `keep` writes its JSON to a file, `table` shows the lists in it too, `lines` shows what it printed.
        """
        begun = time.monotonic()
        limit = min(limit, self.options.seconds - (begun - self.started))
        said, complaints, passed, told = "", "", False, ""
        if limit < 5:
            told = "no time left"
        else:
            seen = self.environment if ours else dict(os.environ)
            try:
                run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit, env=seen)
                said, complaints, passed = run.stdout, run.stderr, run.returncode == 0
                told = tell(said) or ("" if passed else f"exit status {run.returncode}")
                # A filter that finds no test is no proof.
                passed = passed and not told.startswith("0 passed")
            except subprocess.TimeoutExpired as late:
                said = (late.stdout or b"").decode(errors="replace")
                complaints = (late.stderr or b"").decode(errors="replace")
                told = f"stopped after {limit:.0f} s"
            except OSError as error:
                told = str(error)
        self.log += [f"==== {name}: {' '.join(map(str, command))}", said, complaints]
        if passed and (keep or table):
            passed = self.keep(name, said, table)
            told = told or ("" if passed else "no JSON")
        if passed and lines:
            self.tables += ["", f"## {name}", "", said.strip()]
        self.note(name, passed, time.monotonic() - begun, told)
        return passed

    def keep(self, name, said, table):
        try:
            value = json.loads(said)
        except ValueError:
            return False
        (self.options.out / f"{name.replace(' ', '-')}.json").write_text(said)
        for path, records in rows(value) if table else []:
            self.tables += ["", f"## {name}{': ' + path if path else ''}", "", *markdown(records)]
        return True

    def write(self):
        device, driver = hardware(self.options.device)
        packed = (HERE / "commit").read_text().replace("\n", "").strip()
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        lines = [f"# gpu-check on {self.options.device}", ""]
        lines += ["| device | driver | date | commit |", "|---|---|---|---|", f"| {device} | {driver} | {now} | {packed} |", ""]
        lines += ["| step | result | seconds | told |", "|---|---|---|---|"]
        lines += ["| " + " | ".join(step) + " |" for step in self.steps]
        (self.options.out / "gpu-check.md").write_text("\n".join(lines + self.tables) + "\n")
        (self.options.out / "gpu-check.log").write_text("\n".join(self.log))
        return all(result != FAIL for _, result, _, _ in self.steps)


def beside(check, device, quick):
    """Other libraries on this device, and the table of ratios."""
    script = HERE / "peers" / ("cpu.py" if device == "cpu" else "gpu.py")
    python = shutil.which("python3") or sys.executable
    needed = ["numpy"] if device == "cpu" else ["numpy", "torch"]
    for module in needed:
        if not script.is_file() or subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode:
            return check.skip("peers", f"no {script.name}, or no {module} in {python}")
    if not check.step("peers", [python, script, *quick, "--seconds", "20" if quick else "100"], 160, ours=False, keep=True):
        return None
    files = [check.options.out / "bench-kernels.json", check.options.out / "peers.json"]
    return check.step("ratios", [python, HERE / "peers/table.py", *files], 30, ours=False, lines=True)


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    check, device, quick = Check(options), options.device, ["--quick"] if options.quick else []
    hemoflow = [HERE / "bin/hemoflow", "--device", device]
    if device == "cuda":
        begun = time.monotonic()
        check.note("driver", *(lambda passed, told: (passed, time.monotonic() - begun, told))(*libcuda()))
    if device == "wgpu":
        begun, told = time.monotonic(), adapter()
        if not told.startswith("found: "):
            check.skip("all steps", told)
            sys.exit(0 if check.write() else 1)
        check.note("driver", True, time.monotonic() - begun, told)
    check.step("program", [*hemoflow, "--version"], 30, tell=str.strip)
    check.step("kernel tests", [HERE / "bin/kernels-tests", "--skip", "ptx::", "--skip", "executor::"], 150, tell=tests)
    if (HERE / "bin/operators-tests").is_file():
        check.step("network tests", [HERE / "bin/operators-tests", "tensor::", "gradients_in_narrow_numbers"], 120, tell=tests)
    else:
        check.skip("network tests", "they did not fit the archive")
    seconds = ["--seconds", "15" if quick else "90"]
    check.step("bench kernels", [*hemoflow, "bench", "kernels", "--json", *quick, *seconds], 150, table=True)
    check.step("bench models", [*hemoflow, "bench", "models", "--json", *quick, *seconds], 200, table=True)
    if device != "cpu":
        # WebGPU has no bf16.
        precision = "f16" if device == "wgpu" else "bf16"
        narrow = ["--precision", precision, "--arch", "resnet18,resnet101"]
        check.step(f"bench models {precision}", [*hemoflow, "bench", "models", "--json", *narrow, *seconds], 200, table=True)
    beside(check, device, quick)
    with tempfile.TemporaryDirectory() as work:
        data = ["--data", HERE / "data/dicom", "--labels", HERE / "data/labels.csv", "--out", f"{work}/model"]
        small = ["--width", "8", "--input-size", "64", "--epochs", "1"]
        # So short a training finds masks or not by chance; a segmenter has none to learn from then.
        for precision in ["f32", "bf16"] if device == "cuda" else ["f32"]:
            train = [*hemoflow, "train", "classifier", "--precision", precision, *data, *small]
            check.step(f"training {precision}", train, 180)
        check.step("run", [*hemoflow, "run", HERE / "data/dicom", "--model", HERE / "models", "--out", f"{work}/out"], 120)
    sys.exit(0 if check.write() else 1)


if __name__ == "__main__":
    main()
