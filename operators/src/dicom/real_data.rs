//! Tests on real files. They need the folder of test data: `HEMOFLOW_DATA`, or `shared/data` beside an ancestor of this
//! crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use proptest::prelude::*;

use super::{Instance, attribute};
use crate::decode::decode;
use crate::dicom::{dicomdir, read};
use crate::intake::{self, Arrival, Item};
use crate::record::{Digest, Geometry, Reason, Rejection};
use crate::selection::Rules;

/// A folder of the test data, or `None` with a line that says that `test` was skipped.
fn data(test: &str, folder: &str) -> Option<PathBuf> {
    let given = std::env::var_os("HEMOFLOW_DATA").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("shared/data"));
    let root = given.or_else(|| beside().find(|folder| folder.is_dir()));
    let found = root.map(|root| root.join(folder)).filter(|folder| folder.is_dir());
    if found.is_none() {
        writeln_skipped(test);
    }
    found
}

#[allow(clippy::print_stdout, reason = "a skipped test says so")]
fn writeln_skipped(test: &str) {
    println!("skipped: {test}: no test data");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let items = intake::items(&[folder.to_path_buf()]).into_iter();
    let file = |item| if let Item::File(path) = item { Some(path) } else { None };
    items.filter_map(file).filter(|path| path.extension().is_none_or(|kind| kind != "md" && kind != "json")).collect()
}

fn instance(path: &Path) -> Instance {
    read::read_file(path).unwrap_or_else(|rejection| panic!("{rejection:?}"))
}

fn hu(instance: &Instance, frame: usize) -> Vec<i16> {
    decode(&instance.frames[frame].pixels).unwrap_or_else(|rejection| panic!("{rejection:?}")).hu()
}

fn sha256(hu: &[i16]) -> String {
    Digest::of(&hu.iter().flat_map(|hu| hu.to_le_bytes()).collect::<Vec<u8>>()).to_string()
}

#[test]
fn every_transfer_syntax_decodes_to_the_expected_hu() {
    let Some(folder) = data("every_transfer_syntax", "dicom/transfer_syntaxes") else { return };
    let expected = fs::read(folder.join("expected.json")).expect("expected.json");
    let expected: Vec<serde_json::Value> = serde_json::from_slice(&expected).expect("a list");
    let original = |name: &str| {
        let path = if name == "ge_signed16" {
            "ge_head_tilt_irregular/18.dcm"
        } else {
            "philips_phantom_study/S21570/S2010/I130"
        };
        hu(&instance(&folder.join("..").join(path)), 0)
    };
    let originals: BTreeMap<&str, Vec<i16>> =
        ["ge_signed16", "philips_unsigned12"].map(|name| (name, original(name))).into();
    assert_eq!(expected.len(), 23);
    for entry in &expected {
        let file = entry["file"].as_str().expect("a name");
        let hu = hu(&instance(&folder.join(file)), 0);
        if entry["lossless"].as_bool().expect("a fact") {
            assert_eq!(sha256(&hu), entry["sha256_hu_int16_le"].as_str().expect("a hash"), "{file}");
        } else {
            let original = &originals[entry["reference"].as_str().expect("a name")];
            let worst = hu.iter().zip(original).map(|(a, b)| a.abs_diff(*b)).max().expect("pixels");
            // Another decoder rounds the inverse transform otherwise: by 1 at most.
            let limit = entry["max_abs_diff_hu_vs_reference"].as_f64().expect("a limit") + 1.0;
            assert!(f64::from(worst) <= limit, "{file}: {worst} HU off, {limit} allowed");
        }
    }
}

#[test]
fn native_encodings_of_a_slice_have_one_digest_and_other_encodings_others() {
    let Some(folder) = data("native_encodings", "dicom/transfer_syntaxes") else { return };
    let named = |name: &str| {
        let mut digests: Vec<Digest> = Vec::new();
        for path in files(&folder).iter().filter(|path| path.display().to_string().contains(name)) {
            digests.extend(instance(path).frames.iter().map(|frame| frame.slice.digest));
        }
        digests
    };
    for scanner in ["ge_signed16", "philips_unsigned12"] {
        let native: BTreeSet<Digest> = ["__deflated", "__explicit_be", "__implicit_le"]
            .into_iter()
            .flat_map(|syntax| named(&format!("{scanner}{syntax}")))
            .collect();
        assert_eq!(native.len(), 1, "{scanner}");
        // Three are native, and two hold one JPEG codestream, in one fragment and in several.
        let all = named(scanner);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len() - 3, "{scanner}");
    }
}

/// What each odd file comes to: the word of its rejection, or the range of its HU.
const ODD: [(&str, Result<[i16; 2], Reason>); 29] = [
    ("CT_small.dcm", Ok([-896, 1167])),
    ("ExplVR_BigEndNoMeta.dcm", Err(Reason::NotCt)),
    ("ExplVR_LitEndNoMeta.dcm", Err(Reason::NotCt)),
    ("JPEGLSNearLossless_16.dcm", Err(Reason::NotCt)),
    ("MR_small.dcm", Err(Reason::NotCt)),
    ("MR_small_RLE.dcm", Err(Reason::NotCt)),
    ("MR_small_bigendian.dcm", Err(Reason::NotCt)),
    ("MR_small_implicit.dcm", Err(Reason::NotCt)),
    ("MR_small_jp2klossless.dcm", Err(Reason::NotCt)),
    ("MR_small_jpeg_ls_lossless.dcm", Err(Reason::NotCt)),
    ("MR_small_padded.dcm", Err(Reason::NotCt)),
    ("MR_truncated.dcm", Err(Reason::Truncated)),
    ("SC_rgb_small_odd.dcm", Err(Reason::NotCt)),
    ("UN_sequence.dcm", Err(Reason::MissingPixels)),
    ("dicomdir_tiny/77654033/CR1/6154", Err(Reason::NotCt)),
    ("dicomdir_tiny/77654033/CR2/6247", Err(Reason::NotCt)),
    ("dicomdir_tiny/77654033/CR3/6278", Err(Reason::NotCt)),
    ("dicomdir_tiny/77654033/CT2/17106", Ok([-981, 77])),
    ("dicomdir_tiny/77654033/CT2/17136", Ok([77, 1360])),
    ("dicomdir_tiny/77654033/CT2/17166", Ok([991, 1489])),
    ("dicomdir_tiny/77654033/CT2/17196", Ok([498, 1399])),
    ("head_hitachi_tilt-22_j2k_pixelrep_mismatch_scrubbed.dcm", Ok([-2000, 1896])),
    ("image_dfl.dcm", Err(Reason::NotCt)),
    ("meta_missing_tsyntax.dcm", Err(Reason::NotCt)),
    ("nested_priv_SQ.dcm", Err(Reason::NotCt)),
    ("no_meta.dcm", Err(Reason::NotDicom)),
    ("priv_SQ.dcm", Err(Reason::NotCt)),
    ("reportsi.dcm", Err(Reason::NotCt)),
    ("rtplan_truncated.dcm", Err(Reason::Truncated)),
];

#[test]
fn each_odd_file_is_read_or_refused_by_name() {
    let Some(folder) = data("each_odd_file", "dicom/odd_headers") else { return };
    let found = files(&folder);
    assert_eq!(found, ODD.map(|(name, _)| folder.join(name)));
    let mut wrong = Vec::new();
    for (path, (name, expected)) in found.iter().zip(ODD) {
        let outcome = read::read_file(path).map(|instance| {
            let hu = hu(&instance, 0);
            [hu.iter().min().copied().unwrap_or(0), hu.iter().max().copied().unwrap_or(0)]
        });
        if let Err(rejection) = &outcome {
            assert_eq!(rejection.input, path.display().to_string());
            assert!(!rejection.detail.is_empty() && !rejection.detail.contains('\n'), "{rejection:?}");
        }
        if outcome.as_ref().map_err(|rejection| rejection.reason) != expected.as_ref().map_err(|reason| *reason) {
            wrong.push(format!("{name}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn steps_um(geometries: &mut [Geometry]) -> Vec<i64> {
    geometries.sort_by_key(Geometry::along_um);
    geometries.windows(2).map(|pair| pair[1].along_um() - pair[0].along_um()).collect()
}

#[test]
fn a_tilted_series_lies_4_and_7_mm_apart_along_its_normal() {
    let Some(folder) = data("a_tilted_series", "dicom/ge_head_tilt_irregular") else { return };
    let instances: Vec<Instance> = files(&folder).iter().map(|path| instance(path)).collect();
    assert_eq!(instances.len(), 28);
    assert_eq!(instances.iter().map(|instance| &instance.key).collect::<BTreeSet<_>>().len(), 1);
    let mut geometries: Vec<Geometry> =
        instances.iter().map(|instance| instance.frames[0].slice.geometry.clone()).collect();
    let steps = steps_um(&mut geometries);
    assert!(steps[..13].iter().all(|step| (step - 4000).abs() <= 5), "{steps:?}");
    assert!((1000..1200).contains(&steps[13]), "the blocks overlap: {steps:?}");
    assert!(steps[14..].iter().all(|step| (step - 7000).abs() <= 5), "{steps:?}");
    let thickness: Vec<_> = geometries.iter().map(Geometry::thickness_mm).collect();
    assert!(thickness[..14].iter().all(|mm| *mm == Some(4.0)) && thickness[14..].iter().all(|mm| *mm == Some(7.0)));
}

#[test]
fn tilt_is_in_the_orientation_and_a_missing_thickness_stays_missing() {
    let Some(folder) = data("tilt_is_in_the_orientation", "dicom/geometry_headers_scrubbed_pixels") else { return };
    let geometries = |name: &str| {
        let paths = files(&folder.join(name));
        paths.iter().map(|path| instance(path).frames[0].slice.geometry.clone()).collect::<Vec<_>>()
    };
    let mut gap = geometries("missing_slice_no_thickness");
    let steps = steps_um(&mut gap);
    let near = |(step, expected): (&i64, i64)| (step - expected).abs() <= 1;
    assert!(steps.iter().zip([5000, 5000, 10_000]).all(near), "one slice is missing: {steps:?}");
    assert!(gap.iter().all(|geometry| geometry.thickness_mm().is_none()));
    let mut tilted = geometries("tilt_only_in_orientation");
    let cosine = tilted[0].normal()[2];
    assert!((cosine.acos().to_degrees() - 14.0).abs() < 0.1);
    assert!(steps_um(&mut tilted).iter().all(|step| (*step as f64 - 5000.0 * cosine).abs() <= 2.0));
}

#[test]
fn frames_equal_the_single_slices_that_they_were_made_from() {
    let Some(folder) = data("frames_equal_the_single_slices", "dicom/enhanced_multiframe") else { return };
    let singles: BTreeMap<Geometry, PathBuf> = files(&folder.join("../ge_head_tilt_irregular"))
        .into_iter()
        .map(|path| (instance(&path).frames[0].slice.geometry.clone(), path))
        .collect();
    for (name, frames) in [("3frames_explicit_le", 3), ("10frames_j2k_lossless", 10)] {
        let multiframe = instance(&folder.join(format!("legacy_converted_ge_{name}.dcm")));
        assert_eq!(multiframe.frames.len(), frames);
        let digests: BTreeSet<Digest> = multiframe.frames.iter().map(|frame| frame.slice.digest).collect();
        assert_eq!(digests.len(), frames, "each frame has its own name");
        for (index, frame) in multiframe.frames.iter().enumerate() {
            let single = singles.get(&frame.slice.geometry).expect("its source");
            assert_eq!(hu(&multiframe, index), hu(&instance(single), 0), "{name}, frame {}", frame.slice.frame);
        }
    }
    let map = read::read_file(&folder.join("eCT_Supplemental.dcm")).expect_err("a perfusion map");
    assert_eq!(map.reason, Reason::Derived);
    assert_eq!(map.detail, "ImageType (0008,0008) is DERIVED\\PRIMARY\\PERFUSION\\RCBF");
}

#[test]
fn a_header_tells_of_lossy_compression_and_of_frames() {
    let Some(folder) = data("a_header_tells", "dicom") else { return };
    let stated = |path: &str, tag| {
        let instance = instance(&folder.join(path));
        let header = instance.frames[0].pixels.header.clone().expect("a header");
        attribute::text(&header.attributes, tag)
    };
    let lossy = "transfer_syntaxes/philips_unsigned12__j2k_lossy_1.2.4.91.dcm";
    assert_eq!(stated(lossy, tags::LOSSY_IMAGE_COMPRESSION).as_deref(), Some("01"));
    assert_eq!(stated("ge_head_tilt_irregular/01.dcm", tags::LOSSY_IMAGE_COMPRESSION), None);
    let frames = "enhanced_multiframe/legacy_converted_ge_3frames_explicit_le.dcm";
    assert_eq!(stated(frames, tags::NUMBER_OF_FRAMES).as_deref(), Some("3"));
}

#[test]
fn of_a_mixed_study_the_soft_axial_series_is_chosen() {
    let Some(folder) = data("of_a_mixed_study", "dicom/philips_phantom_study") else { return };
    let mut arrivals = Vec::new();
    let mut refused: BTreeMap<Reason, usize> = BTreeMap::new();
    for path in files(&folder) {
        match intake::read(&path) {
            Ok(instances) => {
                let input = path.display().to_string();
                arrivals.extend(instances.into_iter().map(|instance| Arrival { input: input.clone(), instance }));
            }
            Err(rejection) => *refused.entry(rejection.reason).or_default() += 1,
        }
    }
    assert_eq!(refused, BTreeMap::from([(Reason::Localizer, 1), (Reason::Derived, 2)]));
    let (kept, sharp) = intake::select(arrivals, &Rules::default());
    assert!(kept.iter().all(|arrival| arrival.input.contains("S2010")) && kept.len() == 8);
    assert!(sharp.iter().all(|rejection| rejection.reason == Reason::SharpKernel && rejection.input.contains("S2030")));
    assert_eq!(sharp.len(), 3);
}

#[test]
fn a_media_directory_gives_its_files_and_names_the_missing_ones() {
    let Some(folder) = data("a_media_directory", "dicom") else { return };
    let listed = |path: &str| {
        let (there, missing): (Vec<_>, Vec<_>) =
            dicomdir::files(&folder.join(path)).into_iter().partition(Result::is_ok);
        let missing: Vec<Rejection> = missing.into_iter().filter_map(Result::err).collect();
        assert!(missing.iter().all(|rejection| rejection.reason == Reason::Unreadable), "{missing:?}");
        (there.len(), missing.len())
    };
    assert_eq!(listed("odd_headers/dicomdir_tiny/DICOMDIR"), (7, 24));
    // The study's second folder, one series of it, and most images are not there.
    let (there, missing) = listed("philips_phantom_study/DICOMDIR");
    assert!(there == 14 && missing > 100, "{there} there, {missing} missing");
    let items = intake::items(&[folder.join("odd_headers/dicomdir_tiny/DICOMDIR")]);
    assert_eq!(items.iter().filter(|item| matches!(item, Item::File(_))).count(), 7);
}

#[test]
fn slices_with_a_bleed_that_were_compressed_on_the_way_are_admitted() {
    let Some(folder) = data("slices_with_a_bleed", "ich/ct_ich_v1/dicom_rle") else { return };
    let paths = files(&folder);
    assert_eq!(paths.len(), 19);
    for path in paths {
        let hu = hu(&instance(&path), 0);
        assert_eq!((hu.iter().min(), hu.iter().max()), (Some(&-1000), Some(&800)), "{}", path.display());
    }
}

/// Reads and decodes what it can; a broken file may do anything but break the reader.
fn outcome(bytes: &[u8]) -> Result<usize, Reason> {
    let instance = read::read_bytes("broken", bytes).map_err(|rejection| rejection.reason)?;
    let decoded = instance.frames.iter().map(|frame| decode(&frame.pixels));
    decoded.map(|plane| plane.map(|plane| plane.stored().len()).map_err(|rejection| rejection.reason)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_file_cut_short_is_refused(cut in 0_usize..3810) {
        let Some(folder) = data("a_file_cut_short", "dicom/odd_headers/dicomdir_tiny/77654033/CT2") else { return Ok(()) };
        let bytes = fs::read(folder.join("17106")).expect("a file");
        prop_assert_eq!(outcome(&bytes), Ok(256));
        let cut = cut.min(bytes.len() - 1);
        let reason = outcome(&bytes[..cut]).expect_err("not all of it is there");
        let told = [Reason::Truncated, Reason::NotDicom, Reason::MissingPixels, Reason::NotCt, Reason::Malformed];
        prop_assert!(told.contains(&reason), "cut at {}: {}", cut, reason);
    }

    #[test]
    fn a_file_with_a_wrong_byte_is_read_or_refused(at in 0_usize..3810, byte: u8) {
        let Some(folder) = data("a_file_with_a_wrong_byte", "dicom/odd_headers/dicomdir_tiny/77654033/CT2") else {
            return Ok(());
        };
        let mut bytes = fs::read(folder.join("17106")).expect("a file");
        let len = bytes.len();
        bytes[at % len] = byte;
        if let Ok(pixels) = outcome(&bytes) {
            prop_assert!(pixels > 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_codestream_with_a_wrong_byte_is_decoded_or_refused(
        syntax in prop::sample::select(vec!["rle_1.2.5", "jpeg_lossless_sv1_1.2.4.70", "jpeg_extended12_1.2.4.51", "jpegls_lossless_1.2.4.80", "j2k_lossless_1.2.4.90"]),
        from_end in 0_usize..60_000, byte: u8,
    ) {
        let Some(folder) = data("a_codestream_with_a_wrong_byte", "dicom/transfer_syntaxes") else { return Ok(()) };
        let mut bytes = fs::read(folder.join(format!("ge_signed16__{syntax}.dcm"))).expect("a file");
        let at = bytes.len() - 1 - from_end;
        bytes[at] = byte;
        if let Ok(pixels) = outcome(&bytes) {
            prop_assert_eq!(pixels, 512 * 512);
        }
    }
}
