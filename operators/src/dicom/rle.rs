//! Run-length coding of samples of 16 bits: a segment of high bytes, then one of low bytes.
//!
//! Source: DICOM PS3.5 Annex G (RLE Lossless).

/// Decodes `pixels` samples.
///
/// # Errors
///
/// Returns what is wrong with the segments.
pub(crate) fn decode(bytes: &[u8], pixels: usize) -> Result<Vec<u16>, &'static str> {
    const HEADER: usize = 64;
    let short = "the frame ends within its header";
    let (words, _) = bytes.get(..HEADER).ok_or(short)?.as_chunks::<4>();
    let [count, high_start, low_start, ..] = words else { return Err(short) };
    let place = |word: &[u8; 4]| usize::try_from(u32::from_le_bytes(*word)).unwrap_or(usize::MAX);
    if place(count) != 2 {
        return Err("not two segments");
    }
    let (high_start, low_start) = (place(high_start), place(low_start));
    let outside = "a segment lies outside of its frame";
    let high = unpack(bytes.get(high_start..low_start).ok_or(outside)?, pixels)?;
    let low = unpack(bytes.get(low_start..).ok_or(outside)?, pixels)?;
    Ok(high.into_iter().zip(low).map(|(high, low)| u16::from_be_bytes([high, low])).collect())
}

/// The first `len` bytes that a segment packs.
fn unpack(mut packed: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
    let short = "a segment ends early";
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let (control, rest) = packed.split_first().ok_or(short)?;
        packed = match *control {
            control @ 0..=127 => {
                let (literal, rest) = rest.split_at_checked(usize::from(control) + 1).ok_or(short)?;
                bytes.extend_from_slice(literal);
                rest
            }
            128 => rest,
            control => {
                let (value, rest) = rest.split_first().ok_or(short)?;
                bytes.resize(bytes.len() + 257 - usize::from(control), *value);
                rest
            }
        };
    }
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Packs runs of at most 128 equal bytes, and single bytes as literals.
    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        for run in bytes.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(128)) {
            match u8::try_from(run.len()).expect("at most 128") {
                1 => packed.extend([0, run[0]]),
                len => packed.extend([(1_u8).wrapping_sub(len), run[0]]),
            }
        }
        packed
    }

    fn encode(samples: &[u16]) -> Vec<u8> {
        let high = pack(&samples.iter().map(|sample| sample.to_be_bytes()[0]).collect::<Vec<u8>>());
        let low = pack(&samples.iter().map(|sample| sample.to_be_bytes()[1]).collect::<Vec<u8>>());
        let low_start = u32::try_from(64 + high.len()).expect("small");
        let mut frame: Vec<u8> = [2, 64, low_start].into_iter().flat_map(u32::to_le_bytes).collect();
        frame.resize(64, 0);
        [frame, high, low].concat()
    }

    #[test]
    fn a_literal_run_and_a_pause_unpack() {
        assert_eq!(unpack(&[2, 1, 2, 3, 128, 254, 9], 6), Ok(vec![1, 2, 3, 9, 9, 9]));
        assert_eq!(unpack(&[254, 9], 2), Ok(vec![9, 9]), "what is too much is cut");
        assert_eq!(unpack(&[254, 9], 4), Err("a segment ends early"));
    }

    proptest! {
        #[test]
        fn samples_come_back(samples in prop::collection::vec(prop::sample::select(vec![0_u16, 1, 256, 0xFFFF]), 1..400)) {
            prop_assert_eq!(decode(&encode(&samples), samples.len()), Ok(samples));
        }

        #[test]
        fn a_frame_cut_short_is_refused(samples in prop::collection::vec(any::<u16>(), 1..40), cut in 1_usize..200) {
            let mut frame = encode(&samples);
            frame.truncate(frame.len().saturating_sub(cut));
            prop_assert!(decode(&frame, samples.len()).is_err());
        }
    }
}
