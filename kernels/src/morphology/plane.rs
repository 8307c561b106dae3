//! A mask as packed bits, each row in words of its own: 64 pixels at a time are moved and joined.

use crate::bits::{WORD, elements, word};

/// A mask of packed bits; those beyond the last column are of no meaning.
pub(super) struct Plane {
    words: Vec<u64>,
    /// Words in a row, at least one.
    row: usize,
    columns: usize,
}

impl Plane {
    /// Packs a mask of rows with at least one column.
    pub(super) fn pack(mask: &[u8], columns: usize) -> Self {
        let words = mask.chunks_exact(columns).flat_map(|row| row.chunks(WORD)).map(word).collect();
        Self { words, row: columns.div_ceil(WORD), columns }
    }

    /// The mask, 1 or 0.
    pub(super) fn unpack(&self) -> Vec<u8> {
        let mut mask = Vec::with_capacity(self.words.len() / self.row * self.columns);
        for row in self.words.chunks_exact(self.row) {
            for (index, word) in row.iter().enumerate() {
                mask.extend_from_slice(&elements(*word)[..WORD.min(self.columns - index * WORD)]);
            }
        }
        mask
    }

    /// What is not in the mask.
    pub(super) fn complement(mut self) -> Self {
        let beyond = self.columns % WORD;
        for row in self.words.chunks_exact_mut(self.row) {
            row.iter_mut().for_each(|word| *word = !*word);
            if let (Some(last), 1..) = (row.last_mut(), beyond) {
                *last &= (1 << beyond) - 1;
            }
        }
        self
    }

    /// The union of the mask with itself moved: by each number of rows up and down, as many columns to both sides as the
    /// half width of that row. None is wider than those before it.
    pub(super) fn reached(mut self, half_widths: &[usize]) -> Self {
        let rows = self.words.len() / self.row;
        let mut result = vec![0; self.words.len()];
        let mut widened = 0;
        for (distance, half_width) in half_widths.iter().enumerate().take(rows).rev() {
            let half_width = (*half_width).min(self.columns - 1);
            while widened < half_width {
                // A pixel has become a segment, and two that touch make a longer one; at an edge one half of it is lost.
                let step = (half_width - widened).min(widened + 1).min(WORD - 1);
                self.widen(step);
                widened += step;
            }
            let moved = distance * self.row;
            let kept = result.len() - moved;
            join(&mut result[moved..], &self.words[..kept]);
            join(&mut result[..kept], &self.words[moved..]);
        }
        Self { words: result, ..self }
    }

    /// The union with itself moved to both sides, by less than a word and at least one column.
    fn widen(&mut self, by: usize) {
        for row in self.words.chunks_exact_mut(self.row) {
            let mut before = 0;
            for index in 0..row.len() {
                let own = row[index];
                let after = row.get(index + 1).copied().unwrap_or(0);
                row[index] = own | own << by | own >> by | before >> (WORD - by) | after << (WORD - by);
                before = own;
            }
        }
    }
}

fn join(result: &mut [u64], words: &[u64]) {
    result.iter_mut().zip(words).for_each(|(result, word)| *result |= word);
}
