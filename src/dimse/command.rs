//! Command sets (PS3.7 annex E): implicit little endian elements of group 0000.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;
use operators::dicom::data_set;

use super::status::Status;

/// No data set follows (PS3.7 section E.1).
const NO_DATA_SET: u16 = 0x0101;

/// The operations that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// C-STORE-RQ.
    Store,
    /// C-ECHO-RQ.
    Echo,
    /// N-ACTION-RQ.
    Action,
    /// N-EVENT-REPORT-RQ.
    EventReport,
    /// Any response, by its field.
    Response(u16),
    /// Any other request, by its field.
    Other(u16),
}

impl Operation {
    const fn of(field: u16) -> Self {
        match field {
            0x0001 => Self::Store,
            0x0030 => Self::Echo,
            0x0130 => Self::Action,
            0x0100 => Self::EventReport,
            field if field & 0x8000 != 0 => Self::Response(field),
            field => Self::Other(field),
        }
    }

    /// Its Command Field.
    #[must_use]
    pub const fn field(self) -> u16 {
        match self {
            Self::Store => 0x0001,
            Self::Echo => 0x0030,
            Self::Action => 0x0130,
            Self::EventReport => 0x0100,
            Self::Response(field) | Self::Other(field) => field,
        }
    }
}

/// What a command set says, as far as this program asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What is asked.
    pub operation: Operation,
    /// The message that it is, or that it responds to.
    pub message: u16,
    /// Whether a data set follows.
    pub has_data: bool,
    /// Affected or requested SOP Class UID.
    pub class: String,
    /// Affected or requested SOP Instance UID.
    pub instance: String,
    /// Event or action.
    pub kind: Option<u16>,
    /// The status of a response.
    pub status: Option<u16>,
}

impl Command {
    /// A request.
    #[must_use]
    pub fn request(operation: Operation, message: u16, class: &str, instance: &str) -> Self {
        let (class, instance) = (class.to_owned(), instance.to_owned());
        Self { operation, message, has_data: false, class, instance, kind: None, status: None }
    }

    /// Reads a command set.
    ///
    /// # Errors
    ///
    /// Says what is missing.
    pub fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        if !is_flat(bytes) {
            return Err("a command set that is no row of elements");
        }
        let set =
            data_set(bytes, IMPLICIT_VR_LITTLE_ENDIAN.uid()).map_err(|_| "a command set that cannot be parsed")?;
        let number = |tag: Tag| set.get(tag).and_then(|element| element.value().to_int::<u16>().ok());
        let text = |tags: [Tag; 2]| {
            let found = tags.into_iter().find_map(|tag| set.get(tag)?.value().to_str().ok());
            found.map(|text| text.trim_matches(['\0', ' ']).to_owned()).unwrap_or_default()
        };
        let operation = Operation::of(number(tags::COMMAND_FIELD).ok_or("a command set without Command Field")?);
        let message = match operation {
            Operation::Response(_) => number(tags::MESSAGE_ID_BEING_RESPONDED_TO),
            _ => number(tags::MESSAGE_ID),
        };
        Ok(Self {
            operation,
            message: message.ok_or("a command set without Message ID")?,
            has_data: number(tags::COMMAND_DATA_SET_TYPE).ok_or("a command set without Command Data Set Type")?
                != NO_DATA_SET,
            class: text([tags::AFFECTED_SOP_CLASS_UID, tags::REQUESTED_SOP_CLASS_UID]),
            instance: text([tags::AFFECTED_SOP_INSTANCE_UID, tags::REQUESTED_SOP_INSTANCE_UID]),
            kind: number(tags::ACTION_TYPE_ID).or_else(|| number(tags::EVENT_TYPE_ID)),
            status: number(tags::STATUS),
        })
    }

    /// The bytes of the response to a request.
    ///
    /// # Errors
    ///
    /// Says that it has no form.
    pub(super) fn response(&self, status: &Status) -> Result<Vec<u8>, &'static str> {
        let mut elements = vec![
            number(tags::COMMAND_FIELD, self.operation.field() | 0x8000),
            number(tags::MESSAGE_ID_BEING_RESPONDED_TO, self.message),
            number(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET),
            number(tags::STATUS, status.code),
        ];
        elements.extend(uid(tags::AFFECTED_SOP_CLASS_UID, &self.class));
        elements.extend(uid(tags::AFFECTED_SOP_INSTANCE_UID, &self.instance));
        if let Some(comment) = &status.comment {
            elements.push(DataElement::new(tags::ERROR_COMMENT, VR::LO, PrimitiveValue::from(comment.as_str())));
        }
        match (self.operation, self.kind) {
            (Operation::Action, Some(kind)) => elements.push(number(tags::ACTION_TYPE_ID, kind)),
            (Operation::EventReport, Some(kind)) => elements.push(number(tags::EVENT_TYPE_ID, kind)),
            _ => {}
        }
        write(elements)
    }

    /// The bytes of the request that it is.
    ///
    /// # Errors
    ///
    /// Says that it has no form.
    pub fn write(&self) -> Result<Vec<u8>, &'static str> {
        let mut elements = vec![
            number(tags::COMMAND_FIELD, self.operation.field()),
            number(tags::MESSAGE_ID, self.message),
            number(tags::COMMAND_DATA_SET_TYPE, if self.has_data { 0x0001 } else { NO_DATA_SET }),
        ];
        if self.operation == Operation::Store {
            elements.push(number(tags::PRIORITY, 0));
        }
        let (class, instance) = match self.operation {
            Operation::Action => (tags::REQUESTED_SOP_CLASS_UID, tags::REQUESTED_SOP_INSTANCE_UID),
            _ => (tags::AFFECTED_SOP_CLASS_UID, tags::AFFECTED_SOP_INSTANCE_UID),
        };
        elements.extend(uid(class, &self.class));
        elements.extend(uid(instance, &self.instance));
        match (self.operation, self.kind) {
            (Operation::Action, Some(kind)) => elements.push(number(tags::ACTION_TYPE_ID, kind)),
            (_, Some(kind)) => elements.push(number(tags::EVENT_TYPE_ID, kind)),
            (_, None) => {}
        }
        write(elements)
    }
}

/// Whether these are elements of group 0000, one behind the other. None of them holds others, so that a parser that goes
/// as deep as its input does not go deep.
fn is_flat(mut bytes: &[u8]) -> bool {
    while let [0, 0, _, _, a, b, c, d, rest @ ..] = bytes {
        let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        let Some((_, behind)) = rest.split_at_checked(length) else { return false };
        bytes = behind;
    }
    bytes.is_empty()
}

type Element = DataElement<InMemDicomObject>;

fn number(tag: Tag, value: u16) -> Element {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

fn uid(tag: Tag, value: &str) -> Option<Element> {
    (!value.is_empty()).then(|| DataElement::new(tag, VR::UI, PrimitiveValue::from(value)))
}

fn write(elements: Vec<Element>) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    let set = InMemDicomObject::command_from_element_iter(elements);
    set.write_dataset_with_ts(&mut bytes, &IMPLICIT_VR_LITTLE_ENDIAN.erased())
        .map_err(|_| "a command set that has no form")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_and_its_response_belongs_to_it() {
        for operation in [Operation::Store, Operation::Echo, Operation::Action, Operation::EventReport] {
            let request = Command {
                has_data: operation == Operation::Store,
                kind: matches!(operation, Operation::Action | Operation::EventReport).then_some(1),
                ..Command::request(operation, 7, "1.2.840.10008.1.1", "1.2.3")
            };
            let bytes = request.write().expect("a form");
            assert_eq!(Command::read(&bytes), Ok(request.clone()));
            let status = Status::failure(0xA700, "the disk is full");
            let response = Command::read(&request.response(&status).expect("a form")).expect("a command set");
            assert_eq!(response.operation, Operation::Response(operation.field() | 0x8000));
            assert_eq!((response.message, response.status, response.has_data), (7, Some(0xA700), false));
            assert_eq!((response.class, response.instance), (request.class, request.instance));
        }
    }

    #[test]
    fn what_is_no_command_set_is_told_apart() {
        assert!(Command::read(b"").is_err());
        assert!(Command::read(&[0xFF; 40]).is_err());
        let mut cut = Command::request(Operation::Echo, 1, "1.2", "").write().expect("a form");
        cut.truncate(20);
        assert!(Command::read(&cut).is_err());
    }

    #[test]
    fn a_command_set_that_a_parser_would_read_from_another_place_is_refused() {
        // Five bytes of numbers of four: what stands behind them would be read from one byte too early.
        let part = b"\0\0\0\0\x05\0\0\0\x01\x02\x03\x04\x05";
        let bytes = [&part[..], &Command::request(Operation::Echo, 1, "1.2", "").write().expect("a form")].concat();
        assert_eq!(Command::read(&bytes), Err("a command set that cannot be parsed"));
    }

    #[test]
    fn a_command_set_that_nests_is_refused_before_it_is_parsed() {
        let mut nested = Command::request(Operation::Echo, 1, "1.2", "").write().expect("a form");
        for _ in 0..4000 {
            nested.extend_from_slice(b"\x08\x00\x40\x11\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF");
        }
        assert_eq!(Command::read(&nested), Err("a command set that is no row of elements"));
    }
}
