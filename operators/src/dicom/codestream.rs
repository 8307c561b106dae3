//! What a codestream says of itself before it is decoded: its matrix, its bits, how it is coded.
//!
//! A decoder allocates what the codestream asks for; one that does not match its data set is never decoded.
//!
//! Source: ITU-T T.81 B.2.2 and T.87 C.2.2 (frame header), T.800 A.5.1 (SIZ).

/// How the samples are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// JPEG with a discrete cosine transform, extended sequential, Huffman.
    ExtendedSequential,
    /// Any other JPEG, or JPEG-LS.
    Jpeg,
    /// JPEG 2000.
    Jpeg2000,
}

/// The frame header of a codestream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Codestream {
    pub(crate) coding: Coding,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) bits: u32,
    pub(crate) components: u32,
}

impl Codestream {
    /// The frame header, or `None` if there is none that can be read.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&[0xFF, 0xD8]) {
            return Self::jpeg(bytes.get(2..)?);
        }
        let start = bytes.windows(4).position(|marker| marker == [0xFF, 0x4F, 0xFF, 0x51])?;
        Self::jpeg2000(bytes.get(start + 4..)?)
    }

    fn jpeg(mut bytes: &[u8]) -> Option<Self> {
        loop {
            let [0xFF, marker, rest @ ..] = bytes else { return None };
            bytes = match marker {
                0xFF => bytes.get(1..)?,
                0x01 | 0xD0..=0xD8 => rest,
                0xD9 | 0xDA => return None,
                0xC4 | 0xC8 | 0xCC => behind(rest)?,
                0xC0..=0xCF | 0xF7 => {
                    let [_, _, bits, y1, y0, x1, x0, components, ..] = rest else { return None };
                    let coding = if *marker == 0xC1 { Coding::ExtendedSequential } else { Coding::Jpeg };
                    return Some(Self {
                        coding,
                        rows: u32::from(u16::from_be_bytes([*y1, *y0])),
                        columns: u32::from(u16::from_be_bytes([*x1, *x0])),
                        bits: u32::from(*bits),
                        components: u32::from(*components),
                    });
                }
                _ => behind(rest)?,
            };
        }
    }

    fn jpeg2000(size: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_be_bytes(size.get(at..at + 4)?.try_into().ok()?));
        let [width, height, left, top] = [number(4)?, number(8)?, number(12)?, number(16)?];
        let components = u16::from_be_bytes(size.get(36..38)?.try_into().ok()?);
        Some(Self {
            coding: Coding::Jpeg2000,
            rows: height.checked_sub(top)?,
            columns: width.checked_sub(left)?,
            bits: u32::from(size.get(38)? & 0x7F) + 1,
            components: u32::from(components),
        })
    }
}

/// The bytes behind a marker segment, which starts with its length.
fn behind(segment: &[u8]) -> Option<&[u8]> {
    let [high, low, ..] = segment else { return None };
    segment.get(usize::from(u16::from_be_bytes([*high, *low])).max(2)..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_frame_headers_of_each_kind() {
        let jpeg = [0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 9, 9, 0xFF, 0xC1, 0, 11, 12, 2, 0, 1, 0, 1, 1, 0x11, 0];
        let expected =
            Codestream { coding: Coding::ExtendedSequential, rows: 512, columns: 256, bits: 12, components: 1 };
        assert_eq!(Codestream::read(&jpeg), Some(expected));
        let mut siz = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
        for number in [300_u32, 200, 0, 0, 300, 200, 0, 0] {
            siz.extend(number.to_be_bytes());
        }
        siz.extend([0, 1, 0x8C, 1, 1]);
        let expected = Codestream { coding: Coding::Jpeg2000, rows: 200, columns: 300, bits: 13, components: 1 };
        assert_eq!(Codestream::read(&siz), Some(expected));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(prop::sample::select(vec![0xFF_u8, 0xD8, 0, 1, 2, 0x4F, 0x51, 0xC1, 0xE0]), 0..80)) {
            Codestream::read(&[&[0xFF, 0xD8][..], &bytes].concat());
            Codestream::read(&bytes);
        }
    }
}
