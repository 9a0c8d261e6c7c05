//! Writing values in Erlang's External Term Format, the way back for what the reading side gives.

use cdc_notifier::encoding::mg_proto::read::Value;

/// How a term is written where the format leaves a choice. Each bit makes one choice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    pub(crate) choices: u32,
}

impl Style {
    /// Takes the next choice of so many.
    fn choose(&mut self, of: u32) -> u32 {
        // A small linear congruential generator: only variety is wanted.
        let choice = (self.choices >> 16) % of;
        if self.choices != 0 {
            self.choices = self.choices.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        }
        choice
    }
}

/// The payload of a value as `term_to_binary/1` writes it today.
pub(crate) fn payload(value: &Value) -> Vec<u8> {
    styled(value, Style::default())
}

/// The payload of a value in a style.
pub(crate) fn styled(value: &Value, mut style: Style) -> Vec<u8> {
    let mut out = vec![131];
    put(value, &mut style, &mut out);
    out
}

fn put(value: &Value, style: &mut Style, out: &mut Vec<u8>) {
    match style.choose(4) {
        3 => out.extend([105, 0, 0, 0, 2]),
        _ => out.extend([104, 2]),
    }
    match value {
        Value::Nil => {
            atom("nl", style, out);
            let extra = style.choose(3);
            out.extend([104, 1 + u8::try_from(extra).unwrap()]);
            atom("mg_msgpack_Nil", style, out);
            for _ in 0..extra {
                // [{a, <<1>>}, #{} | tail] is dropped.
                out.extend([108, 0, 0, 0, 2, 104, 2, 119, 1, b'a', 109, 0, 0, 0, 1, 1, 116, 0, 0, 0, 0, 97, 1]);
            }
        }
        Value::Bool(value) => {
            atom("b", style, out);
            atom(if *value { "true" } else { "false" }, style, out);
        }
        Value::Int(number) => {
            atom("i", style, out);
            integer(*number, style, out);
        }
        Value::Float(number) => {
            atom("flt", style, out);
            out.push(70);
            out.extend(number.to_be_bytes());
        }
        Value::Str(bytes) => {
            atom("str", style, out);
            binary(bytes, style, out);
        }
        Value::Bin(bytes) => {
            atom("bin", style, out);
            binary(bytes, style, out);
        }
        Value::Arr(values) => {
            atom("arr", style, out);
            list(values, style, out);
        }
        Value::Obj(entries) => {
            atom("obj", style, out);
            out.push(116);
            out.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
            for (key, value) in entries {
                put(key, style, out);
                put(value, style, out);
            }
        }
    }
}

fn atom(name: &str, style: &mut Style, out: &mut Vec<u8>) {
    let length = u8::try_from(name.len()).unwrap();
    match style.choose(4) {
        1 => out.extend([100, 0, length]),
        2 => out.extend([118, 0, length]),
        3 => out.extend([115, length]),
        _ => out.extend([119, length]),
    }
    out.extend(name.as_bytes());
}

fn integer(number: i64, style: &mut Style, out: &mut Vec<u8>) {
    match (style.choose(4), u8::try_from(number), i32::try_from(number)) {
        (0, Ok(byte), _) => out.extend([97, byte]),
        (0 | 1, _, Ok(number)) => {
            out.push(98);
            out.extend(number.to_be_bytes());
        }
        (choice, ..) => {
            if choice == 3 {
                out.extend([111, 0, 0, 0, 11]);
            } else {
                out.extend([110, 8]);
            }
            out.push(u8::from(number < 0));
            out.extend(number.unsigned_abs().to_le_bytes());
            if choice == 3 {
                out.extend([0, 0, 0]);
            }
        }
    }
}

fn binary(bytes: &[u8], style: &mut Style, out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    if !bytes.is_empty() && style.choose(4) == 1 {
        out.push(77);
        out.extend(length);
        out.push(8);
    } else {
        out.push(109);
        out.extend(length);
    }
    out.extend(bytes);
}

fn list(values: &[Value], style: &mut Style, out: &mut Vec<u8>) {
    // A list may be written in pieces, each the tail of the one before.
    let cut = if style.choose(4) == 1 { values.len() / 2 } else { values.len() };
    let (first, second) = values.split_at(cut);
    for piece in [first, second] {
        if !piece.is_empty() || style.choose(8) == 1 {
            out.push(108);
            out.extend(u32::try_from(piece.len()).unwrap().to_be_bytes());
            for value in piece {
                put(value, style, out);
            }
        }
    }
    match style.choose(4) {
        1 => out.extend([107, 0, 0]),
        _ => out.push(106),
    }
}
