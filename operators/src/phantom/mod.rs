//! Phantoms: synthetic head CT with and without bleeds, from nothing but a seed.
//!
//! Procedural: no template, atlas or image is read. A study is a function of (seed, index): the same on every platform
//! and with every number of threads. Masks say which voxels a bleed fills at least to half, and of what kind; volumes
//! are exact below the voxel. Whatever could tell positives from negatives without showing a bleed (calcifications, old
//! infarcts, atrophy, protocol) is drawn from streams of its own.
//!
//! HU and volumes of bleeds follow published tables; the shapes are plausible, not measured: scores on phantoms say how
//! well the machinery works, not how well it does on patients.

#![allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "image arithmetic on bounded numbers"
)]

mod acquire;
mod anatomy;
mod bleed;
mod confounder;
mod field;
mod hardening;
mod note;
mod object;
mod part;
mod shape;
mod stream;
mod tissue;
mod write;

use std::sync::Arc;

use kernels::units::Rescale;

use crate::labels::{SliceLabels, Subtype};
use crate::record::{Digest, Geometry, InstanceUid, Plane, SeriesUid, Slice, StoredValues, StudyUid};

use acquire::{Form, Protocol, Scanned};
use anatomy::Anatomy;
use bleed::Bleeds;
use stream::Stream;

pub use note::rejection_note;
pub use object::{PhantomObjectError, dicom_object};
pub use write::{PhantomWriteError, PhantomWriter, mask_volume};

/// What phantoms to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhantomConfig {
    /// Seed of all studies.
    pub seed: u64,
    /// Slices of each study; `None` for as many as cover the head (about 30).
    pub slices: Option<usize>,
    /// Rows and columns, at least 32.
    pub matrix: usize,
    /// Share of studies with a bleed, 0 to 1.
    pub positive_share: f64,
}

impl Default for PhantomConfig {
    fn default() -> Self {
        Self { seed: 1, slices: None, matrix: 512, positive_share: 0.5 }
    }
}

/// One synthetic study of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct PhantomStudy {
    /// The study.
    pub study: StudyUid,
    /// Its series.
    pub series: SeriesUid,
    /// The seed that it was made from.
    pub seed: u64,
    /// Its number under the seed.
    pub index: u64,
    /// Its slices, upward.
    pub slices: Vec<PhantomSlice>,
    /// What it shows.
    pub truth: Truth,
    /// Who it is said to be of.
    pub patient: PhantomPatient,
    /// Tilt of the gantry, degrees.
    pub tilt_degrees: f32,
}

/// One slice of a phantom.
#[derive(Clone, Debug, PartialEq)]
pub struct PhantomSlice {
    /// The instance.
    pub instance: InstanceUid,
    /// Instance Number, from 1.
    pub number: u32,
    /// The plane.
    pub geometry: Geometry,
    /// Stored values.
    pub plane: Plane,
    /// The stored value of pixels that were not reconstructed, if the image has such.
    pub padding: Option<i16>,
    /// `[rows, columns]`: 0, or the value of the subtype that fills most of a voxel of which bleeds fill half.
    pub truth: Vec<u8>,
}

impl PhantomSlice {
    /// The labels that the mask gives.
    #[must_use]
    pub fn labels(&self) -> SliceLabels {
        SliceLabels::of(Subtype::ALL.map(|subtype| self.truth.contains(&subtype.value())))
    }

    /// The slice as the graph knows slices. Its digest names the stored values.
    #[must_use]
    pub fn record(&self) -> Slice {
        let digest = match &self.plane.values {
            StoredValues::Signed(values) => Digest::of(bytemuck::cast_slice(values)),
            StoredValues::Unsigned(values) => Digest::of(bytemuck::cast_slice(values)),
        };
        Slice::new(self.instance.clone(), 1, digest, self.geometry.clone())
    }
}

/// What a phantom shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Truth {
    /// Volume of each subtype, mL, in the order of [`Subtype::ALL`]: shares of voxels times the slice thickness, summed,
    /// so exact below the voxel; what lies between slices or is seen twice counts as the slices show it.
    pub volumes_ml: [f64; 5],
}

/// The fake patient of a phantom.
#[derive(Clone, Debug, PartialEq)]
pub struct PhantomPatient {
    /// Patient's Name.
    pub name: String,
    /// Patient ID.
    pub id: String,
    /// Patient's Sex: `F` or `M`.
    pub sex: &'static str,
    /// Patient's Age, years.
    pub age_years: u8,
    /// Study Date, `YYYYMMDD`: from the seed, never from a clock.
    pub date: String,
    /// Study Time, `HHMMSS`.
    pub time: String,
}

/// Study `index` of the phantoms that `config` describes.
#[must_use]
pub fn study(config: &PhantomConfig, index: u64) -> PhantomStudy {
    let positive = Stream::new(config.seed, index, "label").chance(config.positive_share as f32);
    made(config, index, positive, ["study", "series", "instance"])
}

/// The twin of study `index`: the same head, patient and scanner, down to the noise, without a bleed. Its UIDs are its own. What
/// tells the two apart is the bleed and nothing else.
#[must_use]
pub fn twin(config: &PhantomConfig, index: u64) -> PhantomStudy {
    made(config, index, false, ["twin study", "twin series", "twin instance"])
}

/// A study with UIDs derived from the names of its entities: study, series, instance.
fn made(config: &PhantomConfig, index: u64, positive: bool, entities: [&str; 3]) -> PhantomStudy {
    let seed = config.seed;
    let matrix = config.matrix.max(32);
    let anatomy = Anatomy::new(seed, index);
    let protocol = Protocol::new(seed, index, matrix, config.slices);
    let covers = |h| protocol.covers(&anatomy, h);
    let bleeds = if positive { Bleeds::new(seed, index, &anatomy, &covers) } else { Bleeds::default() };
    let scanned = acquire::scan(&protocol, &anatomy, &bleeds, seed, index);

    let voxel_ml = |thick: f32| f64::from(protocol.pixel_mm) * f64::from(protocol.pixel_mm) * f64::from(thick) / 1000.0;
    let mut truth = Truth::default();
    for (slice, [_, thick]) in scanned.iter().zip(&protocol.planes) {
        for (volume, share) in truth.volumes_ml.iter_mut().zip(slice.shares) {
            *volume += share * voxel_ml(*thick);
        }
    }
    let count = scanned.len();
    let [study, series, instance] = entities;
    let slices = scanned.into_iter().enumerate().filter_map(|(place, slice)| {
        let instance = InstanceUid::derived(&name(seed, index, instance, place));
        finished(&protocol, instance, count, place, slice)
    });
    PhantomStudy {
        study: StudyUid::derived(&name(seed, index, study, 0)),
        series: SeriesUid::derived(&name(seed, index, series, 0)),
        seed,
        index,
        slices: slices.collect(),
        truth,
        patient: patient(seed, index),
        tilt_degrees: protocol.tilt_degrees,
    }
}

/// A slice in its stored form, with its plane; `None` for a plane that is none, which protocols do not make.
fn finished(p: &Protocol, instance: InstanceUid, count: usize, place: usize, slice: Scanned) -> Option<PhantomSlice> {
    let [height, thick] = *p.planes.get(place)?;
    let pixel = f64::from(p.pixel_mm);
    let [cos, sin] = p.tilt.map(f64::from);
    let side = u32::try_from(p.matrix).ok()?;
    let orientation = [1.0, 0.0, 0.0, 0.0, cos, sin];
    let geometry = Geometry::new(p.first_pixel(height), orientation, [pixel; 2], [side; 2], Some(f64::from(thick)))?;
    let offset = |hu: i16| hu.saturating_add(1024).clamp(0, 4095);
    let padding = (p.form == Form::SignedPadded).then_some(-2000);
    let signed = |values: Vec<i16>| StoredValues::Signed(values.into());
    let (values, intercept_hu) = match p.form {
        Form::Signed => (signed(slice.hu), 0.0),
        Form::SignedPadded => {
            let padded = slice.hu.into_iter().enumerate();
            (signed(padded.map(|(at, hu)| if p.outside_circle(at) { -2000 } else { hu }).collect()), 0.0)
        }
        Form::SignedOffset => (signed(slice.hu.into_iter().map(offset).collect()), -1024.0),
        Form::Unsigned => {
            let values: Arc<[u16]> = slice.hu.into_iter().map(|hu| offset(hu).unsigned_abs()).collect();
            (StoredValues::Unsigned(values), -1024.0)
        }
    };
    let rescale = Rescale::new(1.0, intercept_hu)?;
    let number = if p.downward { count - place } else { place + 1 };
    Some(PhantomSlice {
        instance,
        number: u32::try_from(number).ok()?,
        geometry,
        plane: Plane { rows: p.matrix, columns: p.matrix, values, rescale },
        padding,
        truth: slice.truth,
    })
}

/// What an identifier is derived from.
fn name(seed: u64, index: u64, entity: &str, place: usize) -> Digest {
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    [seed, index, place]
        .into_iter()
        .fold(Digest::builder("phantom").bytes(entity.as_bytes()), |name, number| name.bytes(&number.to_le_bytes()))
        .finish()
}

fn patient(seed: u64, index: u64) -> PhantomPatient {
    let mut stream = Stream::new(seed, index, "patient");
    let name = format!("PHANTOM^{seed}-{index:04}");
    let day = stream.range(1.0, 28.99) as u8;
    let month = stream.range(1.0, 12.99) as u8;
    let minute = stream.range(0.0, 59.99) as u8;
    PhantomPatient {
        id: format!("PHANTOM-{seed}-{index:04}"),
        name,
        sex: if stream.chance(0.5) { "F" } else { "M" },
        age_years: stream.range(20.0, 90.0) as u8,
        date: format!("2000{month:02}{day:02}"),
        time: format!("12{minute:02}00"),
    }
}

#[cfg(test)]
mod tests;
