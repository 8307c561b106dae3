//! The host's own loops, for processors: rows of a map at a time, targets on all threads.

use std::ops::Range;

use rayon::prelude::*;

use super::{Term, between};
use crate::launch::finite;
use crate::resize::lerp;
use crate::wide::widest;

/// Fused maps of a shape, whose terms mean something.
pub(super) fn fuse(maps: &[f32], [_, rows, columns]: [usize; 3], targets: &[Vec<Term>]) -> Vec<f32> {
    let cells = rows * columns;
    let mut result = vec![0.0; targets.len() * cells];
    if cells == 0 {
        return result;
    }
    result.par_chunks_exact_mut(cells).zip(targets).for_each(|(fused, terms)| {
        let map = |term: &Term| &maps[term.map * cells..][..cells];
        let mut sources: Vec<Source<'_>> = terms.iter().map(|term| Source::new(term, map(term), columns)).collect();
        for (row, fused) in fused.chunks_exact_mut(columns).enumerate() {
            for source in &mut sources {
                source.add(row, rows, fused);
            }
        }
    });
    result
}

/// A map that is added to a target.
struct Source<'a> {
    map: &'a [f32],
    weight: f32,
    offset: f32,
    /// None if columns are those of the target.
    across: Option<Across>,
    /// Rows of the map at the columns of the target, the upper and the lower one, and the index of the upper.
    wide: [Vec<f32>; 2],
    held: Option<usize>,
}

impl<'a> Source<'a> {
    fn new(term: &Term, map: &'a [f32], columns: usize) -> Self {
        let across = (term.offset[1] != 0.0).then(|| Across::new(term.offset[1], columns));
        let widened = if across.is_some() { columns } else { 0 };
        let wide = [vec![0.0; widened], vec![0.0; widened]];
        Self { map, weight: term.weight, offset: term.offset[0], across, wide, held: None }
    }

    /// Adds what a row of the target sees.
    fn add(&mut self, row: usize, rows: usize, fused: &mut [f32]) {
        let (top, down) = between(row, self.offset, rows);
        let columns = fused.len();
        let map = self.map;
        let map_row = |row: usize| &map[row.min(rows - 1) * columns..][..columns];
        let Some(across) = &self.across else {
            return match down {
                0.0 => widest(add, (fused, map_row(top), self.weight)),
                _ => widest(add_between, (fused, [map_row(top), map_row(top + 1)], down, self.weight)),
            };
        };
        if self.held != Some(top) {
            if top > 0 && self.held == Some(top - 1) {
                self.wide.swap(0, 1);
            } else {
                across.widen(map_row(top), &mut self.wide[0]);
            }
            across.widen(map_row(top + 1), &mut self.wide[1]);
            self.held = Some(top);
        }
        widest(add_between, (fused, [&self.wide[0], &self.wide[1]], down, self.weight));
    }
}

/// Which columns of a map those of a target lie between.
struct Across {
    left: Vec<usize>,
    fraction: Vec<f32>,
    /// The columns that each lie one further than the last, and inside the map.
    inside: Range<usize>,
}

impl Across {
    fn new(offset: f32, columns: usize) -> Self {
        let (left, fraction): (Vec<usize>, Vec<f32>) =
            (0..columns).map(|column| between(column, offset, columns)).unzip();
        let start = left.iter().rposition(|left| *left == 0).unwrap_or(0);
        let follows = |column: &usize| left[*column] == left[start] + (column - start) && left[*column] + 1 < columns;
        let inside = start..start + (start..columns).take_while(follows).count();
        Self { left, fraction, inside }
    }

    /// A row of a map at the columns of the target.
    fn widen(&self, row: &[f32], wide: &mut [f32]) {
        let inside = self.inside.clone();
        if !inside.is_empty() {
            let seen = &row[self.left[inside.start]..][..inside.len() + 1];
            widest(blend, (seen, &self.fraction[inside.clone()], &mut wide[inside.clone()]));
        }
        for column in (0..inside.start).chain(inside.end..row.len()) {
            let left = self.left[column];
            let right = (left + 1).min(row.len() - 1);
            wide[column] = lerp(finite(row[left]), finite(row[right]), self.fraction[column]);
        }
    }
}

#[inline(always)]
fn blend((row, fractions, wide): (&[f32], &[f32], &mut [f32])) {
    for ((wide, pair), fraction) in wide.iter_mut().zip(row.windows(2)).zip(fractions) {
        *wide = lerp(finite(pair[0]), finite(pair[1]), *fraction);
    }
}

#[inline(always)]
fn add((fused, row, weight): (&mut [f32], &[f32], f32)) {
    for (sum, value) in fused.iter_mut().zip(row) {
        *sum += weight * finite(*value);
    }
}

#[inline(always)]
fn add_between((fused, [above, below], down, weight): (&mut [f32], [&[f32]; 2], f32, f32)) {
    for ((sum, above), below) in fused.iter_mut().zip(above).zip(below) {
        *sum += weight * lerp(finite(*above), finite(*below), down);
    }
}
