#!/usr/bin/env python3
"""Draws phantoms beside a patient's slices, and their HU by tissue.

    phantom_figure.py PHANTOMS REAL OUT.png

PHANTOMS is what `hemoflow phantom` wrote, REAL a folder of DICOM slices of one head without a bleed. Rows: slices of the
patient; phantoms, each another, where the space inside the skull is as large a part of its largest; the phantom slices with
most of four kinds of bleed; and distributions of HU: of brain by its distance from the skull, of all phantoms and the patient,
and of each kind of bleed. Prints tables of HU by distance from the bone and toward the vertex as well. Needs pydicom, nibabel, numpy, scipy and matplotlib.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pydicom
from scipy import ndimage

KINDS = ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"]
# Toward the vertex: where the space inside the skull is this part of its largest, at these distances from the bone in the plane, mm.
HEIGHTS = [1.0, 0.8, 0.65, 0.5, 0.35, 0.2]
RIM, MIDDLE = (2, 6), (8, 1000)
# Distances from the bone, mm.
DISTANCES = [3, 4, 5, 6, 8, 10, 12, 16, 20, 30]
SHELLS = [("1 to 5 mm from the skull", 1, 5), ("5 to 15 mm", 5, 15), ("deeper", 15, 1000)]


def series(folder):
    """HU `[slices, rows, columns]` upward, and the pixel spacing in mm."""
    slices = []
    for path in sorted(folder.glob("*.dcm")):
        header = pydicom.dcmread(path)
        values = header.pixel_array.astype(np.float32) * float(header.RescaleSlope) + float(header.RescaleIntercept)
        slices.append((float(header.ImagePositionPatient[2]), values, float(header.PixelSpacing[0])))
    slices.sort(key=lambda item: item[0])
    return np.stack([values for _, values, _ in slices]), slices[0][2]


def inside(hu, spacing):
    """What bone encloses, and its distance from the bone in mm."""
    bone = ndimage.binary_closing(hu > 300, iterations=max(1, round(3 / spacing)))
    outside, _ = ndimage.label(~bone)
    space = ~bone & (outside != outside[0, 0])
    return space, ndimage.distance_transform_edt(~bone) * spacing


def brain(hu, spacing, mask, shells):
    """HU of the brain at these distances from the bone, mm, `(near, far)` each, without bleeds; where the space inside the skull
    is below 60 cm² or its ring of bone open there is none."""
    found = [[np.array([])] for _ in shells]
    for values, bleeds in zip(hu, mask):
        space, distance = inside(values, spacing)
        if space.sum() * spacing**2 < 6000:
            continue
        seen = space & (bleeds == 0) & (np.abs(values - 30) < 70)
        for voxels, (near, far) in zip(found, shells):
            voxels.append(values[seen & (distance >= near) & (distance < far)])
    return [np.concatenate(voxels) for voxels in found]


def phantoms(folder, studies):
    """Of the first studies: HU, spacing, mask of subtypes."""
    for path in sorted((folder / "masks").glob("*.nii.gz"))[:studies]:
        hu, spacing = series(folder / "dicom" / path.name.removesuffix(".nii.gz"))
        yield hu, spacing, np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)


def at_areas(hu, spacing, parts):
    """The highest slices whose space inside the bone is these parts of the largest."""
    areas = np.array([inside(values, spacing)[0].sum() for values in hu])
    return [hu[np.flatnonzero(areas >= part * areas.max()).max()] for part in parts]


def by_distance(hu, spacing, mask):
    """Median HU at each distance from the bone, `[1, distances]`."""
    return np.array([[np.median(voxels) for voxels in brain(hu, spacing, mask, [(at - 0.5, at + 0.5) for at in DISTANCES])]])


def toward_vertex(hu, spacing, mask):
    """Median HU of the rim and of the middle at each height, `[2, heights]`; NaN where there is no slice or it has a bleed."""
    spaces = [inside(values, spacing) for values in hu]
    areas = np.array([space.sum() for space, _ in spaces])
    found = np.full((2, len(HEIGHTS)), np.nan)
    above = np.arange(len(hu)) >= areas.argmax()
    for column, height in enumerate(HEIGHTS):
        place = np.argmin(np.where(above, np.abs(areas / areas.max() - height), np.inf))
        if abs(areas[place] / areas.max() - height) > 0.12 or mask[place].any():
            continue
        space, distance = spaces[place]
        smooth = ndimage.median_filter(hu[place], 3)
        for row, (near, far) in enumerate([RIM, MIDDLE]):
            voxels = smooth[space & (distance >= near) & (distance < far) & (np.abs(smooth - 50) < 50)]
            found[row, column] = np.median(voxels) if len(voxels) else np.nan
    return found


def tell(what, columns, rows, patient, studies):
    """A table: rows of the patient's numbers, and of the lowest, the median and the highest among phantoms."""
    print(f"\n| {what} | {' | '.join(map(str, columns))} |\n|{'---|' * (len(columns) + 1)}")
    for row, name in enumerate(rows):
        lines = {f"patient{name}": patient[row]}
        for word, part in [("lowest", 0), ("median", 50), ("highest", 100)]:
            lines[f"{len(studies)} phantoms{name}: {word}"] = np.nanpercentile(studies[:, row], part, axis=0)
        for line, values in lines.items():
            print(f"| {line} | {' | '.join('-' if np.isnan(value) else f'{value:.0f}' for value in values)} |")


def show(axes, values, title):
    axes.imshow(values, cmap="gray", vmin=0, vmax=80, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.axis("off")


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    made, real, out = map(Path, sys.argv[1:])
    patient, patient_spacing = series(real)
    studies = list(phantoms(made, 40))
    areas = [0.98, 0.9, 0.7, 0.4]
    figure, axes = plt.subplots(4, 4, figsize=(11, 11))
    for column, values in enumerate(at_areas(patient, patient_spacing, areas)):
        show(axes[0, column], values, "patient")
    for column, area in enumerate(areas):
        hu, spacing, _ = studies[column]
        show(axes[1, column], at_areas(hu, spacing, [area])[0], "phantom")
        hu, mask = max(((hu, mask) for hu, _, mask in studies[8:]), key=lambda pair: (pair[1] == column + 1).sum())
        show(axes[2, column], hu[np.argmax((mask == column + 1).sum((1, 2)))], f"phantom, {KINDS[column]}")
    head = (patient, patient_spacing, np.zeros(patient.shape, np.uint8))
    for what, columns, rows, measure in [
        ("mm", DISTANCES, [""], by_distance),
        ("part of the largest area", HEIGHTS, [", rim", ", middle"], toward_vertex),
    ]:
        tell(what, columns, rows, measure(*head), np.array([measure(*study) for study in studies]))
    print()
    bins = np.arange(-10, 90)
    of_patient = brain(*head, [shell for _, *shell in SHELLS])
    of_phantoms = [np.concatenate(found) for found in zip(*(brain(*study, [shell for _, *shell in SHELLS]) for study in studies))]
    for panel, (name, _, _), a, b in zip(axes[3], SHELLS, of_patient, of_phantoms):
        panel.hist(b, bins, density=True, histtype="stepfilled", color="0.75", label="phantoms")
        panel.hist(a, bins, density=True, histtype="step", color="tab:blue", label="patient")
        panel.set_title(f"brain, {name}", fontsize=8)
        print(f"brain, {name}: median {np.median(a):.0f} HU in the patient, {np.median(b):.0f} in phantoms")
    axes[3, 0].legend(fontsize=7)
    for value, kind in enumerate(KINDS, 1):
        found = np.concatenate([hu[mask == value] for hu, _, mask in studies])
        axes[3, 3].hist(found, bins, density=True, histtype="step", label=kind)
        print(f"{kind}: median {np.median(found):.0f} HU, {len(found)} voxels")
    axes[3, 3].set_title("bleeds of phantoms, by voxel", fontsize=8)
    axes[3, 3].legend(fontsize=6)
    for panel in axes[3]:
        panel.set_xlabel("HU", fontsize=8)
        panel.set_yticks([])
        panel.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(out, dpi=75)


if __name__ == "__main__":
    main()
