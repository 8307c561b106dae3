#!/usr/bin/env python3
"""Hemoflow's kernels or networks beside other libraries: a table in Markdown.

    hemoflow bench kernels --json > ours.json
    cpu.py > cpu.json
    table.py ours.json cpu.json [MORE.json...] [--by copy|cpu] [--where kernel=window,size=512]

A cell says how many times as long the library takes (above 1: Hemoflow is faster), and what part of a copy of as many
bytes it reaches. Times of two processes on a busy machine are worth little: `--by copy` divides each by the copy that was
measured in turns with it, in the same process; `--by cpu` compares the time of all processors instead, which a busy
machine disturbs least.
"""

import argparse
import json
import sys


SHAPES = {"encoder": ("arch", "width", "last_stride_one", "size"), "segmenter": ("unet_width", "unet_patch", "size")}


def same_shape(model, network, shapes):
    return all(model[name] == shapes[name] for name in SHAPES[network])


def cases(document, models):
    """{case: {peer: row}} of a file: ours under the name `hemoflow`."""
    found = {}
    for row in document.get("kernels", []):
        found.setdefault((row["kernel"], row["size"], row["batch"]), {})["hemoflow"] = row
    for row in document.get("networks", []):
        rows = found.setdefault((f"{row['model']}/{row['network']}", row["size"], row["batch"]), {})
        rows["hemoflow"] = row
        if "burn" in row:
            rows["burn"] = row["burn"]
    for row in document.get("rows", []):
        # Networks of given shapes, milliseconds a slice: those of each model of ours that has these shapes.
        for model in models:
            if same_shape(model, row["network"], document["shapes"]):
                case = f"{model['model']}/{row['network']}", model["size"], row["batch"]
                taken = {"milliseconds": {"median": row["median_ms"] * row["batch"]},
                         "cpu_milliseconds": row["cpu_ms"] * row["batch"]}
                found.setdefault(case, {})[named(document["peer"], row)] = taken
    for row in document.get("peers", []):
        kernel = row.get("kernel") or f"{row['model']}/{row['network']}"
        found.setdefault((kernel, row["size"], row["batch"]), {})[named(row["peer"], row)] = row
    return found


def named(peer, row):
    threads = row.get("threads")
    return peer if not threads else f"{peer}, {threads} thread{'s' if threads > 1 else ''}"


def ratio(ours, theirs, by):
    """How many times as long they take."""
    if by == "cpu":
        return theirs["cpu_milliseconds"] / ours["cpu_milliseconds"]
    times = theirs["milliseconds"]["median"] / ours["milliseconds"]["median"]
    if by == "copy" and "copy" in ours and "copy" in theirs:
        return times * ours["copy"]["milliseconds"]["median"] / theirs["copy"]["milliseconds"]["median"]
    return times


def share(row, by):
    """The part of a copy that it reaches, in words."""
    if by == "cpu" and "copy" in row:
        return f" ({row['copy']['cpu_milliseconds'] / row['cpu_milliseconds']:.0%})"
    return f" ({row['share_of_copy']:.0%})" if "share_of_copy" in row else ""


def cell(ours, theirs, by):
    return "" if theirs is None else f"{ratio(ours, theirs, by):.2f}{share(theirs, by)}"


def own(ours, by):
    taken = ours["cpu_milliseconds"] if by == "cpu" else ours["milliseconds"]["median"]
    rate = f", {ours['slices_per_second']:.1f}/s" if by != "cpu" and "slices_per_second" in ours else ""
    return f"{taken:.3g} ms{share(ours, by)}{rate}"


def wanted(case, conditions):
    values = dict(zip(("kernel", "size", "batch"), map(str, case)))
    return all(value in values[name] if name == "kernel" else value == values[name] for name, value in conditions)


def table(documents, by="time", conditions=()):
    """The lines of the table."""
    merged = {}
    models = [model for document in documents for model in document.get("models", [])]
    for document in documents:
        for case, rows in cases(document, models).items():
            merged.setdefault(case, {}).update(rows)
    merged = {case: rows for case, rows in merged.items() if "hemoflow" in rows and wanted(case, conditions)}
    peers = sorted({peer for rows in merged.values() for peer in rows} - {"hemoflow"})
    order = list(dict.fromkeys(case[0] for case in merged))
    yield "| kernel | size | batch | hemoflow | " + "".join(f"{peer} | " for peer in peers)
    yield "|---|---|---|---|" + "---|" * len(peers)
    for case in sorted(merged, key=lambda case: (order.index(case[0]), *case[1:])):
        rows = merged[case]
        cells = [own(rows["hemoflow"], by), *(cell(rows["hemoflow"], rows.get(peer), by) for peer in peers)]
        yield "| " + " | ".join([case[0], str(case[1]), str(case[2]), *cells]) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="ours first, then peers")
    parser.add_argument("--by", choices=["time", "copy", "cpu"], default="time", help="what ratios are of (default time)")
    parser.add_argument("--where", default="", help="only rows of these, as kernel=window,size=512,batch=8")
    options = parser.parse_args()
    conditions = [tuple(part.split("=", 1)) for part in options.where.split(",") if part]
    if any(len(part) != 2 or part[0] not in ("kernel", "size", "batch") for part in conditions):
        sys.exit("table.py: --where takes kernel=, size= and batch=, with commas between")
    documents = []
    for path in options.files:
        try:
            with open(path) as file:
                documents.append(json.load(file))
        except (OSError, ValueError) as error:
            sys.exit(f"table.py: {path} is not what a bench printed: {error}")
    for document, path in zip(documents, options.files):
        if not isinstance(document, dict) or not {"kernels", "networks", "peers", "rows"} & document.keys():
            sys.exit(f"table.py: {path} holds no kernels, networks or peers")
    for line in table(documents, options.by, conditions):
        print(line.rstrip())
    for document in documents:
        for name, why in document.get("missing", {}).items():
            print(f"\nmissing in {document.get('script', 'a file')}: {name}: {why}", file=sys.stderr)


if __name__ == "__main__":
    main()
