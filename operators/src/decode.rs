//! Decoding: the stored values of one slice, from the pixels as received.
//!
//! In: `(series, slice)` whose pixels are at hand. Out: the same, once its [`Plane`] is on the shelf, or the
//! [`Rejection`] in its place. The values are those that the attributes describe: where a codestream and its data set
//! disagree on the sign, the data set is right.
//!
//! Source: DICOM PS3.3 C.7.6.3.1.1 (bits), PS3.5 8.2 (encapsulated syntaxes).

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use dicom_core::value::C;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex;
use dicom_encoding::adapters::{PixelDataObject, RawPixelData};
use dicom_object::DefaultDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use kernels::units::Rescale;

use crate::dicom::codestream::{Codestream, Coding};
use crate::dicom::fragments::{FrameBytes, frame_bytes};
use crate::dicom::layout::{self, Layout};
use crate::dicom::read::is_native;
use crate::dicom::{Pixels, Source, jpeg12, rle};
use crate::plumbing::{self, Collection, Stage, Task};
use crate::record::{Digest, Plane, Reason, Refusal, Rejection, SeriesKey, Slice, StoredValues};

/// The plane of a slice, or why there is none.
pub type Decoded = Result<Arc<Plane>, Rejection>;

/// Decodes the pixels of one frame, and no other of its instance.
///
/// # Errors
///
/// Returns a [`Rejection`] of the SOP Instance UID if the pixels are missing, too few, or do not decode.
pub fn decode(pixels: &Pixels) -> Decoded {
    match &pixels.source {
        Source::Decoded(plane) => Ok(Arc::clone(plane)),
        Source::Encoded { object, frame } => plane(object, *frame).map(Arc::new).map_err(|refusal| {
            let uid = object.get(tags::SOP_INSTANCE_UID).and_then(|element| element.value().to_str().ok());
            let uid = uid.as_deref().unwrap_or_default().trim_end_matches(['\0', ' ']);
            refusal.of(uid)
        }),
    }
}

fn plane(object: &DefaultDicomObject, frame: u32) -> Result<Plane, Refusal> {
    let layout = Layout::of(object)?;
    let rescale = layout::rescale(object, frame)?;
    let syntax = object.meta().transfer_syntax();
    let samples = match frame_bytes(object, frame, layout)? {
        FrameBytes::Native(bytes) if is_native(syntax) => words(&bytes),
        FrameBytes::Encoded(bytes) if !is_native(syntax) => decompress(&bytes, syntax, layout)?,
        FrameBytes::Native(_) | FrameBytes::Encoded(_) => {
            let detail = format!("pixels are not encoded as their transfer syntax {syntax} says");
            return Err(Refusal::new(Reason::UndecodablePixels, detail));
        }
    };
    let (values, rescale) = stored(&samples, layout, rescale);
    Ok(Plane { rows: usize::from(layout.rows), columns: usize::from(layout.columns), values, rescale })
}

/// Samples to stored values: the bits above and below the value removed, its sign extended, wrapped values unwrapped.
fn stored(samples: &[u16], layout: Layout, rescale: Rescale) -> (StoredValues, Rescale) {
    const WRAP_HU: f32 = 1000.0;
    let above = 16 - layout.bits_stored;
    let value = |sample: &u16| (sample >> layout.shift << above) >> above;
    if layout.signed {
        let signed = |sample: &u16| (sample >> layout.shift << above).cast_signed() >> above;
        return (StoredValues::Signed(samples.iter().map(signed).collect()), rescale);
    }
    if layout.wraps(rescale)
        && let Some(unwrapped) = Rescale::new(rescale.slope(), -WRAP_HU)
    {
        let value = |sample: &u16| (value(sample) + 1000) % 4096;
        return (StoredValues::Unsigned(samples.iter().map(value).collect()), unwrapped);
    }
    (StoredValues::Unsigned(samples.iter().map(value).collect()), rescale)
}

/// Little-endian pairs of bytes.
fn words(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

/// Decodes one codestream into `layout.pixels()` samples.
fn decompress(bytes: &[u8], syntax: &str, layout: Layout) -> Result<Vec<u16>, Refusal> {
    let refuse =
        |detail: String| Refusal::new(Reason::UndecodablePixels, format!("transfer syntax {syntax}: {detail}"));
    if syntax == uids::RLE_LOSSLESS {
        return rle::decode(bytes, layout.pixels()).map_err(|error| refuse(error.to_owned()));
    }
    let codestream = Codestream::read(bytes);
    if let Some(Codestream { rows, columns, bits, components, .. }) = codestream {
        let expected = (u32::from(layout.rows), u32::from(layout.columns));
        if (rows, columns) != expected || components != 1 || bits > 16 {
            let found = format!("{rows} x {columns} pixels, {components} components, {bits} bits");
            return Err(refuse(format!("the codestream has {found}, the data set says {expected:?}")));
        }
    }
    if let Some(Codestream { coding: Coding::ExtendedSequential, bits: 12, .. }) = codestream {
        return jpeg12::decode(bytes).map_err(|error| refuse(error.to_owned()));
    }
    let known = TransferSyntaxRegistry.get(syntax);
    let Some(reader) = known.and_then(|syntax| syntax.pixel_data_reader()) else {
        return Err(Refusal::new(
            Reason::UnsupportedTransferSyntax,
            format!("transfer syntax {syntax} is not decoded"),
        ));
    };
    let frame = OneFrame { bytes, syntax, layout };
    let mut decoded = Vec::new();
    // Decoders of third parties index codestreams without asking; what they make of broken ones is one more error.
    let outcome = catch_unwind(AssertUnwindSafe(|| reader.decode_frame(&frame, 0, &mut decoded)));
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(refuse(format!("{error}"))),
        Err(_) => return Err(refuse("the codestream breaks the decoder".to_owned())),
    }
    let narrow = codestream.is_some_and(|stream| stream.bits <= 8 && stream.coding == Coding::Jpeg);
    let samples: Vec<u16> =
        if narrow { decoded.iter().map(|byte| u16::from(*byte)).collect() } else { words(&decoded) };
    let len = samples.len();
    let whole = samples.get(..layout.pixels()).map(<[u16]>::to_vec);
    whole.ok_or_else(|| refuse(format!("{len} samples of {} decoded", layout.pixels())))
}

/// One frame as a data set of its own, so that a decoder never sees, or copies, the others.
struct OneFrame<'a> {
    bytes: &'a [u8],
    syntax: &'a str,
    layout: Layout,
}

impl PixelDataObject for OneFrame<'_> {
    fn transfer_syntax_uid(&self) -> &str {
        self.syntax
    }

    fn rows(&self) -> Option<u16> {
        Some(self.layout.rows)
    }

    fn cols(&self) -> Option<u16> {
        Some(self.layout.columns)
    }

    fn samples_per_pixel(&self) -> Option<u16> {
        Some(1)
    }

    fn bits_allocated(&self) -> Option<u16> {
        Some(16)
    }

    fn bits_stored(&self) -> Option<u16> {
        u16::try_from(self.layout.bits_stored).ok()
    }

    fn photometric_interpretation(&self) -> Option<&str> {
        Some("MONOCHROME2")
    }

    fn number_of_frames(&self) -> Option<u32> {
        Some(1)
    }

    fn number_of_fragments(&self) -> Option<u32> {
        Some(1)
    }

    fn fragment(&self, fragment: usize) -> Option<Cow<'_, [u8]>> {
        (fragment == 0).then_some(Cow::Borrowed(self.bytes))
    }

    fn offset_table(&self) -> Option<Cow<'_, [u32]>> {
        Some(Cow::Borrowed(&[]))
    }

    fn raw_pixel_data(&self) -> Option<RawPixelData> {
        Some(RawPixelData { fragments: C::from_iter([self.bytes.to_vec()]), offset_table: C::new() })
    }
}

/// Decode the slice of this digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeTask {
    /// The slice, and the name of its plane.
    pub slice: Digest,
}

impl Task for DecodeTask {
    fn name(&self) -> Digest {
        self.slice
    }
}

/// Extension trait for collections of slices.
pub trait Decode<'scope> {
    /// Passes each slice on once it is decoded; one that does not decode becomes a rejection, which goes when the slice
    /// goes. Holds the planes of the slices that are present, on the stage's shelf.
    fn decode(
        self,
        stage: Stage<DecodeTask, Decoded>,
    ) -> (Collection<'scope, (SeriesKey, Slice)>, Collection<'scope, Rejection>);
}

impl<'scope> Decode<'scope> for Collection<'scope, (SeriesKey, Slice)> {
    fn decode(
        self,
        stage: Stage<DecodeTask, Decoded>,
    ) -> (Collection<'scope, (SeriesKey, Slice)>, Collection<'scope, Rejection>) {
        let shelf = stage.shelf.clone();
        let furnished = plumbing::furnish(self, stage, |(_, slice)| vec![DecodeTask { slice: slice.digest }]);
        let outcomes = furnished.flat_map(move |(key, slice)| {
            let outcome = shelf.get(&slice.digest)?;
            Some(outcome.as_ref().clone().map(|_| (key, slice)))
        });
        let decoded = outcomes.clone().flat_map(Result::ok);
        (decoded, outcomes.flat_map(Result::err))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use kernels::executor::{Builder, Fault, Limits, Urgency};
    use prometheus::Registry;
    use proptest::prelude::*;
    use timely::dataflow::operators::Probe;
    use timely::dataflow::operators::capture::{Capture, Extract};

    use super::*;
    use crate::event::{Metrics, Telemetry};
    use crate::record::{Geometry, InstanceUid, SeriesUid, StudyUid};
    use crate::store::Shelf;

    fn layout(bits_stored: u32, shift: u32, signed: bool) -> Layout {
        Layout { rows: 1, columns: 1, bits_stored, shift, signed, frames: 1 }
    }

    fn hu(sample: u16, layout: Layout, intercept: f32) -> Vec<i16> {
        let rescale = Rescale::new(1.0, intercept).expect("a rescale");
        let (values, rescale) = stored(&[sample], layout, rescale);
        Plane { rows: 1, columns: 1, values, rescale }.hu()
    }

    #[test]
    fn overlay_bits_go_and_the_sign_is_extended() {
        assert_eq!(hu(0xF7FF, layout(12, 0, false), -1024.0), [1023]);
        assert_eq!(hu(0xF801, layout(12, 0, true), 0.0), [-2047]);
        assert_eq!(hu(0x1FFF, layout(13, 0, true), 0.0), [-1]);
        assert_eq!(hu(0x801F, layout(12, 4, true), 0.0), [-2047], "an overlay in the low bits");
    }

    #[test]
    fn values_wrapped_modulo_4096_come_back() {
        assert_eq!(hu(4096 - 1000, layout(12, 0, false), 0.0), [-1000]);
        assert_eq!(hu(40, layout(12, 0, false), 0.0), [40]);
        assert_eq!(hu(3000, layout(12, 0, false), -1024.0), [1976], "an intercept with room for air wraps nothing");
        assert_eq!(hu(3500, layout(16, 0, false), 0.0), [3500]);
    }

    proptest! {
        #[test]
        fn signed_values_of_any_width_survive(bits in 2_u32..=16, value: i16, junk: u16) {
            let value = value >> (16 - bits);
            let mask = u16::MAX >> (16 - bits);
            let sample = value.cast_unsigned() & mask | junk & !mask;
            let (values, _) = stored(&[sample], layout(bits, 0, true), Rescale::IDENTITY);
            prop_assert_eq!(values, StoredValues::Signed(Arc::from([value])));
        }
    }

    fn slice(content: u8) -> (SeriesKey, Slice) {
        let key = SeriesKey { study: StudyUid::new("1").expect("a UID"), series: SeriesUid::new("2").expect("a UID") };
        let plane = Geometry::new([0.0; 3], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.5; 2], [1, 1], None).expect("a plane");
        (key, Slice::new(InstanceUid::new("3").expect("a UID"), 1, Digest::of(&[content]), plane))
    }

    /// What is present after changes of slices 0..10, one change a tick; odd slices do not decode.
    fn present(changes: Vec<(u8, isize)>) -> (BTreeMap<u8, isize>, BTreeMap<String, isize>) {
        let limits = Limits { queue: 2, batch: 2, deadline: Duration::from_micros(100) };
        let answer = |task: DecodeTask| {
            let content = (0..10).find(|content| Digest::of(&[*content]) == task.slice).expect("a slice of the test");
            let plane =
                Plane { rows: 1, columns: 1, values: StoredValues::Signed(Arc::from([0])), rescale: Rescale::IDENTITY };
            let bad = Rejection::new(content.to_string(), Reason::UndecodablePixels, "odd");
            Arc::new(if content % 2 == 0 { Ok(Arc::new(plane)) } else { Err(bad) })
        };
        let run = move |tasks: Vec<DecodeTask>| {
            std::thread::sleep(Duration::from_micros(200));
            Ok::<_, String>(tasks.into_iter().map(answer).collect())
        };
        let mut executor = Builder::new("decode");
        let desk = executor.desk("Decode", limits, run, |_| {});
        executor.start(std::num::NonZeroUsize::MIN, Fault::default()).expect("a thread");
        let telemetry = Telemetry::new(Metrics::register(&Registry::new()).expect("a fresh registry"));
        let (decoded, rejected) = timely::execute_directly(move |worker| {
            let (mut input, probe, decoded, rejected) = worker.dataflow(|scope| {
                let (input, slices) = differential_dataflow::input::Input::new_collection(&scope);
                let stage =
                    Stage { name: "Decode", desk, urgency: Urgency::Routine, shelf: Shelf::default(), telemetry };
                let (decoded, rejected) = slices.decode(stage);
                let (probe, _) = decoded.clone().inner.probe();
                (input, probe, decoded.inner.capture(), rejected.inner.capture())
            });
            let end = changes.len() as u64;
            for (tick, (content, diff)) in (0..).zip(changes) {
                input.update(slice(content), diff);
                input.advance_to(tick + 1);
                input.flush();
                worker.step();
            }
            drop(input);
            while probe.less_than(&end) {
                worker.step_or_park(Some(Duration::from_millis(1)));
            }
            (decoded, rejected)
        });
        let mut slices = BTreeMap::new();
        for (_, updates) in decoded.extract() {
            for ((_, slice), _, diff) in updates {
                let content = (0..10).find(|content| Digest::of(&[*content]) == slice.digest).expect("a slice");
                *slices.entry(content).or_insert(0) += diff;
            }
        }
        let mut rejections = BTreeMap::new();
        for (_, updates) in rejected.extract() {
            for (rejection, _, diff) in updates {
                *rejections.entry(rejection.input).or_insert(0) += diff;
            }
        }
        slices.retain(|_, diff| *diff != 0);
        rejections.retain(|_, diff| *diff != 0);
        (slices, rejections)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn a_slice_or_its_rejection_is_there_while_the_slice_is(toggles in prop::collection::vec(0_u8..10, 0..30)) {
            let mut there = std::collections::BTreeSet::new();
            let toggle = |content: &u8| if there.remove(content) { (*content, -1) } else { there.insert(*content); (*content, 1) };
            let changes: Vec<(u8, isize)> = toggles.iter().map(toggle).collect();
            let there: std::collections::BTreeSet<u8> = there;
            let (slices, rejections) = present(changes);
            let (odd, even): (Vec<u8>, Vec<u8>) = there.into_iter().partition(|content| content % 2 == 1);
            prop_assert_eq!(slices.into_iter().collect::<Vec<_>>(), even.into_iter().map(|c| (c, 1)).collect::<Vec<_>>());
            let odd: Vec<_> = odd.into_iter().map(|c| (c.to_string(), 1)).collect();
            prop_assert_eq!(rejections.into_iter().collect::<Vec<_>>(), odd);
        }
    }
}
