//! Changes of bytes, as a seed draws them.

use crate::support::dice::Dice;

/// Numbers that lengths and counts go wrong at.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    u64::MAX,
];

/// What opens a sequence and its first item, explicit and implicit, and an array of a configuration.
const OPENINGS: [&[u8]; 3] = [
    b"\x08\x00\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF",
    b"\x08\x00\x40\x11\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF",
    b"[",
];

/// Bytes at the beginning that say what the others mean: half of all changes are there.
const HEAD: usize = 1500;

/// One of the corpus, changed in some places.
pub(super) fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = dice.pick(corpus).clone();
    for _ in 0..dice.within(1, 4) {
        let other = dice.pick(corpus);
        change(dice, &mut bytes, other);
    }
    bytes
}

fn place(dice: &mut Dice, length: usize) -> usize {
    let within = if dice.below(2) == 0 { length.min(HEAD) } else { length };
    dice.below(within)
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = place(dice, bytes.len());
    let behind = |dice: &mut Dice, most: usize| at + dice.below((bytes.len() - at).min(most) + 1);
    match dice.below(9) {
        0 => {
            let bit = 1_u8 << dice.below(8);
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bit);
        }
        1 => {
            let new = dice.byte();
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = new);
        }
        2 => bytes.truncate(at),
        3 => {
            let from = place(dice, other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        4 => {
            let end = behind(dice, 64);
            let part = bytes[at..end].repeat(dice.within(1, 64));
            bytes.splice(at..at, part);
        }
        5 => {
            let (number, width) = (*dice.pick(&NUMBERS), *dice.pick(&[1_usize, 2, 4, 8]));
            let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
            let form = if dice.below(2) == 0 { &little[..width] } else { &big[8 - width..] };
            bytes.iter_mut().skip(at).zip(form).for_each(|(byte, new)| *byte = *new);
        }
        6 => {
            let new: Vec<u8> = (0..dice.within(1, 32)).map(|_| dice.byte()).collect();
            bytes.splice(at..at, new);
        }
        7 => {
            let end = behind(dice, 64);
            bytes.drain(at..end);
        }
        _ => {
            let opened = dice.pick(&OPENINGS).repeat(dice.within(1, 3000));
            bytes.splice(at..at, opened);
        }
    }
}

#[test]
fn a_seed_gives_the_same_inputs_again_and_each_change_happens() {
    let corpus = [b"a record of some length".to_vec(), vec![0; 40]];
    let inputs = |seed| {
        let mut dice = Dice::new(seed);
        (0..200).map(|_| mutated(&mut dice.split(), &corpus)).collect::<Vec<_>>()
    };
    assert_eq!(inputs(3), inputs(3));
    assert_ne!(inputs(3), inputs(4));
    let lengths: Vec<usize> = inputs(3).iter().map(Vec::len).collect();
    assert!(lengths.iter().any(|length| *length < 23) && lengths.iter().any(|length| *length > 3000), "{lengths:?}");
}
