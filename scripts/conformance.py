"""The checks of scripts/conformance: reads a result tree with dciodvfy, highdicom, nibabel and Pillow.

For each `<StudyUID>/<SeriesUID>` of the tree:

- dciodvfy finds no error in any object, but those that the source has itself: identity is repeated as it is;
- highdicom reads segmentation.dcm and pseudo_mask.dcm: frames name images of the source and lie where these lie, patient
  and study are those of the source;
- the segmentation has, slice by slice, as many voxels as result.json says, and none that result.json does not list;
- nibabel reads the volumes, which hold the same voxels, each at its place;
- overlay.png is an image that shows something.

Prints what failed and `N passed, N failed`.
"""

import json
import pathlib
import subprocess
import sys
import warnings

import highdicom
import nibabel
import numpy
import pydicom
from PIL import Image

POSITION_MM = 0.002  # positions are kept in whole micrometres, images state them with less
COSINE = 1e-4
EVEN_MM = 0.05
IDENTITY = (
    "PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyDate StudyTime StudyID AccessionNumber"
).split()
VOLUMES = {"segmentation": "mask.nii.gz", "pseudo_mask": "pseudo_mask.nii.gz"}


class Tally:
    """Counts checks and prints those that fail."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, good, otherwise=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"failed: {what}{': ' if otherwise else ''}{otherwise}")
        return bool(good)


class Slice:
    """A plane of an image: where it lies, in millimetres, LPS."""

    def __init__(self, position, orientation, spacing, image):
        self.position = numpy.array(position, dtype=float)
        self.row, self.column = numpy.array(orientation, dtype=float).reshape(2, 3)
        self.spacing = numpy.array(spacing, dtype=float)
        self.image = image

    def along(self):
        return float(numpy.cross(self.row, self.column) @ self.position)

    def at(self, voxels):
        """Where voxels `[n, 2]` (row, column) lie."""
        down, across = (voxels * self.spacing).T
        return self.position + numpy.outer(down, self.column) + numpy.outer(across, self.row)


def macro(dataset, frame, name):
    """The item of a functional group for a frame, from 0: its own or the shared one."""
    groups = (dataset.PerFrameFunctionalGroupsSequence[frame], dataset.SharedFunctionalGroupsSequence[0])
    return next((group[name][0] for group in groups if name in group), None)


def slices(dataset):
    """The slices of an image or a segmentation, by frame number from 1."""
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        place = Slice(dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing, dataset)
        return {1: place}
    return {
        frame + 1: Slice(
            macro(dataset, frame, "PlanePositionSequence").ImagePositionPatient,
            macro(dataset, frame, "PlaneOrientationSequence").ImageOrientationPatient,
            macro(dataset, frame, "PixelMeasuresSequence").PixelSpacing,
            dataset,
        )
        for frame in range(int(dataset.NumberOfFrames))
    }


def read_source(folders):
    """`{series: {(instance, frame): Slice}}` of the images below the folders."""
    series = {}
    for path in (path for folder in folders for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            found = slices(dataset) if "Rows" in dataset else {}
        except (pydicom.errors.InvalidDicomError, OSError, AttributeError, TypeError, ValueError):
            continue  # no image with a place: a rejection of the program, nothing to compare with
        known = series.setdefault(str(dataset.SeriesInstanceUID), {})
        known.update({(str(dataset.SOPInstanceUID), frame): place for frame, place in found.items()})
    return series


def source_of(segmentation, frame):
    """`(instance, frame)` of the image that a frame was made from."""
    image = macro(segmentation, frame, "DerivationImageSequence").SourceImageSequence[0]
    return str(image.ReferencedSOPInstanceUID), int(image.get("ReferencedFrameNumber", 1))


def complaints(path):
    """The errors that dciodvfy finds in a file."""
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace")
    return [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]


def check_validity(tally, path, inherited, name):
    wrong = [line for line in complaints(path) if line not in inherited]
    tally.check(f"{name} has no error for dciodvfy", not wrong, "; ".join(wrong))


def check_identity(tally, segmentation, image, name):
    differ = [word for word in IDENTITY if str(segmentation.get(word) or "") != str(image.get(word) or "")]
    tally.check(f"{name} has patient and study of its source", not differ, ", ".join(differ))
    same = segmentation.get("FrameOfReferenceUID") == image.get("FrameOfReferenceUID")
    tally.check(f"{name} has the frame of reference of its source", same)
    tally.check(f"{name} is of a new series", segmentation.SeriesInstanceUID != image.SeriesInstanceUID)


def check_places(tally, segmentation, known, keys, name):
    unknown = [key for key in keys if key not in known]
    if not tally.check(f"{name} frames come from source images", not unknown, f"{len(unknown)} do not"):
        return False
    worst_mm = worst_cosine = worst_spacing = 0.0
    for own, key in zip(slices(segmentation).values(), keys):
        theirs = known[key]
        turn = numpy.abs(numpy.stack([own.row - theirs.row, own.column - theirs.column])).max()
        worst_mm = max(worst_mm, numpy.abs(own.position - theirs.position).max())
        worst_cosine = max(worst_cosine, turn)
        worst_spacing = max(worst_spacing, numpy.abs(own.spacing - theirs.spacing).max())
    tally.check(f"{name} frames lie on their slices", worst_mm <= POSITION_MM, f"{worst_mm:.4f} mm off")
    tally.check(f"{name} frames are turned as their slices", worst_cosine <= COSINE, f"{worst_cosine}")
    return tally.check(f"{name} frames have the spacing of their slices", worst_spacing <= COSINE, f"{worst_spacing}")


def read_segmentation(tally, path, known, name):
    """`{(instance, frame): [rows, columns] bool}`, or None."""
    try:
        segmentation = highdicom.seg.segread(path)
        pixels = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns) > 0
        keys = [source_of(segmentation, frame) for frame in range(len(pixels))]
    except Exception as error:  # whatever another implementation says about our object is the finding
        tally.check(f"{name} is read by highdicom", False, repr(error))
        return None
    tally.check(f"{name} is read by highdicom", True)
    tally.check(f"{name} is binary", segmentation.SegmentationType == "BINARY")
    tally.check(f"{name} has no frame twice and none empty", len(set(keys)) == len(keys) and pixels.any((1, 2)).all())
    if not check_places(tally, segmentation, known, keys, name):
        return None
    check_identity(tally, segmentation, known[keys[0]].image, name)
    return dict(zip(keys, pixels))


def listed(result):
    """`(instance, frame)` of each slice in result.json, in its order: an instance that is listed again has frames."""
    seen = {}
    for entry in result["slices"]:
        instance = entry["sop_uid"]
        seen[instance] = seen.get(instance, 0) + 1
        yield (instance, seen[instance]), entry


def check_counts(tally, masks, result, name):
    told = {key: entry["segmented_voxels"] for key, entry in listed(result)}
    frames = {instance for instance, frame in told if frame > 1}
    # Frames of one instance stand in z order, which need not be their order in the file: compared as a set.
    differ = [
        key for key, count in told.items() if key[0] not in frames and int(masks[key].sum() if key in masks else 0) != count
    ]
    for instance in frames:
        ours = sorted(count for key, count in told.items() if key[0] == instance and count)
        theirs = sorted(int(mask.sum()) for key, mask in masks.items() if key[0] == instance)
        differ += [instance] if ours != theirs else []
    tally.check(f"{name} has the voxels of result.json in each slice", not differ, f"{len(differ)} slices differ")
    absent = [key for key in masks if key not in told]
    tally.check(f"{name} has frames of the slices of result.json only", not absent, f"{len(absent)} of others")


def check_volume(tally, path, masks, known, listed_slices, name):
    try:
        image = nibabel.load(path)
        voxels = numpy.argwhere(numpy.asarray(image.dataobj) > 0)
    except Exception as error:
        tally.check(f"{name} is read by nibabel", False, repr(error))
        return
    count = sum(int(mask.sum()) for mask in masks.values())
    tally.check(f"{name} has the voxels of the segmentation", len(voxels) == count, f"{len(voxels)}, not {count}")
    gaps = numpy.diff(sorted(known[key].along() for key in listed_slices if key in known))
    if not masks or len(voxels) != count or len(gaps) == 0 or numpy.ptp(gaps) > EVEN_MM:
        return  # one affine cannot place slices at uneven steps
    places = numpy.concatenate([known[key].at(numpy.argwhere(mask)) for key, mask in masks.items()])
    theirs = nibabel.affines.apply_affine(image.affine, voxels) * [-1, -1, 1]  # RAS to LPS
    off = numpy.abs(numpy.sort(places, axis=0) - numpy.sort(theirs, axis=0)).max()
    tally.check(f"{name} lies where the segmentation lies", off <= 0.1, f"{off:.3f} mm off")


def check_overlay(tally, path, name):
    try:
        with Image.open(path) as image:
            shades = image.convert("L").getextrema()
        tally.check(f"{name} shows something", shades[1] > shades[0])
    except OSError as error:
        tally.check(f"{name} is an image", False, str(error))


def check_series(tally, folder, sources):
    name = f"...{folder.name[-8:]}/"
    result = json.loads((folder / "result.json").read_text())
    known = sources.get(result["series_uid"], {})
    if not tally.check(f"{name} series is in the source", known):
        return
    inherited = complaints(next(iter(known.values())).image.filename)
    for path in sorted(folder.glob("*.dcm")):
        check_validity(tally, path, inherited, name + path.name)
    order = [key for key, _ in listed(result)]
    for stem, volume in VOLUMES.items():
        masks = {}
        if (folder / f"{stem}.dcm").exists():
            masks = read_segmentation(tally, folder / f"{stem}.dcm", known, f"{name}{stem}.dcm")
            if masks is None:
                continue
        if stem == "segmentation":
            check_counts(tally, masks, result, f"{name}{stem}.dcm")
        if (folder / volume).exists():
            check_volume(tally, folder / volume, masks, known, order, name + volume)
    if (folder / "overlay.png").exists():
        check_overlay(tally, folder / "overlay.png", f"{name}overlay.png")


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: conformance.py TREE SOURCE...")
    warnings.filterwarnings("ignore")  # about values that the source images hold
    tally, sources = Tally(), read_source(sys.argv[2:])
    folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/*/result.json"))
    tally.check(f"{sys.argv[1]} holds results", folders)
    for folder in folders:
        check_series(tally, folder, sources)
    print(f"{tally.passed} passed, {tally.failed} failed")
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
