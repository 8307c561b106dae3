//! A font of 3 x 5 dots: the digits, and the letters that the sheet needs.

/// Height and width of a dot, pixels.
pub(super) const DOT: usize = 2;
const COLUMNS: usize = 3;
const ROWS: usize = 5;

/// Five rows, from the top; the highest of three bits is on the left.
fn glyph(character: char) -> [u8; ROWS] {
    match character {
        '0' | 'O' => [0b111, 0b101, 0b101, 0b101, 0b111],
        '1' => [0b010, 0b110, 0b010, 0b010, 0b111],
        '2' => [0b111, 0b001, 0b111, 0b100, 0b111],
        '3' => [0b111, 0b001, 0b111, 0b001, 0b111],
        '4' => [0b101, 0b101, 0b111, 0b001, 0b001],
        '5' | 'S' => [0b111, 0b100, 0b111, 0b001, 0b111],
        '6' => [0b111, 0b100, 0b111, 0b101, 0b111],
        '7' => [0b111, 0b001, 0b010, 0b010, 0b010],
        '8' => [0b111, 0b101, 0b111, 0b101, 0b111],
        '9' => [0b111, 0b101, 0b111, 0b001, 0b111],
        '%' => [0b101, 0b001, 0b010, 0b100, 0b101],
        '-' => [0b000, 0b000, 0b111, 0b000, 0b000],
        'A' => [0b010, 0b101, 0b111, 0b101, 0b101],
        'D' => [0b110, 0b101, 0b101, 0b101, 0b110],
        'E' => [0b111, 0b100, 0b110, 0b100, 0b111],
        'G' => [0b111, 0b100, 0b101, 0b101, 0b111],
        'H' => [0b101, 0b101, 0b111, 0b101, 0b101],
        'I' => [0b111, 0b010, 0b010, 0b010, 0b111],
        'K' => [0b101, 0b101, 0b110, 0b101, 0b101],
        'M' => [0b101, 0b111, 0b111, 0b101, 0b101],
        'N' => [0b110, 0b101, 0b101, 0b101, 0b101],
        'P' => [0b111, 0b101, 0b111, 0b100, 0b100],
        'T' => [0b111, 0b010, 0b010, 0b010, 0b010],
        'U' => [0b101, 0b101, 0b101, 0b101, 0b111],
        'W' => [0b101, 0b101, 0b111, 0b111, 0b101],
        _ => [0; ROWS],
    }
}

/// The pixels that a text is wide.
pub(super) fn width(text: &str) -> usize {
    (text.chars().count() * (COLUMNS + 1)).saturating_sub(1) * DOT
}

/// Where the dots of a text stand, `[row, column]` of their first pixels.
pub(super) fn dots(text: &str) -> impl Iterator<Item = [usize; 2]> {
    text.chars().enumerate().flat_map(|(at, character)| {
        glyph(character).into_iter().enumerate().flat_map(move |(row, bits)| {
            (0..COLUMNS)
                .filter(move |column| bits >> (COLUMNS - 1 - column) & 1 == 1)
                .map(move |column| [row * DOT, (at * (COLUMNS + 1) + column) * DOT])
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_is_a_stem_with_a_foot() {
        let ones: Vec<_> = dots("1").collect();
        assert_eq!(ones.iter().filter(|[_, column]| *column == DOT).count(), ROWS, "{ones:?}");
        assert!(ones.contains(&[8, 0]) && ones.contains(&[8, 4]) && !ones.contains(&[0, 4]), "{ones:?}");
    }

    #[test]
    fn digits_differ_and_every_character_of_a_sheet_has_a_glyph() {
        let digits: std::collections::BTreeSet<_> = ('0'..='9').map(glyph).collect();
        assert_eq!(digits.len(), 10);
        for character in "SEGMENTATION PSEUDO-MASK WINDOW 0-80 HU %".chars().filter(|character| *character != ' ') {
            assert_ne!(glyph(character), [0; ROWS], "{character}");
        }
    }

    #[test]
    fn dots_stay_within_the_width() {
        assert_eq!((width(""), width("8"), width("88")), (0, 6, 14));
        assert!(dots("88%").all(|[row, column]| row + DOT <= ROWS * DOT && column + DOT <= width("88%")));
    }
}
