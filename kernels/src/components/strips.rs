//! A mask as strips of packed bits, and which runs of them touch.
//!
//! Where corners touch, two rows of two planes are one strip: columns side by side that have an element in any of the four
//! rows are of one component, so that a strip is like a row of longer and fewer runs. Which runs of two strips touch is
//! asked of the rows that face each other, 64 columns at a time.

use super::forest::Forest;
use crate::bits::{WORD, word};

/// The strips of a mask, strip after strip along its rows, then plane after plane.
pub(super) struct Strips {
    shape: [usize; 3],
    /// Planes and rows of a strip: 1 where only sides touch, else 2; one less where the mask ends.
    thick: usize,
    /// Words in a row.
    width: usize,
    /// The rows of the mask.
    rows: Vec<u64>,
    words: Vec<Word>,
    runs: u32,
}

/// 64 columns of a strip.
#[derive(Clone, Copy)]
struct Word {
    /// Where an element is, in any row.
    any: u64,
    /// Where a run starts.
    starts: u64,
    /// The runs that start in earlier words.
    before: u32,
}

/// The part of a run that lies within 64 columns.
struct Segment {
    start: usize,
    end: usize,
    run: usize,
}

/// Where a component begins in raster order, and its elements.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) first: usize,
    pub(super) size: usize,
}

/// Two rows of a strip that face another strip, perhaps the same; where they begin.
type Face = [usize; 2];

impl Strips {
    /// The strips of a mask that is not empty.
    #[inline(always)]
    pub(super) fn of(mask: &[u8], shape: [usize; 3], corners: bool) -> Self {
        let width = shape[2].div_ceil(WORD);
        let rows = mask.chunks_exact(shape[2]).flat_map(|row| row.chunks(WORD)).map(word).collect();
        let thick = if corners { 2 } else { 1 };
        let mut strips = Self { shape, thick, width, rows, words: Vec::new(), runs: 0 };
        let [deep, high] = strips.counts();
        strips.words.reserve_exact(deep * high * width);
        for strip in 0..deep * high {
            let [near, far] = strips.quartet(strip);
            let mut carry = 0;
            for index in 0..width {
                let any = strips.facing(near, index) | strips.facing(far, index);
                let starts = any & !(any << 1 | carry);
                carry = any >> (WORD - 1);
                strips.words.push(Word { any, starts, before: strips.runs });
                strips.runs += starts.count_ones();
            }
        }
        strips
    }

    /// Strips along the planes and along the rows.
    fn counts(&self) -> [usize; 2] {
        [self.shape[0].div_ceil(self.thick), self.shape[1].div_ceil(self.thick)]
    }

    /// The rows of a strip: of its first and its last plane.
    fn quartet(&self, strip: usize) -> [Face; 2] {
        let [_, high] = self.counts();
        let ends = |place: usize, len: usize| [place * self.thick, (place * self.thick + self.thick - 1).min(len - 1)];
        let (planes, rows) = (ends(strip / high, self.shape[0]), ends(strip % high, self.shape[1]));
        planes.map(|plane| rows.map(|row| (plane * self.shape[1] + row) * self.width))
    }

    /// 64 columns of rows that face.
    #[inline(always)]
    fn facing(&self, [first, last]: Face, index: usize) -> u64 {
        self.rows[first + index] | self.rows[last + index]
    }

    /// The components of runs.
    #[inline(always)]
    pub(super) fn joined(&self) -> Forest {
        let mut forest = Forest::new(self.runs);
        let [_, high] = self.counts();
        for strip in 0..self.words.len() / self.width {
            let [[near_first, near_last], [far_first, _]] = self.quartet(strip);
            let (below, above) = (strip >= high, strip % high > 0);
            if above {
                let [[_, near], [_, far]] = self.quartet(strip - 1);
                self.join(&mut forest, [strip, strip - 1], [[near_first, far_first], [near, far]]);
            }
            if !below {
                continue;
            }
            let [_, far] = self.quartet(strip - high);
            self.join(&mut forest, [strip, strip - high], [[near_first, near_last], far]);
            if above {
                let [_, [_, far]] = self.quartet(strip - high - 1);
                self.join(&mut forest, [strip, strip - high - 1], [[near_first; 2], [far; 2]]);
            }
            if strip % high + 1 < high {
                let [_, [far, _]] = self.quartet(strip - high + 1);
                self.join(&mut forest, [strip, strip - high + 1], [[near_last; 2], [far; 2]]);
            }
        }
        forest
    }

    /// Joins the runs of two strips whose elements in the rows that face each other touch.
    #[inline(always)]
    fn join(&self, forest: &mut Forest, strips: [usize; 2], faces: [Face; 2]) {
        let words = strips.map(|strip| &self.words[strip * self.width..][..self.width]);
        let sides = |index: usize| {
            [0, 1].map(|side| Side { word: words[side][index], facing: self.facing(faces[side], index) })
        };
        let (mut before, mut own) = ([Side::EMPTY; 2], sides(0));
        for index in 0..self.width {
            let after = if index + 1 < self.width { sides(index + 1) } else { [Side::EMPTY; 2] };
            let [a, b] = own.map(|side| side.word);
            let mut both = a.any & b.any;
            let mut touching =
                if self.thick > 1 { touching(before, own, after) } else { own[0].facing & own[1].facing };
            while touching != 0 {
                let column = touching.trailing_zeros();
                forest.join(a.run(column), b.run(column));
                // On to where one of the two runs has ended.
                both = past_run(both & (!0 << column), column);
                touching &= both;
            }
            if self.thick > 1 {
                for column in ones(beside(before, own, [0, 1])) {
                    forest.join(a.run(column), b.last_before(column));
                }
                for column in ones(beside(before, own, [1, 0])) {
                    forest.join(a.last_before(column), b.run(column));
                }
            }
            (before, own) = (own, after);
        }
    }

    /// How far each of `count` components goes; `of_runs` is that of each run.
    #[inline(always)]
    pub(super) fn extents(&self, of_runs: &[u32], count: usize) -> Vec<Extent> {
        let mut extents = vec![Extent { first: usize::MAX, size: 0 }; count];
        for strip in 0..self.words.len() / self.width {
            let mut rows = self.quartet(strip).concat();
            // Where the mask ends some are the same.
            rows.sort_unstable();
            rows.dedup();
            for (index, segment) in self.segments(strip) {
                let extent = &mut extents[of_runs[segment.run] as usize];
                let columns = !0 >> (WORD - (segment.end - segment.start)) << segment.start;
                for row in &rows {
                    let elements = self.rows[row + index] & columns;
                    let first = row / self.width * self.shape[2] + index * WORD + elements.trailing_zeros() as usize;
                    extent.first = if elements == 0 { extent.first } else { extent.first.min(first) };
                    extent.size += elements.count_ones() as usize;
                }
            }
        }
        extents
    }

    /// The label of each element, of the label of each run.
    #[inline(always)]
    pub(super) fn labels(&self, mask: &[u8], of_runs: &[u32]) -> Vec<u32> {
        let [depth, rows, columns] = self.shape;
        let [_, high] = self.counts();
        let mut labels = Vec::with_capacity(mask.len());
        // Those of runs, for all strips of a plane.
        let mut lines = vec![0; high * columns];
        for plane in 0..depth {
            for line in (0..high).filter(|_| plane % self.thick == 0) {
                for (index, segment) in self.segments(plane / self.thick * high + line) {
                    let first = line * columns + index * WORD;
                    lines[first + segment.start..first + segment.end].fill(of_runs[segment.run]);
                }
            }
            for row in 0..rows {
                let line = &lines[row / self.thick * columns..][..columns];
                let elements = mask[(plane * rows + row) * columns..][..columns].iter().zip(line);
                labels.extend(elements.map(|(element, label)| if *element != 0 { *label } else { 0 }));
            }
        }
        labels
    }

    /// The parts of runs in a strip, each with the index of its word.
    #[inline(always)]
    fn segments(&self, strip: usize) -> impl Iterator<Item = (usize, Segment)> {
        let words = self.words[strip * self.width..][..self.width].iter();
        words.enumerate().flat_map(|(index, word)| word.segments().map(move |segment| (index, segment)))
    }
}

/// 64 columns of one of two strips.
#[derive(Clone, Copy)]
struct Side {
    word: Word,
    /// Where an element faces the other strip.
    facing: u64,
}

impl Side {
    const EMPTY: Self = Self { word: Word { any: 0, starts: 0, before: 0 }, facing: 0 };
}

/// Columns where both strips have a run, and an element of one touches one of the other, which may be a column beside.
#[inline(always)]
fn touching(before: [Side; 2], own: [Side; 2], after: [Side; 2]) -> u64 {
    let [near_a, near_b] = [0, 1].map(|side| {
        let facing = own[side].facing;
        let (from_before, from_after) = (before[side].facing >> (WORD - 1), after[side].facing << (WORD - 1));
        facing | facing << 1 | facing >> 1 | from_before | from_after
    });
    let [a, b] = own;
    (a.facing & near_b | b.facing & near_a) & a.word.any & b.word.any
}

/// Columns where a run of one strip starts beside the column where one of the other ended, and their elements touch.
#[inline(always)]
fn beside(before: [Side; 2], own: [Side; 2], [starting, ended]: [usize; 2]) -> u64 {
    let alone = |sides: [Side; 2], side: usize| sides[side].facing & !sides[1 - side].word.any;
    alone(own, starting) & (alone(own, ended) << 1 | alone(before, ended) >> (WORD - 1))
}

/// Columns of which none is before `column`, without the run that starts there.
#[inline(always)]
fn past_run(columns: u64, column: u32) -> u64 {
    columns & columns.wrapping_add(1 << column)
}

/// The columns of a word, in order.
#[inline(always)]
fn ones(mut columns: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let column = (columns != 0).then(|| columns.trailing_zeros());
        columns &= columns.wrapping_sub(1);
        column
    })
}

impl Word {
    /// The run at a column that has an element.
    #[inline(always)]
    fn run(self, column: u32) -> u32 {
        self.before + (self.starts & (!0 >> (63 - column))).count_ones() - 1
    }

    /// The last run that starts before a column; there is one.
    #[inline(always)]
    fn last_before(self, column: u32) -> u32 {
        self.before + (self.starts & !(!0 << column)).count_ones() - 1
    }

    #[inline(always)]
    fn segments(self) -> impl Iterator<Item = Segment> {
        let mut left = self.any;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let start = left.trailing_zeros();
            let end = start + (!(left >> start)).trailing_zeros();
            left = past_run(left, start);
            Some(Segment { start: start as usize, end: end as usize, run: self.run(start) as usize })
        })
    }
}
