//! Labeling by its definition: each component is flooded from its first element.

use super::{Components, Connectivity};

/// [`super::components`], an element at a time.
#[must_use]
pub fn components_reference(mask: &[u8], shape: [usize; 2], connectivity: Connectivity) -> Components {
    let near: fn(usize) -> bool = match connectivity {
        Connectivity::Four => |axes| axes == 1,
        Connectivity::Eight => |axes| axes > 0,
    };
    flooded(mask, [1, shape[0], shape[1]], near)
}

/// [`super::components3`], an element at a time.
#[must_use]
pub fn components3_reference(mask: &[u8], shape: [usize; 3]) -> Components {
    flooded(mask, shape, |axes| axes > 0)
}

/// Elements are neighbors that are at most one apart along each axis, and so along a number of axes that is `near`.
fn flooded(mask: &[u8], shape: [usize; 3], near: impl Fn(usize) -> bool) -> Components {
    let apart = |step: usize| [step / 9, step / 3 % 3, step % 3].map(|axis| axis as isize - 1);
    let steps: Vec<[isize; 3]> =
        (0..27).map(apart).filter(|apart| near(apart.iter().filter(|axis| **axis != 0).count())).collect();
    let mut labels = vec![0; mask.len()];
    let mut sizes = Vec::new();
    for first in 0..mask.len() {
        if mask[first] == 0 || labels[first] != 0 {
            continue;
        }
        let mut size = 0;
        let label = sizes.len() as u32 + 1;
        let mut open = vec![first];
        labels[first] = label;
        while let Some(index) = open.pop() {
            size += 1;
            for step in &steps {
                let Some(other) = moved(index, *step, shape) else { continue };
                if mask[other] != 0 && labels[other] == 0 {
                    labels[other] = label;
                    open.push(other);
                }
            }
        }
        sizes.push(size);
    }
    Components { labels, sizes }
}

/// The element that lies so far along each axis, if it lies in the volume.
fn moved(index: usize, step: [isize; 3], [depth, rows, columns]: [usize; 3]) -> Option<usize> {
    let along = |place: usize, step: isize, len: usize| place.checked_add_signed(step).filter(|place| *place < len);
    let plane = along(index / (rows * columns), step[0], depth)?;
    let row = along(index / columns % rows, step[1], rows)?;
    Some((plane * rows + row) * columns + along(index % columns, step[2], columns)?)
}
