//! A case: the images of one series, with the labels and the mask that are known of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dicom_dictionary_std::tags;
use kernels::units::Rescale;

use super::{DataSet, LayoutError};
use crate::decode::decode;
use crate::dicom::{Frame, Instance, Pixels, Source};
use crate::intake;
use crate::labels::{Labels, SliceLabels, Subtype};
use crate::nifti;
use crate::record::{Digest, Plane, Reason, Rejection, SeriesKey, Slice, StoredValues};

/// One series of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Whose it is: what is split is split by patients.
    pub patient: String,
    /// The series, or the file: what a rejection calls it.
    pub name: String,
    pub(super) images: Images,
    pub(super) known: Known,
    pub(super) mask: Option<MaskFile>,
}

/// Where the images of a case are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Images {
    /// DICOM instances.
    Files {
        key: SeriesKey,
        slices: Vec<(Slice, PathBuf)>,
        /// Whether values may be wrapped, as some of RSNA 2019 are.
        wrapped: bool,
    },
    /// A NIfTI volume.
    Volume(PathBuf),
}

/// What says which slices show a hemorrhage.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    Nothing,
    /// A table, by instance.
    Table(Arc<Labels>),
    /// By the place of a slice in the stored volume.
    Stored(Vec<SliceLabels>),
    /// The mask: a slice with a voxel inside shows one.
    Mask,
}

/// Where the mask of a case is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MaskFile {
    pub(super) path: PathBuf,
    pub(super) form: MaskForm,
}

/// How a mask belongs to its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MaskForm {
    /// Slice by slice in z order, whatever the affine says.
    Ordered,
    /// In place; values are subtypes.
    Subtypes,
    /// In place; whatever is not 0 is inside.
    Binary,
}

/// A slice with what is known of it.
#[derive(Clone, Debug)]
pub struct CaseSlice {
    /// Who and where it is.
    pub slice: Slice,
    /// What it holds.
    pub pixels: Pixels,
    /// What it shows; `None` if nobody says.
    pub labels: Option<SliceLabels>,
    /// `[rows, columns]`: 0, or the value of a subtype; a binary mask says 1. `None` where nobody drew one.
    pub mask: Option<Vec<u8>>,
}

impl CaseSlice {
    /// Its pixels, decoded.
    ///
    /// # Errors
    ///
    /// Returns a [`Rejection`] that names the slice if they do not decode.
    pub fn plane(&self) -> Result<Arc<Plane>, Rejection> {
        decode(&self.pixels).map_err(|rejection| Rejection { input: self.slice.instance.to_string(), ..rejection })
    }
}

/// A case in memory, its slices in z order.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The series.
    pub key: SeriesKey,
    /// Its slices.
    pub slices: Vec<CaseSlice>,
    /// The slices that a table and the mask call otherwise.
    pub conflicts: usize,
    /// The slices that cannot be used.
    pub rejections: Vec<Rejection>,
}

impl Loaded {
    /// The slices as instances: what arrives at a node.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        let mut instances: Vec<Instance> = Vec::new();
        for CaseSlice { slice, pixels, .. } in &self.slices {
            let frame = Frame { slice: slice.clone(), pixels: pixels.clone() };
            match instances.iter_mut().find(|instance| instance.uid == slice.instance) {
                Some(instance) => instance.frames.push(frame),
                None => {
                    let (key, uid) = (self.key.clone(), slice.instance.clone());
                    instances.push(Instance { key, uid, frames: vec![frame] });
                }
            }
        }
        instances
    }
}

impl Case {
    pub(super) fn is_labeled(&self) -> bool {
        match self.known {
            Known::Nothing => false,
            Known::Table(_) | Known::Stored(_) => true,
            Known::Mask => self.mask.is_some(),
        }
    }

    pub(super) fn is_masked(&self) -> bool {
        self.mask.is_some()
    }

    /// Reads images, labels and mask.
    ///
    /// # Errors
    ///
    /// Returns a [`Rejection`] that names the file if the images or the mask cannot be read, or do not fit each other.
    pub fn load(&self) -> Result<Loaded, Rejection> {
        let mut rejections = Vec::new();
        let (key, frames) = match &self.images {
            Images::Files { key, slices, wrapped } => {
                let frames = slices.iter().map(|(slice, path)| frame(slice, path, *wrapped));
                let (mut kept, mut place) = (Vec::new(), 0);
                for frame in frames {
                    match frame {
                        Ok(frame) => kept.push((place, frame)),
                        Err(rejection) => rejections.push(rejection),
                    }
                    place += 1;
                }
                (key.clone(), kept)
            }
            Images::Volume(path) => volume(path)?,
        };
        let masks = self.mask.as_ref().map(|mask| masks(mask, &frames)).transpose()?;
        let mut masks = masks.unwrap_or_else(|| vec![None; frames.len()]);
        let mut loaded = Loaded { key, slices: Vec::with_capacity(frames.len()), conflicts: 0, rejections };
        for ((stored, Frame { slice, pixels }), mask) in frames.into_iter().zip(masks.drain(..)) {
            let labels = self.labels(stored, &slice, mask.as_deref());
            let drawn = mask.as_ref().map(|mask| mask.iter().any(|voxel| *voxel != 0));
            loaded.conflicts += usize::from(labels.zip(drawn).is_some_and(|(labels, drawn)| labels.any != drawn));
            if labels.is_none() && self.is_labeled() {
                let detail = format!("slice of {} without a label", self.name);
                loaded.rejections.push(Rejection::new(slice.instance.to_string(), Reason::MissingLabel, detail));
            } else {
                loaded.slices.push(CaseSlice { slice, pixels, labels, mask });
            }
        }
        Ok(loaded)
    }

    fn labels(&self, stored: usize, slice: &Slice, mask: Option<&[u8]>) -> Option<SliceLabels> {
        match &self.known {
            Known::Nothing => None,
            Known::Table(table) => table.get(&slice.instance).copied(),
            Known::Stored(labels) => labels.get(stored).copied(),
            Known::Mask => mask.map(|mask| {
                let told = self.mask.as_ref().is_some_and(|mask| mask.form == MaskForm::Subtypes);
                let subtypes = Subtype::ALL.map(|subtype| told.then(|| mask.contains(&subtype.value())));
                SliceLabels { any: mask.iter().any(|voxel| *voxel != 0), subtypes }
            }),
        }
    }
}

impl DataSet {
    /// Takes masks from a folder: by the study of a series, or by the name of a volume.
    pub(super) fn give_masks(&mut self, folder: &Path) -> Result<(), LayoutError> {
        if !folder.is_dir() {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no folder of masks");
            return Err(LayoutError::File { path: folder.to_owned(), source });
        }
        for case in &mut self.cases {
            let (path, form) = match &case.images {
                Images::Files { key, .. } => (folder.join(format!("{}.nii.gz", key.study)), MaskForm::Ordered),
                Images::Volume(image) => (folder.join(image.file_name().unwrap_or_default()), MaskForm::Subtypes),
            };
            case.mask = path.is_file().then_some(MaskFile { path, form });
            if matches!(case.known, Known::Nothing) {
                case.known = Known::Mask;
            }
        }
        Ok(())
    }

    /// Takes labels from a table in the RSNA 2019 form.
    pub(super) fn give_labels(&mut self, path: &Path) -> Result<(), LayoutError> {
        let labels = Arc::new(super::files::labels(path)?);
        for case in &mut self.cases {
            case.known = Known::Table(Arc::clone(&labels));
        }
        Ok(())
    }
}

/// The frame of a slice, with the place that it is said to have.
fn frame(slice: &Slice, path: &Path, wrapped: bool) -> Result<Frame, Rejection> {
    let instances = intake::read(path)?;
    let frame = instances.into_iter().flat_map(|instance| instance.frames).find(|frame| frame.slice == *slice);
    let changed = || Rejection::new(path.display().to_string(), Reason::Unreadable, "it changed while it was in use");
    let frame = frame.ok_or_else(changed)?;
    if wrapped { unwrapped(frame, path) } else { Ok(frame) }
}

/// The slices of a volume in z order, each with its place in the stored one.
fn volume(path: &Path) -> Result<(SeriesKey, Vec<(usize, Frame)>), Rejection> {
    let instances = nifti::stored(path)?;
    let empty = || Rejection::new(path.display().to_string(), Reason::MissingPixels, "the volume has no slice");
    let key = instances.first().map(|(_, instance)| instance.key.clone()).ok_or_else(empty)?;
    let frames = |(stored, instance): (usize, Instance)| instance.frames.into_iter().map(move |frame| (stored, frame));
    Ok((key, instances.into_iter().flat_map(frames).collect()))
}

/// The masks of some frames.
fn masks(file: &MaskFile, frames: &[(usize, Frame)]) -> Result<Vec<Option<Vec<u8>>>, Rejection> {
    let refused = |reason, detail: String| Rejection::new(file.path.display().to_string(), reason, detail);
    let drawn: Vec<(Slice, Vec<i16>)> = match file.form {
        MaskForm::Ordered => Vec::new(),
        MaskForm::Subtypes | MaskForm::Binary => {
            let (_, drawn) = volume(&file.path)?;
            let values = |(_, frame): (usize, Frame)| Ok((frame.slice.clone(), decode(&frame.pixels)?.hu()));
            drawn.into_iter().map(values).collect::<Result<_, Rejection>>()?
        }
    };
    let ordered = match file.form {
        MaskForm::Ordered => nifti::values(&file.path)?,
        MaskForm::Subtypes | MaskForm::Binary => drawn.iter().map(|(_, values)| values.clone()).collect(),
    };
    if ordered.len() != frames.len() {
        let detail = format!("{} slices, its images have {}", ordered.len(), frames.len());
        return Err(refused(Reason::Mismatch, detail));
    }
    for ((slice, _), (_, frame)) in drawn.iter().zip(frames) {
        if !in_place(slice, &frame.slice) {
            let detail = format!("it lies elsewhere than its images: {} mm", slice.geometry.along_mm());
            return Err(refused(Reason::Mismatch, detail));
        }
    }
    let mask = |(values, (_, frame)): (Vec<i16>, &(usize, Frame))| {
        let pixels = u64::from(frame.slice.geometry.rows) * u64::from(frame.slice.geometry.columns);
        if u64::try_from(values.len()) != Ok(pixels) {
            return Err(refused(
                Reason::Mismatch,
                format!("{} voxels a slice, its images have {pixels}", values.len()),
            ));
        }
        let voxel = |value: i16| match (file.form, u8::try_from(value)) {
            (MaskForm::Binary, _) => Ok(u8::from(value != 0)),
            (_, Ok(value @ 0..=5)) => Ok(value),
            _ => Err(refused(Reason::UnsupportedPixels, format!("a mask value of {value}, must be 0 to 5"))),
        };
        values.into_iter().map(voxel).collect::<Result<Vec<u8>, Rejection>>().map(Some)
    };
    ordered.into_iter().zip(frames).map(mask).collect()
}

/// Whether two planes are one within half a millimeter.
fn in_place(a: &Slice, b: &Slice) -> bool {
    let near = |a: &[i64], b: &[i64], within: i64| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= within);
    near(&a.geometry.position_um, &b.geometry.position_um, 500)
        && near(&a.geometry.orientation_nano, &b.geometry.orientation_nano, 1_000_000)
}

/// Values that were stored wrapped, as they were meant: 12 bits without sign, said to be HU as they stand (intercept above
/// -100), hold HU below zero as 4096 more.
fn unwrapped(frame: Frame, path: &Path) -> Result<Frame, Rejection> {
    let Source::Encoded { object, .. } = &frame.pixels.source else { return Ok(frame) };
    let number = |tag| object.get(tag).and_then(|element| element.value().to_int::<i32>().ok());
    let twelve_unsigned = number(tags::BITS_STORED) == Some(12) && number(tags::PIXEL_REPRESENTATION) == Some(0);
    let plane =
        decode(&frame.pixels).map_err(|rejection| Rejection { input: path.display().to_string(), ..rejection })?;
    let StoredValues::Unsigned(values) = &plane.values else { return Ok(frame) };
    if !twelve_unsigned || plane.rescale.intercept_hu() <= -100.0 {
        return Ok(frame);
    }
    let meant = |value: &u16| match value.saturating_add(1000) {
        value @ 4096.. => value - 4096,
        value => value,
    };
    let rescale = Rescale::new(1.0, -1000.0).unwrap_or(plane.rescale);
    let values = StoredValues::Unsigned(values.iter().map(meant).collect());
    let digest = Digest::builder("unwrapped").digest(&frame.slice.digest).finish();
    Ok(Frame {
        slice: Slice { digest, ..frame.slice },
        pixels: Pixels {
            source: Source::Decoded(Arc::new(Plane { values, rescale, ..Plane::clone(&plane) })),
            header: frame.pixels.header,
        },
    })
}
