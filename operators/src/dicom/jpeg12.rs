//! JPEG with 12 bits per sample: the extended sequential process, which general decoders leave out.
//!
//! One component, one scan, Huffman coding. Result: samples `[rows * columns]`, row major, 0..=4095.
//!
//! Source: ITU-T T.81 (JPEG), Annex A.3.3 (inverse transform), C (Huffman tables), E.2 and F.2 (sequential decoding).

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Zigzag order: the place in the block of each coefficient as coded.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

const EARLY: &str = "the codestream ends early";

/// Decodes a codestream of one component with 12 bits.
///
/// # Errors
///
/// Returns what is wrong with the codestream, or not supported in it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<u16>, &'static str> {
    let mut tables = Tables::default();
    let mut rest = bytes.strip_prefix(&[0xFF, 0xD8]).ok_or("no start of image")?;
    loop {
        let [0xFF, marker, segment @ ..] = rest else { return Err(EARLY) };
        if *marker == 0xFF {
            rest = &rest[1..];
            continue;
        }
        let [high, low, ..] = segment else { return Err(EARLY) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let body = segment.get(2..length).ok_or(EARLY)?;
        rest = &segment[length..];
        match marker {
            0xDB => tables.quantization(body)?,
            0xC4 => tables.huffman(body)?,
            0xC1 => tables.frame(body)?,
            0xDD => tables.restart(body)?,
            0xDA => return tables.scan(body, rest),
            0xC0 | 0xC2..=0xCF => return Err("not an extended sequential process"),
            0xD9 => return Err(EARLY),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Tables {
    quantization: [Option<[f64; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    frame: Option<FrameHeader>,
    restart_interval: usize,
}

#[derive(Clone, Copy)]
struct FrameHeader {
    rows: usize,
    columns: usize,
    quantization: usize,
}

impl Tables {
    fn quantization(&mut self, mut body: &[u8]) -> Result<(), &'static str> {
        while let [kind, values @ ..] = body {
            let wide = kind >> 4 == 1;
            let size = if wide { 128 } else { 64 };
            let (values, rest) = values.split_at_checked(size).ok_or(EARLY)?;
            let mut table = [0.0; 64];
            for (index, slot) in table.iter_mut().enumerate() {
                *slot = if wide {
                    f64::from(u16::from_be_bytes([values[2 * index], values[2 * index + 1]]))
                } else {
                    f64::from(values[index])
                };
            }
            *self.quantization.get_mut(usize::from(kind & 15)).ok_or("no such quantization table")? = Some(table);
            body = rest;
        }
        Ok(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Result<(), &'static str> {
        while let [kind, rest @ ..] = body {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(EARLY)?;
            let count = counts.iter().map(|count| usize::from(*count)).sum();
            let (values, rest) = rest.split_at_checked(count).ok_or(EARLY)?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let slot = tables.get_mut(usize::from(kind & 15)).ok_or("no such Huffman table")?;
            *slot = Some(Huffman { counts: *counts, values: values.to_vec() });
            body = rest;
        }
        Ok(())
    }

    fn frame(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let [12, y1, y0, x1, x0, 1, _, _, quantization, ..] = body else {
            return Err("not one component with 12 bits");
        };
        let rows = usize::from(u16::from_be_bytes([*y1, *y0]));
        let columns = usize::from(u16::from_be_bytes([*x1, *x0]));
        self.frame = Some(FrameHeader { rows, columns, quantization: usize::from(*quantization) });
        Ok(())
    }

    fn restart(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let [high, low, ..] = body else { return Err(EARLY) };
        self.restart_interval = usize::from(u16::from_be_bytes([*high, *low]));
        Ok(())
    }

    fn scan(&self, header: &[u8], data: &[u8]) -> Result<Vec<u16>, &'static str> {
        let [1, _, selectors, ..] = header else { return Err("a scan of more than one component") };
        let frame = self.frame.ok_or("a scan before its frame")?;
        let missing = "a table is missing";
        let quantization = self.quantization.get(frame.quantization).and_then(Option::as_ref).ok_or(missing)?;
        let dc = self.dc.get(usize::from(selectors >> 4)).and_then(Option::as_ref).ok_or(missing)?;
        let ac = self.ac.get(usize::from(selectors & 15)).and_then(Option::as_ref).ok_or(missing)?;
        let basis = basis();
        let (across, down) = (frame.columns.div_ceil(8), frame.rows.div_ceil(8));
        let mut bits = Bits { data, byte: 0, left: 0 };
        let mut last_dc = 0;
        let mut samples = vec![0; frame.rows * frame.columns];
        for block in 0..across * down {
            if self.restart_interval > 0 && block > 0 && block % self.restart_interval == 0 {
                bits.restart()?;
                last_dc = 0;
            }
            let coefficients = coefficients(&mut bits, dc, ac, &mut last_dc, quantization)?;
            let values = inverse(&coefficients, &basis);
            let (top, left) = (block / across * 8, block % across * 8);
            for (row, values) in (top..frame.rows).zip(values.chunks_exact(8)) {
                let line = &mut samples[row * frame.columns..(row + 1) * frame.columns];
                line[left..].iter_mut().zip(values).for_each(|(sample, value)| *sample = *value);
            }
        }
        Ok(samples)
    }
}

/// The dequantized coefficients of the next block, row major.
fn coefficients(
    bits: &mut Bits<'_>,
    dc: &Huffman,
    ac: &Huffman,
    last_dc: &mut i32,
    quantization: &[f64; 64],
) -> Result<[f64; 64], &'static str> {
    let mut block = [0.0; 64];
    let size = dc.next(bits)?;
    *last_dc = last_dc.wrapping_add(bits.number(size)?);
    block[0] = f64::from(*last_dc) * quantization[0];
    let mut index = 1;
    while index < 64 {
        let symbol = ac.next(bits)?;
        let (run, size) = (usize::from(symbol >> 4), symbol & 15);
        match (run, size) {
            (15, 0) => index += 16,
            (_, 0) => break,
            _ => {
                index += run;
                let place = ZIGZAG.get(index).ok_or("a run beyond its block")?;
                block[*place] = f64::from(bits.number(size)?) * quantization[index];
                index += 1;
            }
        }
    }
    Ok(block)
}

/// `basis[x][u] = C(u) / 2 * cos((2x + 1) u pi / 16)`.
fn basis() -> [[f64; 8]; 8] {
    let mut basis = [[0.0; 8]; 8];
    for (x, row) in (0_u8..).zip(&mut basis) {
        for (u, value) in (0_u8..).zip(row) {
            let scale = if u == 0 { FRAC_1_SQRT_2 } else { 1.0 };
            *value = scale / 2.0 * (f64::from(2 * x + 1) * f64::from(u) * PI / 16.0).cos();
        }
    }
    basis
}

/// The inverse transform, shifted to unsigned samples.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn inverse(block: &[f64; 64], basis: &[[f64; 8]; 8]) -> [u16; 64] {
    let mut rows = [0.0; 64];
    for (from, to) in block.chunks_exact(8).zip(rows.chunks_exact_mut(8)) {
        for (value, weights) in to.iter_mut().zip(basis) {
            *value = from.iter().zip(weights).map(|(c, w)| c * w).sum();
        }
    }
    let mut samples = [0; 64];
    for (line, weights) in samples.chunks_exact_mut(8).zip(basis) {
        for (column, sample) in line.iter_mut().enumerate() {
            let value: f64 = weights.iter().enumerate().map(|(v, w)| w * rows[v * 8 + column]).sum();
            *sample = (value + 2048.0).round().clamp(0.0, 4095.0) as u16;
        }
    }
    samples
}

struct Huffman {
    counts: [u8; 16],
    values: Vec<u8>,
}

impl Huffman {
    /// The next symbol (T.81 F.2.2.3).
    fn next(&self, bits: &mut Bits<'_>) -> Result<u8, &'static str> {
        let (mut code, mut first, mut offset) = (0_usize, 0_usize, 0_usize);
        for count in self.counts {
            let count = usize::from(count);
            code = code << 1 | usize::from(bits.bit()?);
            if code < first + count {
                let index = (offset + code).checked_sub(first).ok_or("a code of no symbol")?;
                return self.values.get(index).copied().ok_or("a code of no symbol");
            }
            offset += count;
            first = (first + count) << 1;
        }
        Err("a code of no symbol")
    }
}

struct Bits<'a> {
    data: &'a [u8],
    byte: u8,
    left: u8,
}

impl Bits<'_> {
    fn bit(&mut self) -> Result<u8, &'static str> {
        if self.left == 0 {
            (self.byte, self.data) = match self.data {
                [0xFF, 0x00, rest @ ..] => (0xFF, rest),
                [0xFF, ..] | [] => return Err(EARLY),
                [byte, rest @ ..] => (*byte, rest),
            };
            self.left = 8;
        }
        self.left -= 1;
        Ok(self.byte >> self.left & 1)
    }

    /// A number of `size` bits in JPEG's signed form (T.81 F.2.2.1, `EXTEND`).
    fn number(&mut self, size: u8) -> Result<i32, &'static str> {
        if size > 16 {
            return Err("a coefficient of more than 16 bits");
        }
        let mut value = 0;
        for _ in 0..size {
            value = value << 1 | i32::from(self.bit()?);
        }
        let negative = size > 0 && value < 1 << (size - 1);
        Ok(if negative { value - (1 << size) + 1 } else { value })
    }

    /// Skips to behind the next restart marker.
    fn restart(&mut self) -> Result<(), &'static str> {
        self.left = 0;
        while let [_, rest @ ..] = self.data {
            if let [0xFF, 0xD0..=0xD7, behind @ ..] = self.data {
                self.data = behind;
                return Ok(());
            }
            self.data = rest;
        }
        Err(EARLY)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One block of one value: quantization by 1, DC codes of 4 bits for sizes 0 to 15, and an AC table of `EOB`.
    fn flat(dc_size: u8, dc_bits: &str) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
        bytes.extend([1; 64]);
        bytes.extend([0xFF, 0xC4, 0, 19 + 15, 0, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(0..15);
        bytes.extend([0xFF, 0xC4, 0, 19 + 1, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([0xFF, 0xC1, 0, 11, 12, 0, 3, 0, 2, 1, 1, 0x11, 0]);
        bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
        let coded = format!("{dc_size:04b}{dc_bits}0");
        let padding = "1".repeat(coded.len().next_multiple_of(8) - coded.len());
        let padded = coded + &padding;
        for bits in padded.as_bytes().chunks(8) {
            let byte = bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit == b'1'));
            bytes.push(byte);
            if byte == 0xFF {
                bytes.push(0);
            }
        }
        bytes
    }

    #[test]
    fn a_flat_block_has_the_value_of_its_dc_coefficient() {
        assert_eq!(decode(&flat(0, "")), Ok(vec![2048; 6]));
        assert_eq!(decode(&flat(11, "10000000000")), Ok(vec![2048 + 128; 6]), "1024 / 8");
        assert_eq!(decode(&flat(11, "01111111111")), Ok(vec![2048 - 128; 6]));
        assert_eq!(decode(&flat(14, "11111111111110")).map(|samples| samples[0]), Ok(4095), "clamped");
    }

    proptest! {
        #[test]
        fn the_inverse_undoes_the_transform(values in prop::collection::vec(0_u16..4096, 64)) {
            let basis = basis();
            let mut block = [0.0; 64];
            for (index, coefficient) in block.iter_mut().enumerate() {
                let (v, u) = (index / 8, index % 8);
                *coefficient = (0..64)
                    .map(|at| (f64::from(values[at]) - 2048.0) * basis[at / 8][v] * basis[at % 8][u])
                    .sum();
            }
            prop_assert_eq!(&inverse(&block, &basis)[..], &values[..]);
        }

        #[test]
        fn broken_bytes_are_refused_or_decoded_and_end(at in 0_usize..200, byte: u8, cut in 0_usize..200) {
            let mut bytes = flat(11, "10000000000");
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(cut.min(len).max(4));
            decode(&bytes).map(|samples| samples.len()).ok();
        }
    }
}
