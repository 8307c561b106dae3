//! Protocol data units from and to a stream (PS3.8 section 9.3).
//!
//! P-DATA-TF is taken apart here, value by value, so that a data set goes where it is kept without a copy. All others are
//! read and written by `dicom-ul`.

use std::time::Duration;

use dicom_ul::pdu::{self, PDataValue, PDataValueType, Pdu};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

use super::stream::Stream;

/// Bytes of a unit that carries no data at most: an association request with 128 contexts takes a tenth of it.
const LONGEST: u32 = 1 << 20;
/// The type of P-DATA-TF.
const P_DATA: u8 = 4;
/// Bytes before the value of a presentation data value, its own length not counted.
const PDV_HEAD: u32 = 2;

/// Why an association cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("a protocol data unit of {0} bytes")]
    TooLong(u32),
    #[error("a protocol data unit that cannot be read: {0}")]
    Malformed(String),
    #[error("{0}")]
    Protocol(&'static str),
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// A part of a message: its head; the bytes follow.
    Value(ValueHead),
    /// Anything else.
    Unit(Box<Pdu>),
    /// The other side closed the connection between two units.
    Closed,
}

/// The head of a presentation data value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueHead {
    pub(super) context: u8,
    pub(super) is_command: bool,
    pub(super) is_last: bool,
    /// Bytes that follow.
    pub(super) bytes: u32,
}

/// A stream of protocol data units.
pub(super) struct Units<S> {
    stream: BufReader<S>,
    /// Bytes of the current P-DATA-TF that were not read.
    left: u32,
    /// Bytes of a P-DATA-TF that were announced as the most.
    max_pdu: u32,
    /// How long the other side may be silent.
    patience: Duration,
}

impl<S: Stream> Units<S> {
    pub(super) fn new(stream: S, max_pdu: u32, patience: Duration) -> Self {
        Self { stream: BufReader::with_capacity(1 << 16, stream), left: 0, max_pdu, patience }
    }

    /// Waits for what comes next.
    pub(super) async fn next(&mut self) -> Result<Next, Broken> {
        let patience = self.patience;
        tokio::time::timeout(patience, self.step()).await.map_err(|_| Broken::Silent(patience))?
    }

    async fn step(&mut self) -> Result<Next, Broken> {
        while self.left == 0 {
            let mut head = [0; 6];
            if self.stream.read(&mut head[..1]).await? == 0 {
                return Ok(Next::Closed);
            }
            self.stream.read_exact(&mut head[1..]).await?;
            let [kind, _, a, b, c, d] = head;
            let length = u32::from_be_bytes([a, b, c, d]);
            if kind != P_DATA {
                return self.unit(&head, length).await;
            }
            if length > self.max_pdu {
                return Err(Broken::TooLong(length));
            }
            self.left = length;
        }
        let mut head = [0; 6];
        if self.left < 6 {
            return Err(Broken::Protocol("a P-DATA-TF that ends within the head of a value"));
        }
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, d, context, control] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length < PDV_HEAD || length > self.left - 4 {
            return Err(Broken::Protocol(
                "a presentation data value that is longer than its P-DATA-TF, or has no head",
            ));
        }
        self.left -= 4 + length;
        let (is_command, is_last) = (control & 1 == 1, control & 2 == 2);
        Ok(Next::Value(ValueHead { context, is_command, is_last, bytes: length - PDV_HEAD }))
    }

    async fn unit(&mut self, head: &[u8], length: u32) -> Result<Next, Broken> {
        if length > LONGEST {
            return Err(Broken::TooLong(length));
        }
        let mut bytes = head.to_vec();
        self.fill(&mut bytes, length).await?;
        // The parser trusts some lengths within.
        let parse = || pdu::read_pdu(bytes.as_slice(), LONGEST, true);
        let parsed = std::panic::catch_unwind(parse).map_err(|_| Broken::Protocol("a unit that breaks the parser"))?;
        match parsed.map_err(|error| Broken::Malformed(unquoted(&error.to_string())))? {
            Some(unit) => Ok(Next::Unit(Box::new(unit))),
            None => Err(Broken::Protocol("a unit that ends early")),
        }
    }

    /// Reads the bytes of a value to the end of `bytes`.
    pub(super) async fn take(&mut self, bytes: &mut Vec<u8>, count: u32) -> Result<(), Broken> {
        let patience = self.patience;
        tokio::time::timeout(patience, self.fill(bytes, count)).await.map_err(|_| Broken::Silent(patience))?
    }

    async fn fill(&mut self, bytes: &mut Vec<u8>, count: u32) -> Result<(), Broken> {
        let mut part = (&mut self.stream).take(u64::from(count));
        while part.limit() > 0 {
            if part.read_buf(bytes).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }

    /// Reads the bytes of a value and forgets them.
    pub(super) async fn skip(&mut self, count: u32) -> Result<(), Broken> {
        let patience = self.patience;
        let skip = async {
            let mut part = (&mut self.stream).take(u64::from(count));
            let skipped = tokio::io::copy(&mut part, &mut tokio::io::sink()).await?;
            if skipped < u64::from(count) {
                return Err(Broken::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(())
        };
        tokio::time::timeout(patience, skip).await.map_err(|_| Broken::Silent(patience))?
    }

    /// Writes a unit, in one piece.
    pub(super) async fn send(&mut self, unit: &Pdu) -> Result<(), Broken> {
        let mut bytes = Vec::new();
        pdu::write_pdu(&mut bytes, unit).map_err(|error| Broken::Malformed(error.to_string()))?;
        self.write(&bytes).await
    }

    /// Writes a message without a data set, in one piece.
    pub(super) async fn send_command(&mut self, context: u8, command: Vec<u8>) -> Result<(), Broken> {
        self.send(&Pdu::PData { data: vec![value(context, PDataValueType::Command, command)] }).await
    }

    /// Writes a message with its data set, in units of at most `max_pdu` bytes.
    pub(super) async fn send_message(
        &mut self,
        context: u8,
        command: Vec<u8>,
        data: &[u8],
        max_pdu: u32,
    ) -> Result<(), Broken> {
        let part = usize::try_from(max_pdu.saturating_sub(6)).unwrap_or(usize::MAX).max(1);
        let mut bytes = Vec::with_capacity(data.len() + data.len() / part * 12 + 1024);
        let malformed = |error: pdu::WriteError| Broken::Malformed(error.to_string());
        let command = Pdu::PData { data: vec![value(context, PDataValueType::Command, command)] };
        pdu::write_pdu(&mut bytes, &command).map_err(malformed)?;
        let mut parts = data.chunks(part).peekable();
        while let Some(part) = parts.next() {
            let control = if parts.peek().is_none() { 2 } else { 0 };
            let length = u32::try_from(part.len()).map_err(|_| Broken::Protocol("a part that is too long"))?;
            bytes.extend_from_slice(&[P_DATA, 0]);
            bytes.extend_from_slice(&(length + 6).to_be_bytes());
            bytes.extend_from_slice(&(length + PDV_HEAD).to_be_bytes());
            bytes.extend_from_slice(&[context, control]);
            bytes.extend_from_slice(part);
        }
        self.write(&bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let patience = self.patience;
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        Ok(tokio::time::timeout(patience, write).await.map_err(|_| Broken::Silent(patience))??)
    }

    /// Says that nothing more comes, and waits a moment for the other side to close.
    pub(super) async fn close(&mut self) {
        // It is over: what fails now has no consequence.
        self.stream.shutdown().await.ok();
        let mut nowhere = tokio::io::sink();
        let rest = tokio::io::copy(&mut self.stream, &mut nowhere);
        tokio::time::timeout(Duration::from_secs(1), rest).await.ok();
    }
}

/// What the parser complains of, without the units that it quotes: they hold names, and may hold passwords.
fn unquoted(complaint: &str) -> String {
    complaint.split(['(', '{', '[', '"']).next().unwrap_or_default().trim_end().to_owned()
}

fn value(context: u8, value_type: PDataValueType, data: Vec<u8>) -> PDataValue {
    PDataValue { presentation_context_id: context, value_type, is_last: true, data }
}
