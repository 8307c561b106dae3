//! As much of Python's pickles as a state dictionary of PyTorch needs: nothing is imported, called or executed; what has no
//! meaning here becomes [`Value::Other`].
//!
//! Source: the protocol of Python's `pickletools`; the names that `torch.save` writes.

#![allow(clippy::wildcard_enum_match_arm, reason = "a value is what is asked for, or nothing that matters")]

use std::collections::HashMap;

/// A value of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    /// An integer of more than 64 bits.
    Large,
    Text(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dictionary(Vec<(Value, Value)>),
    /// A name of a module, and in it.
    Name(String),
    /// Numbers that lie elsewhere.
    Storage(String, Kind),
    Tensor(TensorView),
    /// Anything that says nothing about weights.
    Other,
}

/// What a storage holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    F16,
    Bf16,
    F64,
    /// Not floating-point numbers, of so many bytes.
    Whole(usize),
}

impl Kind {
    fn of_torch(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("torch.")?.strip_suffix("Storage")? {
            "Float" => Self::F32,
            "Half" => Self::F16,
            "BFloat16" => Self::Bf16,
            "Double" => Self::F64,
            "Long" => Self::Whole(8),
            "Int" => Self::Whole(4),
            "Short" => Self::Whole(2),
            "Char" | "Byte" | "Bool" => Self::Whole(1),
            _ => return None,
        })
    }

    pub(super) fn of_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "F64" => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of a number.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F64 => 8,
            Self::Whole(bytes) => bytes,
        }
    }

    /// The numbers of a storage, little endian; `None` if they are no floating-point numbers.
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "f64 is rounded to f32")]
    pub(super) fn numbers(self, bytes: &[u8]) -> Option<Vec<f32>> {
        Some(match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect(),
            Self::F64 => bytes.as_chunks().0.iter().map(|number| f64::from_le_bytes(*number) as f32).collect(),
            Self::F16 => bytes.as_chunks().0.iter().map(|number| half::f16::from_le_bytes(*number).to_f32()).collect(),
            Self::Bf16 => {
                bytes.as_chunks().0.iter().map(|number| half::bf16::from_le_bytes(*number).to_f32()).collect()
            }
            Self::Whole(_) => return None,
        })
    }
}

/// An array: a part of a storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorView {
    pub(super) key: String,
    pub(super) kind: Kind,
    offset: usize,
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
}

impl TensorView {
    /// The numbers of the array, row major; `None` if it reaches beyond the storage.
    pub(super) fn gather(&self, storage: &[f32]) -> Option<Vec<f32>> {
        let count = self.shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side))?;
        if count > storage.len() {
            return None;
        }
        let at = |index: usize| {
            let mut rest = index;
            let mut place = self.offset;
            for (side, stride) in self.shape.iter().zip(&self.strides).rev() {
                place = place.checked_add((rest % side).checked_mul(*stride)?)?;
                rest /= side;
            }
            storage.get(place).copied()
        };
        (0..count).map(at).collect()
    }
}

/// The value of a pickle, and the bytes behind it.
pub(super) fn load(bytes: &[u8]) -> Result<(Value, &[u8]), String> {
    let mut machine = Machine { rest: bytes, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        let [code] = machine.take::<1>()?;
        if code == b'.' {
            return Ok((machine.pop()?, machine.rest));
        }
        machine.step(code)?;
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<'a> Machine<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or("the pickle ends early")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("the pickle ends early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_text(&mut self, length: usize) -> Result<(), String> {
        let text = String::from_utf8_lossy(self.take_bytes(length)?).into_owned();
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let length = self.rest.iter().position(|byte| *byte == b'\n').ok_or("the pickle ends early")?;
        let line = String::from_utf8_lossy(self.take_bytes(length)?).into_owned();
        self.take::<1>()?;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "the pickle takes what is not there".to_owned())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or("the pickle takes what is not there")?))
    }

    fn tuple(&mut self, length: usize) -> Result<(), String> {
        let start = self.stack.len().checked_sub(length).ok_or("the pickle takes what is not there")?;
        let items = self.stack.split_off(start);
        self.stack.push(Value::Tuple(items));
        Ok(())
    }

    fn set(&mut self, items: Vec<Value>) {
        if let Some(Value::Dictionary(entries)) = self.stack.last_mut() {
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                entries.push((key, value));
            }
        }
    }

    fn append(&mut self, items: Vec<Value>) {
        if let Some(Value::List(entries)) = self.stack.last_mut() {
            entries.extend(items);
        }
    }

    fn put(&mut self, place: u32) -> Result<(), String> {
        let value = self.stack.last().ok_or("the pickle takes what is not there")?.clone();
        self.memo.insert(place, value);
        Ok(())
    }

    fn get(&mut self, place: u32) -> Result<(), String> {
        self.stack.push(self.memo.get(&place).ok_or("the pickle takes what is not there")?.clone());
        Ok(())
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            0x80 => drop(self.take::<1>()?),
            // Frames of protocol 4 only help to read ahead.
            0x95 => drop(self.take::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            // Taken off; and what is added to an object beside its content.
            b'0' | b'b' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'}' => self.stack.push(Value::Dictionary(Vec::new())),
            b']' => self.stack.push(Value::List(Vec::new())),
            b')' => self.stack.push(Value::Tuple(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.stack.push(Value::Tuple(items));
            }
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![key, value]);
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(items);
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item]);
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items);
            }
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
            b'G' => {
                self.take::<8>()?;
                self.stack.push(Value::Other);
            }
            b'J' => {
                let number = i32::from_le_bytes(self.take()?);
                self.stack.push(Value::Integer(number.into()));
            }
            b'K' => {
                let [number] = self.take()?;
                self.stack.push(Value::Integer(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.take()?);
                self.stack.push(Value::Integer(number.into()));
            }
            0x8a => {
                let [length] = self.take()?;
                let bytes = self.take_bytes(length.into())?;
                self.stack.push(integer(bytes));
            }
            b'X' => {
                let length = u32::from_le_bytes(self.take()?);
                self.take_text(usize::try_from(length).unwrap_or(usize::MAX))?;
            }
            0x8c => {
                let [length] = self.take()?;
                self.take_text(length.into())?;
            }
            b'q' => {
                let [place] = self.take()?;
                self.put(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.take()?);
                self.put(place)?;
            }
            0x94 => self.put(u32::try_from(self.memo.len()).unwrap_or(u32::MAX))?,
            b'h' => {
                let [place] = self.take()?;
                self.get(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.take()?);
                self.get(place)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Name(format!("{module}.{name}")));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                self.stack.push(match (module, name) {
                    (Value::Text(module), Value::Text(name)) => Value::Name(format!("{module}.{name}")),
                    _ => Value::Other,
                });
            }
            b'Q' => {
                let value = storage(self.pop()?);
                self.stack.push(value);
            }
            b'R' | 0x81 => {
                let (arguments, called) = (self.pop()?, self.pop()?);
                self.stack.push(rebuilt(called, arguments));
            }
            _ => return Err(format!("a pickle with the code {code:#04x}: no plain state dictionary")),
        }
        Ok(())
    }
}

/// An integer, little endian in two's complement.
fn integer(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
    let mut wide = [if negative { 0xFF } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(start) => start.copy_from_slice(bytes),
        None => return Value::Large,
    }
    Value::Integer(i64::from_le_bytes(wide))
}

/// `('storage', kind, key, device, length)`.
fn storage(value: Value) -> Value {
    let Value::Tuple(parts) = value else { return Value::Other };
    match &parts[..] {
        [_, Value::Name(kind), Value::Text(key), ..] => {
            Kind::of_torch(kind).map_or(Value::Other, |kind| Value::Storage(key.clone(), kind))
        }
        _ => Value::Other,
    }
}

/// What a call would make.
fn rebuilt(called: Value, arguments: Value) -> Value {
    let (Value::Name(name), Value::Tuple(arguments)) = (called, arguments) else { return Value::Other };
    match (name.as_str(), &arguments[..]) {
        ("collections.OrderedDict", _) => Value::Dictionary(Vec::new()),
        ("torch._utils._rebuild_parameter", [tensor, ..]) => tensor.clone(),
        (
            "torch._utils._rebuild_tensor_v2",
            [Value::Storage(key, kind), Value::Integer(offset), Value::Tuple(shape), Value::Tuple(strides), ..],
        ) => {
            let number = |value: &Value| match value {
                Value::Integer(number) => usize::try_from(*number).ok(),
                _ => None,
            };
            let numbers = |values: &[Value]| values.iter().map(number).collect::<Option<Vec<usize>>>();
            match (usize::try_from(*offset), numbers(shape), numbers(strides)) {
                (Ok(offset), Some(shape), Some(strides)) if shape.len() == strides.len() && !shape.contains(&0) => {
                    Value::Tensor(TensorView { key: key.clone(), kind: *kind, offset, shape, strides })
                }
                _ => Value::Other,
            }
        }
        _ => Value::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_read() {
        // pickle.dumps({"a": (1, 300, -7), "b": [2 ** 70]}, protocol=2)
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01M,\x01J\xf9\xff\xff\xff\x87q\x02X\x01\x00\x00\x00bq\x03]q\x04\x8a\t\x00\x00\x00\x00\x00\x00\x00\x00@au.rest";
        let (value, rest) = load(bytes).unwrap();
        let text = |text: &str| Value::Text(text.to_owned());
        let tuple = Value::Tuple([1, 300, -7].map(Value::Integer).to_vec());
        let expected = vec![(text("a"), tuple), (text("b"), Value::List(vec![Value::Large]))];
        assert_eq!((value, rest), (Value::Dictionary(expected), &b"rest"[..]));
    }

    #[test]
    fn a_transposed_array_is_put_in_order_and_one_beyond_its_storage_refused() {
        let view =
            |offset| TensorView { key: String::new(), kind: Kind::F32, offset, shape: vec![3, 2], strides: vec![1, 3] };
        let storage: Vec<f32> = (0..7_u8).map(f32::from).collect();
        assert_eq!(view(1).gather(&storage), Some(vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
        assert_eq!(view(2).gather(&storage), None);
    }

    #[test]
    fn what_calls_is_not_called() {
        // os.system("x"), as a pickle would call it.
        let (value, _) = load(b"cos\nsystem\n(X\x01\x00\x00\x00xtR.").unwrap();
        assert_eq!(value, Value::Other);
        assert!(load(b"I1\n.").unwrap_err().contains("0x49"));
    }
}
