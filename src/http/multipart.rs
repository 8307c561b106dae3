//! Takes a multipart body apart as it comes (RFC 2046 section 5.1), without a socket and a clock.
//!
//! ```text
//! preamble CRLF --boundary CRLF head CRLF CRLF content CRLF --boundary ... CRLF --boundary-- epilogue
//! ```
//!
//! What is held is what was fed last. Contents are any bytes, but for the boundary at the beginning of a line.

use super::media_type::MediaType;

/// Bytes of the head of a part at most.
const LONGEST_HEAD: usize = 16 << 10;
/// Characters of a boundary at most.
const LONGEST_BOUNDARY: usize = 70;

/// What comes next in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes must be fed.
    More,
    /// A part begins, and says that it is of this type.
    Begun(Option<MediaType>),
    /// The content of the part is whole.
    Whole,
    /// The body has ended.
    End,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a boundary, in its line.
    Boundary,
    Head,
    Content,
    Ended,
}

/// A body that is being taken apart.
#[derive(Debug)]
pub(super) struct Splitter {
    /// The end of a line, two hyphens, and the boundary.
    delimiter: Vec<u8>,
    held: Vec<u8>,
    state: State,
}

impl Splitter {
    /// A splitter at a boundary; `None` if it cannot be one.
    pub(super) fn new(boundary: &str) -> Option<Self> {
        let legal =
            (1..=LONGEST_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(|b| (b' '..=b'~').contains(&b));
        // The first boundary may stand at the beginning, as if a line had ended before.
        let held = b"\r\n".to_vec();
        legal.then(|| Self { delimiter: format!("\r\n--{boundary}").into_bytes(), held, state: State::Preamble })
    }

    /// Takes what came.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.state != State::Ended {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Goes on as far as can be. What belongs to the content of the part is appended to `content`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the body.
    pub(super) fn step(&mut self, content: &mut Vec<u8>) -> Result<Step, Malformed> {
        loop {
            match self.state {
                State::Preamble => {
                    if !self.pass(None) {
                        return Ok(Step::More);
                    }
                    self.state = State::Boundary;
                }
                State::Boundary => match self.line()? {
                    None => return Ok(Step::More),
                    Some(state) => self.state = state,
                },
                State::Head => {
                    let Some(head) = self.head()? else { return Ok(Step::More) };
                    self.state = State::Content;
                    return Ok(Step::Begun(head));
                }
                State::Content => {
                    if !self.pass(Some(content)) {
                        return Ok(Step::More);
                    }
                    self.state = State::Boundary;
                    return Ok(Step::Whole);
                }
                State::Ended => return Ok(Step::End),
            }
        }
    }

    /// Gives what stands before the next delimiter, and says whether the delimiter was there and is passed.
    fn pass(&mut self, content: Option<&mut Vec<u8>>) -> bool {
        let (at, whole) = seek(&self.held, &self.delimiter);
        if let Some(content) = content {
            content.extend_from_slice(self.held.get(..at).unwrap_or_default());
        }
        self.held.drain(..if whole { at + self.delimiter.len() } else { at });
        whole
    }

    /// Reads the rest of the line of a boundary: what comes behind it. The end of the line is left, since the head may be
    /// empty.
    fn line(&mut self) -> Result<Option<State>, Malformed> {
        if self.held.starts_with(b"--") {
            self.held = Vec::new();
            return Ok(Some(State::Ended));
        }
        let padding = self.held.iter().take_while(|b| [b' ', b'\t'].contains(b)).count();
        if padding > LONGEST_HEAD {
            return Err(Malformed("a line that is too long"));
        }
        match self.held.get(padding..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {
                self.held.drain(..padding);
                Ok(Some(State::Head))
            }
            [] | [b'\r'] => Ok(None),
            [b'-'] if padding == 0 => Ok(None),
            _ => Err(Malformed("a boundary with something behind it")),
        }
    }

    /// Reads the head of a part, up to the empty line.
    fn head(&mut self) -> Result<Option<Option<MediaType>>, Malformed> {
        let end = self.held.windows(4).take(LONGEST_HEAD).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else {
            let long = self.held.len() > LONGEST_HEAD;
            return if long { Err(Malformed("the head of a part is too long")) } else { Ok(None) };
        };
        let media = media_type(self.held.get(..end).unwrap_or_default());
        self.held.drain(..end + 4);
        Ok(Some(media))
    }
}

/// The type that the head of a part names.
fn media_type(head: &[u8]) -> Option<MediaType> {
    let head = String::from_utf8_lossy(head);
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-type"))?;
    MediaType::parse(value)
}

/// The first byte at which the delimiter stands, or may stand once more has come; and whether it stands there.
fn seek(held: &[u8], delimiter: &[u8]) -> (usize, bool) {
    let mut from = 0;
    while let Some(step) = held.get(from..).unwrap_or_default().iter().position(|b| *b == b'\r') {
        let rest = held.get(from + step..).unwrap_or_default();
        if rest.starts_with(delimiter) || delimiter.starts_with(rest) {
            return (from + step, rest.len() >= delimiter.len());
        }
        from += step + 1;
    }
    (held.len(), false)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const BOUNDARY: &str = "b-1";

    /// A body with these contents.
    fn body(contents: &[Vec<u8>], preamble: &[u8]) -> Vec<u8> {
        let mut body = preamble.to_vec();
        for content in contents {
            body.extend_from_slice(
                format!("\r\n--{BOUNDARY} \t\r\nContent-Type: application/dicom\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(content);
        }
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\nepilogue").as_bytes());
        body
    }

    /// Takes a body apart that comes in chunks of these sizes, in turn.
    fn split(body: &[u8], sizes: &[usize]) -> Result<(Vec<Vec<u8>>, bool), Malformed> {
        let mut splitter = Splitter::new(BOUNDARY).expect("a boundary");
        let (mut parts, mut content, mut rest) = (Vec::new(), Vec::new(), body);
        let mut sizes = sizes.iter().copied().cycle();
        loop {
            match splitter.step(&mut content)? {
                Step::More if rest.is_empty() => return Ok((parts, false)),
                Step::More => {
                    let (chunk, behind) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
                    splitter.feed(chunk);
                    rest = behind;
                }
                Step::Begun(_) => assert!(content.is_empty(), "content before its part"),
                Step::Whole => parts.push(std::mem::take(&mut content)),
                Step::End => return Ok((parts, true)),
            }
        }
    }

    /// Contents that look much like the boundary, and do not hold it.
    fn contents() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let piece = prop_oneof![
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\r\n--b".to_vec()),
            Just(b"--b-1".to_vec()),
            Just(b"\r\n\r\n".to_vec()),
            vec(any::<u8>(), 0..20),
        ];
        let content = vec(piece, 0..8).prop_map(|pieces| pieces.concat());
        let sound = |content: &Vec<u8>| {
            let delimiter = format!("\r\n--{BOUNDARY}").into_bytes();
            !content.windows(delimiter.len()).any(|window| window == delimiter)
        };
        vec(content.prop_filter("no boundary", sound), 0..5)
    }

    proptest! {
        #[test]
        fn parts_come_back_however_the_body_is_cut(contents in contents(), sizes in vec(1_usize..40, 1..6)) {
            for preamble in [&b""[..], b"preamble", b"\r\n--b"] {
                let body = body(&contents, preamble);
                prop_assert_eq!(split(&body, &sizes), Ok((contents.clone(), true)));
            }
        }

        #[test]
        fn a_body_that_is_cut_off_has_no_end_and_no_part_of_a_part(contents in contents(), cut in any::<prop::sample::Index>()) {
            let body = body(&contents, b"");
            let end = body.len() - b"-\r\nepilogue".len();
            let (parts, ended) = split(&body[..cut.index(end)], &[7]).expect("sound as far as it goes");
            prop_assert!(!ended);
            prop_assert_eq!(&parts[..], &contents[..parts.len()]);
        }

        #[test]
        fn any_bytes_have_an_answer_and_the_same_in_any_chunks(pieces in vec(prop_oneof![
            Just(b"\r\n--b-1".to_vec()), Just(b"--".to_vec()), Just(b"\r\n\r\n".to_vec()), vec(any::<u8>(), 0..9)
        ], 0..12), size in 1_usize..9) {
            let body = pieces.concat();
            prop_assert_eq!(split(&body, &[size]), split(&body, &[body.len().max(1)]));
        }
    }

    #[test]
    fn the_first_boundary_may_be_the_first_line() {
        let body = b"--b-1\r\nContent-Type: application/dicom\r\n\r\nabc\r\n--b-1\r\n\r\n\r\n--b-1--";
        assert_eq!(split(body, &[1]), Ok((vec![b"abc".to_vec(), Vec::new()], true)));
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let mut splitter = Splitter::new(BOUNDARY).expect("a boundary");
        splitter.feed(b"--b-1\r\n");
        splitter.feed("a".repeat(LONGEST_HEAD).as_bytes());
        assert!(splitter.step(&mut Vec::new()).is_err());
        assert!(Splitter::new("").is_none() && Splitter::new(&"a".repeat(71)).is_none());
    }
}
