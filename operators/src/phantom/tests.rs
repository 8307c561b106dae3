//! What studies hold, and how like patients they are.

use std::collections::BTreeSet;

use super::*;

const SMALL: PhantomConfig = PhantomConfig { seed: 3, slices: Some(6), matrix: 128, positive_share: 1.0 };

/// Names all that a study shows: stored values, masks, planes.
fn digest(study: &PhantomStudy) -> String {
    let mut name = Digest::builder("study").bytes(study.study.as_str().as_bytes());
    for slice in &study.slices {
        let record = slice.record();
        name = name.digest(&record.digest).bytes(&slice.truth).number(record.along_um);
    }
    name.finish().to_string()
}

fn with_threads(threads: usize) -> String {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| digest(&study(&SMALL, 0)))
}

/// HU of the voxels for which `keep` holds of the parts there, at plane `height` of the head.
fn hu_where(anatomy: &Anatomy, height: f32, keep: impl Fn(&part::Parts) -> bool) -> Vec<f32> {
    let mut found = Vec::new();
    for y in -90_i16..90 {
        for x in -75_i16..75 {
            let h = [f32::from(x), f32::from(y), height];
            let parts = anatomy.at(h, h);
            if keep(&parts) {
                found.push(tissue::shown(&parts, &anatomy.hu, anatomy.sulcus_mm, 0.5).hu);
            }
        }
    }
    found
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

#[test]
fn a_study_is_the_same_with_any_number_of_threads_and_everywhere() {
    let one = with_threads(1);
    assert_eq!(one, with_threads(2));
    assert_eq!(one, "bee893dc48134c4a7c65b69853ba1321b8820b9886f8f92cdf9e7576280eff80");
}

#[test]
fn identifiers_are_unique_and_follow_from_the_seed() {
    let negative = PhantomConfig { matrix: 32, slices: Some(4), positive_share: 0.0, ..SMALL };
    let mut seen = BTreeSet::new();
    for seed in [1, 2] {
        for index in 0..3 {
            let study = study(&PhantomConfig { seed, ..negative }, index);
            assert_eq!(study.slices.len(), 4);
            assert!(seen.insert(study.study.to_string()) && seen.insert(study.series.to_string()));
            assert!(study.slices.iter().all(|slice| seen.insert(slice.instance.to_string())));
        }
    }
}

#[test]
fn a_negative_study_shows_nothing_and_is_the_positive_one_otherwise() {
    let [with, without] = [1.0, 0.0].map(|positive_share| study(&PhantomConfig { positive_share, ..SMALL }, 0));
    assert!(without.slices.iter().all(|slice| slice.labels() == SliceLabels::of([false; 5])));
    assert!(without.truth.volumes_ml.iter().all(|ml| *ml == 0.0));
    assert!(with.slices.iter().any(|slice| slice.labels().any), "a bleed lies within the slices");
    assert_eq!(with.patient, without.patient);
    assert!(
        with.slices
            .iter()
            .zip(&without.slices)
            .all(|(a, b)| a.geometry == b.geometry && a.plane.rescale == b.plane.rescale)
    );
}

#[test]
fn a_twin_is_the_same_head_without_a_bleed() {
    let [bled, healthy] = [1.0, 0.0].map(|positive_share| study(&PhantomConfig { positive_share, ..SMALL }, 0));
    let twin = twin(&SMALL, 0);
    assert_eq!((&twin.patient, twin.truth), (&bled.patient, Truth::default()));
    assert!(twin.study != bled.study && twin.series != bled.series);
    assert_eq!(twin.slices.len(), healthy.slices.len());
    for ((twin, healthy), bled) in twin.slices.iter().zip(&healthy.slices).zip(&bled.slices) {
        assert_ne!(twin.instance, bled.instance);
        assert!(twin.geometry == healthy.geometry && twin.plane == healthy.plane && twin.truth == healthy.truth);
    }
    assert!(twin.slices.iter().zip(&bled.slices).any(|(twin, bled)| twin.plane != bled.plane));
}

#[test]
fn volumes_agree_with_masks_within_partial_volume() {
    let config = PhantomConfig { seed: 12, slices: None, matrix: 160, positive_share: 1.0 };
    for index in [1, 10] {
        let study = study(&config, index);
        let marked: f64 = study
            .slices
            .iter()
            .map(|slice| {
                let voxels = slice.truth.iter().filter(|value| **value != 0).count() as f64;
                voxels * slice.geometry.pixel_area_mm2() * slice.geometry.thickness_mm().unwrap_or(0.0) / 1000.0
            })
            .sum();
        let exact: f64 = study.truth.volumes_ml.iter().sum();
        assert!(exact > 1.0 && (marked / exact - 1.0).abs() < 0.1, "study {index}: {marked} mL of {exact} mL");
    }
}

/// How far two cumulative distributions are apart: of draws, and of a table of quartiles between which it is linear in
/// the logarithm.
fn kolmogorov(draws: &mut [f64], quartiles: [f64; 3]) -> f64 {
    draws.sort_by(f64::total_cmp);
    let [low, middle, high] = quartiles.map(f64::ln);
    let below = |value: f64| {
        let x = value.ln();
        let part = if x < middle {
            0.5 + 0.25 * (x - middle) / (middle - low)
        } else {
            0.5 + 0.25 * (x - middle) / (high - middle)
        };
        part.clamp(0.0, 1.0)
    };
    // Beyond the quartiles the table says little: only what lies between them is compared.
    let count = draws.len() as f64;
    let between = draws.iter().enumerate().filter(|(_, value)| (low..high).contains(&value.ln()));
    between.map(|(rank, value)| ((rank as f64 + 0.5) / count - below(*value)).abs()).fold(0.0, f64::max)
}

#[test]
fn bleeds_are_as_large_and_as_bright_as_in_patients() {
    /// Volume of a subtype in a scan that has it, mL: quartiles; HU of its lesions: mean and deviation. From 192
    /// scans of BHSD, tabulated in CC0 data of github.com/DIDSR/framework-for-synthetic-ICH-to-assess-AI-generalizability.
    const TABLE: [([f64; 3], [f64; 2]); 5] = [
        ([2.2, 5.07, 15.9], [56.0, 9.5]),
        ([2.3, 9.33, 31.7], [47.5, 8.6]),
        ([0.6, 2.27, 8.4], [39.9, 8.9]),
        ([0.9, 1.95, 9.7], [43.9, 7.9]),
        ([2.3, 6.01, 23.4], [50.3, 12.5]),
    ];
    let config = PhantomConfig { seed: 500, slices: None, matrix: 128, positive_share: 1.0 };
    let mut volumes: [Vec<f64>; 5] = Default::default();
    let mut medians: [Vec<f64>; 5] = Default::default();
    for index in 0..72 {
        let study = study(&config, index);
        for subtype in Subtype::ALL {
            let slot = subtype.index();
            let marked = |slice: &PhantomSlice| {
                let hu = slice.plane.hu();
                let inside = slice.truth.iter().zip(hu).filter(|(value, _)| **value == subtype.value());
                inside.map(|(_, hu)| f64::from(hu)).collect::<Vec<_>>()
            };
            let mut hu: Vec<f64> = study.slices.iter().flat_map(marked).collect();
            hu.sort_by(f64::total_cmp);
            if study.truth.volumes_ml[slot] > 0.0 {
                volumes[slot].push(study.truth.volumes_ml[slot]);
            }
            if hu.len() > 20 {
                // Not the mean: pixels of this size mix bone into what lies on it.
                medians[slot].push(hu[hu.len() / 2]);
            }
        }
    }
    // 13 to 39 scans a subtype: chance alone moves a distance by up to 0.2.
    for (subtype, (quartiles, [mean, sd])) in Subtype::ALL.into_iter().zip(TABLE) {
        let (volumes, medians) = (&mut volumes[subtype.index()], &mut medians[subtype.index()]);
        let apart = kolmogorov(volumes, quartiles);
        let median = |values: &[f64]| values[values.len() / 2];
        medians.sort_by(f64::total_cmp);
        let said = format!(
            "{}: {} scans, {:.2} mL, {:.1} HU, distance {apart:.2}",
            subtype.word(),
            volumes.len(),
            median(volumes),
            median(medians)
        );
        assert!((quartiles[0]..quartiles[2]).contains(&median(volumes)) && apart <= 0.3, "{said}");
        assert!((median(medians) - mean).abs() < 0.674 * sd, "{said}");
    }
}

#[test]
fn planes_step_along_the_normal_and_all_forms_give_hu() {
    for index in 0..6 {
        let study = study(&PhantomConfig { matrix: 32, slices: Some(3), positive_share: 0.0, ..SMALL }, index);
        for (below, above) in study.slices.iter().zip(study.slices.iter().skip(1)) {
            assert!(above.geometry.along_um() > below.geometry.along_um() && above.geometry.alike(&below.geometry));
        }
        let slice = &study.slices[1];
        let hu = slice.plane.hu();
        let bone = hu.iter().max().expect("pixels");
        assert!(*bone > 300 && hu.iter().all(|hu| *hu >= -1024 || slice.padding == Some(*hu)), "study {index}");
    }
    let forms: Vec<Form> = (0..60).map(|index| Protocol::new(3, index, 32, None).form).collect();
    for form in [Form::Signed, Form::SignedPadded, Form::Unsigned, Form::SignedOffset] {
        assert!(forms.contains(&form), "{form:?}");
    }
}

#[test]
fn tissues_have_their_hu() {
    let anatomy = Anatomy::new(4, 0);
    let deep =
        |parts: &part::Parts| parts[part::BRAIN] < -2.0 && parts[part::INFARCT] > 5.0 && parts[part::CALCIUM] > 3.0;
    let fluid = hu_where(&anatomy, 16.0, |parts| parts[part::VENTRICLE] < -1.5 && parts[part::CALCIUM] > 3.0);
    let white =
        hu_where(&anatomy, 45.0, |parts| deep(parts) && parts[part::BRAIN] < -28.0 && parts[part::MIDLINE].abs() > 8.0);
    let skull = hu_where(&anatomy, 30.0, |parts| (1.8..2.0).contains(&parts[part::CAVITY]) && parts[part::SKULL] > 4.0);
    let air = hu_where(&anatomy, 30.0, |parts| parts[part::HEAD] > 1.0);
    assert!(!fluid.is_empty() && (3.0..15.0).contains(&mean(&fluid)), "fluid {}", mean(&fluid));
    assert!(!white.is_empty() && (20.0..31.0).contains(&mean(&white)), "white matter {}", mean(&white));
    assert!(!skull.is_empty() && (400.0..1500.0).contains(&mean(&skull)), "skull {}", mean(&skull));
    assert!(!air.is_empty() && (mean(&air) + 1000.0).abs() < 1.0, "air {}", mean(&air));
}

#[test]
fn noise_has_the_deviation_and_correlation_of_a_scanner() {
    // The same plane twice, with different noise: half of the difference's variance is the noise's.
    let anatomy = Anatomy::new(4, 0);
    let protocol = Protocol::new(4, 0, 512, Some(1));
    let image = |name: &str| protocol.scan(&anatomy, &Bleeds::default(), [30.0, 5.0], &mut Stream::new(4, 0, name)).hu;
    let (a, b) = (image("first"), image("second"));
    let difference = |row: usize, column: usize| f64::from(a[row * 512 + column]) - f64::from(b[row * 512 + column]);
    let (mut square, mut next, mut count) = (0.0, 0.0, 0.0);
    for row in 200..300 {
        for column in 200..300 {
            let here = difference(row, column);
            square += here * here;
            next += here * difference(row, column + 1);
            count += 1.0;
        }
    }
    let sd = (square / count / 2.0).sqrt();
    let correlation = next / square;
    let expected = f64::from(protocol.noise_hu) * 1.18;
    assert!((sd / expected - 1.0).abs() < 0.1, "deviation {sd} HU, expected about {expected}");
    assert!((0.5..0.7).contains(&correlation), "correlation at one pixel {correlation}");
}

#[test]
fn a_data_set_on_disk_agrees_with_its_study() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = study(&SMALL, 0);
    let mut writer = PhantomWriter::create(folder.path(), true).expect("a folder");
    writer.add(&study).expect("written");
    writer.finish().expect("written");
    let table = std::fs::File::open(folder.path().join("labels.csv")).expect("a table");
    let labels = crate::labels::read(table).expect("our own table");
    assert!(study.slices.iter().all(|slice| labels.get(&slice.instance) == Some(&slice.labels())));
    let files = folder.path().join("dicom").join(study.study.as_str());
    assert_eq!(std::fs::read_dir(files).expect("a folder").count(), study.slices.len());
    assert_eq!(mask_volume(&study).expect("a volume"), mask_volume(&study).expect("a volume"));
    let truth = std::fs::read_to_string(folder.path().join("truth.json")).expect("truth");
    assert!(truth.contains(study.study.as_str()) && truth.contains("\"volumes_ml\""));
}

#[test]
fn an_instance_reads_back_as_its_slice() {
    use dicom_dictionary_std::tags;
    let study = study(&SMALL, 0);
    let slice = &study.slices[2];
    let mut bytes = Vec::new();
    dicom_object(&study, slice).expect("an instance").write_all(&mut bytes).expect("a vector takes all");
    let read = ::dicom_object::from_reader(bytes.as_slice()).expect("DICOM");
    let words = read.element(tags::PIXEL_DATA).expect("pixels").value().to_multi_int::<u16>().expect("words");
    let hu: Vec<i16> = words
        .iter()
        .map(|word| match slice.plane.values {
            StoredValues::Signed(_) => i16::from_ne_bytes(word.to_ne_bytes()),
            StoredValues::Unsigned(_) => i16::try_from(*word).expect("12 bits"),
        })
        .map(|stored| stored + slice.plane.rescale.intercept_hu() as i16)
        .collect();
    assert_eq!(hu, slice.plane.hu());
    let position = read.element(tags::IMAGE_POSITION_PATIENT).expect("a position").to_multi_float64().expect("numbers");
    assert!(position.iter().zip(slice.geometry.position_mm()).all(|(a, b)| (a - b).abs() < 1e-9));
}
