"""Plants identities in DICOM files, and judges what an export makes of them. See scripts/deidentification."""

import sys
import tempfile
from pathlib import Path

import numpy
import pydicom
from dicomanonymizer import anonymize_dicom_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

WORDS = ["Plantagenet", "PLANTAGENET", "PL-4711-77", "Planted Road 1", "19230504", "031415.926", "1.2.752.99.4711"]

# What is planted at the top, in an item of a sequence, and in an item of an item.
IDENTITIES = {
    "PatientBirthDate": "19230504",
    "PatientAddress": "Planted Road 1",
    "OtherPatientIDs": "PL-4711-77",
    "InstitutionName": "Plantagenet Hospital",
    "InstitutionAddress": "Planted Road 1",
    "OperatorsName": "Plantagenet^Operator",
    "PerformingPhysicianName": "Plantagenet^Physician",
    "StationName": "PLANTAGENET1",
    "DeviceSerialNumber": "PL-4711-77",
    "AcquisitionDateTime": "19230504031415.926",
    "AcquisitionDate": "19230504",
    "SeriesDescription": "Head of Plantagenet",
    "ProtocolName": "Plantagenet protocol",
    "ImageComments": "PL-4711-77 born 19230504",
    "DeviceUID": "1.2.752.99.4711.1",
    "RequestingService": "Plantagenet ward",
    "PatientComments": "Planted Road 1",
    "ReasonForTheRequestedProcedure": "Plantagenet fell",
}


def plant_into(data: Dataset) -> None:
    for keyword, value in IDENTITIES.items():
        setattr(data, keyword, value)
    block = data.private_block(0x0029, "PLANTAGENET", create=True)
    block.add_new(0x10, "LO", "PL-4711-77")
    block.add_new(0x11, "PN", "Plantagenet^Private")


def plant(source: Path, target: Path) -> int:
    for number, path in enumerate(sorted(source.rglob("*.dcm"))):
        data = pydicom.dcmread(path)
        data.PatientName = "Plantagenet^Planted"
        data.PatientID = "PL-4711-77"
        plant_into(data)
        inner, outer = Dataset(), Dataset()
        plant_into(inner)
        inner.ReferencedSOPClassUID = data.SOPClassUID
        inner.ReferencedSOPInstanceUID = data.SOPInstanceUID
        plant_into(outer)
        outer.ReferencedSOPClassUID = data.SOPClassUID
        outer.ReferencedSOPInstanceUID = data.SOPInstanceUID
        outer.PurposeOfReferenceCodeSequence = Sequence([inner])
        data.SourceImageSequence = Sequence([outer])
        data.RequestAttributesSequence = Sequence([inner])
        data.file_meta.SourceApplicationEntityTitle = "PLANTAGENET"
        data.preamble = b"Plantagenet".ljust(128, b"\0")
        target.mkdir(parents=True, exist_ok=True)
        data.save_as(target / f"{number:04}.dcm")
    return 0


class Judge:
    def __init__(self) -> None:
        self.passed = self.failed = 0

    def check(self, holds: bool, said: str) -> None:
        self.passed += bool(holds)
        self.failed += not holds
        if not holds:
            print(f"FAILED: {said}")

    def end(self) -> int:
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def images(folder: Path) -> list[tuple[Path, Dataset]]:
    read = [(path, pydicom.dcmread(path)) for path in sorted(folder.rglob("*.dcm"))]
    return sorted(read, key=lambda pair: (pair[1].SOPClassUID, int(pair[1].get("InstanceNumber", 0))))


def value(data: Dataset, tag) -> str | None:
    return str(data[tag].value) if tag in data else None


def judge(source: Path, export: Path) -> int:
    said = Judge()
    before = images(source)
    named = {str(data.get(key)) for _, data in before for key in ("PatientName", "PatientID", "AccessionNumber")}
    uids = {str(data[key].value) for _, data in before for key in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")}
    words = [word.encode() for word in {*WORDS, *named, *uids} if len(word) > 4]
    files = [path for path in export.rglob("*") if path.is_file()]
    said.check(bool(files), "nothing was exported")
    for path in files:
        content = path.read_bytes() + str(path.relative_to(export)).encode()
        for word in words:
            said.check(word not in content, f"{path} holds {word!r}")
    after = [pair for pair in images(export) if pair[1].SOPClassUID == before[0][1].SOPClassUID]
    said.check(len(after) == len(before), f"{len(before)} images went in, {len(after)} came out")
    renamed = {old.SOPInstanceUID: new.SOPInstanceUID for (_, old), (_, new) in zip(before, after)}
    for (old_path, old), (_, new) in zip(before, after):
        said.check(numpy.array_equal(old.pixel_array, new.pixel_array), "pixels changed")
        for kept in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleIntercept", "Rows", "Columns", "ConvolutionKernel", "KVP", "SOPClassUID", "Modality"):
            said.check(old.get(kept) == new.get(kept), f"{kept} changed")
        said.check(new.get("PatientIdentityRemoved") == "YES", "it does not say that the identity was removed")
        codes = [code.CodeValue for code in new.get("DeidentificationMethodCodeSequence", [])]
        said.check(codes == ["113100"], f"the method is {codes}")
        said.check(new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID, "the file is named otherwise")
        for reference in new.get("SourceImageSequence", []):
            now = reference.ReferencedSOPInstanceUID
            said.check(now == renamed[old.SOPInstanceUID], "a reference points elsewhere")
        said.check(not any(element.tag.is_private for element in new.iterall()), "a private attribute is left")
        # Whatever the other implementation removes or changes must be removed or changed here.
        with tempfile.TemporaryDirectory() as folder:
            other_path = Path(folder) / "other.dcm"
            anonymize_dicom_file(str(old_path), str(other_path))
            other = pydicom.dcmread(other_path)
        for element in old:
            if element.VR == "SQ" or value(other, element.tag) == str(element.value):
                continue
            left = value(new, element.tag)
            said.check(left != str(element.value) or not left, f"{element.keyword or element.tag} is left")
    for counted in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        count = lambda pairs: len({data[counted].value for _, data in pairs})
        said.check(count(before) == count(after), f"{count(before)} {counted} became {count(after)}")
    results = [data for _, data in images(export) if data.SOPClassUID != before[0][1].SOPClassUID]
    for data in results:
        series = [entry.SeriesInstanceUID for entry in data.get("ReferencedSeriesSequence", [])]
        said.check(all(uid in {new.SeriesInstanceUID for _, new in after} for uid in series) and bool(series), "a result refers elsewhere")
        said.check(data.PatientID == after[0][1].PatientID, "a result is of another patient")
    print(f"{len(before)} images, {len(results)} results, {len(words)} words")
    return said.end()


if __name__ == "__main__":
    command, first, second = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if command not in ("plant", "judge"):
        sys.exit("deidentification: plant or judge")
    sys.exit(plant(first, second) if command == "plant" else judge(first, second))
