#!/usr/bin/env python3
"""Masks of CT-ICH 1.0.0 as `hemoflow evaluate --masks` reads them.

    ct_ich_masks.py FOLDER OUT

FOLDER holds `dicom_rle/pNNN/pNNN_sNN.dcm` and `mask512/pNNN_sNN.png`, not 0 inside; OUT receives `<StudyUID>.nii.gz`, one
volume a patient, its slices in z order. Needs pydicom, nibabel, numpy and pillow.
"""

import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from PIL import Image


def volume(folder, patient):
    """Study UID and `[columns, rows, slices]` of a patient."""
    slices = []
    for path in sorted(patient.glob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        mask = np.array(Image.open(folder / "mask512" / f"{path.stem}.png").convert("L")) > 0
        if mask.shape != (header.Rows, header.Columns):
            sys.exit(f"{path.stem}: the mask is {mask.shape}, the slice {(header.Rows, header.Columns)}")
        slices.append((float(header.ImagePositionPatient[2]), header.StudyInstanceUID, mask))
    slices.sort(key=lambda item: item[0])
    return slices[0][1], np.stack([mask.T for _, _, mask in slices], axis=2).astype(np.uint8)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for patient in sorted((folder / "dicom_rle").iterdir()):
        study, voxels = volume(folder, patient)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), out / f"{study}.nii.gz")
        print(f"{patient.name}: {voxels.shape[2]} slices, {int((voxels > 0).sum())} pixels, {study}")


main()
