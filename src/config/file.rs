//! From a file's text to its values, in three formats, with bounds the formats lack: size, depth, no key twice.

use std::{collections::HashSet, fmt, fs::File, io::Read as _, path::Path};

use config::{FileFormat, Format as _};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use yaml_rust2::{
    parser::{Event, Parser},
    scanner::Marker,
};

use super::{
    error::{Place, Wrong},
    tree::Tree,
};

/// Bytes of a configuration; 65,535 namespaces need a fifth of it.
const MAX_SIZE: u64 = 64 << 20;

/// Nested tables and lists of a YAML file. The other parsers have such a limit of their own.
const MAX_DEPTH: usize = 64;

/// Reads and parses a file by its extension.
pub(super) fn read(path: &Path) -> Result<Tree, Wrong> {
    let format = format(path)?;
    parse(format, &text(path)?)
}

fn format(path: &Path) -> Result<FileFormat, Wrong> {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("toml") => Ok(FileFormat::Toml),
        Some("yaml" | "yml") => Ok(FileFormat::Yaml),
        Some("json") => Ok(FileFormat::Json),
        Some("config") => Err(Wrong::new(
            Place::File,
            "an Erlang sys.config: not in this version",
            "write the same settings as TOML, see config/reference.toml",
        )),
        _ => Err(Wrong::new(
            Place::File,
            "its name does not say its format",
            "name it so that it ends in .toml, .yaml, .yml or .json",
        )),
    }
}

fn text(path: &Path) -> Result<String, Wrong> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(Wrong::new(
            Place::File,
            format!("cannot be read: {error}"),
            "name a readable file with --config or CDC_NOTIFIER_CONFIG",
        )),
        Ok(size) if size as u64 > MAX_SIZE => Err(Wrong::new(
            Place::File,
            "larger than 64 MiB",
            "name a configuration file with --config or CDC_NOTIFIER_CONFIG",
        )),
        Ok(_) => String::from_utf8(bytes).map_err(|error| {
            let (line, column) = position(error.as_bytes(), error.utf8_error().valid_up_to());
            Wrong::new(Place::Position(line, column), "not UTF-8", "save the file as UTF-8")
        }),
    }
}

/// Parses a text. Never shows any of it: the wrong line may hold a secret.
pub(super) fn parse(format: FileFormat, text: &str) -> Result<Tree, Wrong> {
    match format {
        FileFormat::Yaml => check_yaml(text)?,
        FileFormat::Json => check_json(text)?,
        _ => {}
    }
    match format.parse(None, text) {
        Ok(table) => Ok(Tree::Table(table.into_iter().map(|(key, value)| (key, value.into())).collect())),
        Err(_) if format == FileFormat::Toml => Err(toml_error(text)),
        Err(_) => Err(Wrong::new(Place::File, "not a table of keys and values", "see config/reference.toml")),
    }
}

/// Line and column, both from 1, of a byte.
fn position(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = bytes.get(..at).unwrap_or(bytes);
    before.iter().fold((1, 1), |(line, column), byte| match byte {
        b'\n' => (line + 1, 1),
        // A continuation byte of UTF-8 is no character of its own.
        0x80..=0xbf => (line, column),
        _ => (line, column + 1),
    })
}

fn toml_error(text: &str) -> Wrong {
    // The toml crate itself also places numbers that are out of range.
    let (place, message) = match toml::from_str::<toml::Table>(text) {
        Err(error) => {
            let place = error.span().map_or(Place::File, |span| {
                let (line, column) = position(text.as_bytes(), span.start);
                Place::Position(line, column)
            });
            // Its message is used as a sign only; it might quote the file.
            let message = match error.message() {
                sign if sign.starts_with("duplicate key") => "a key that was already there",
                sign if sign.contains("recurs") => "nested too deeply",
                _ => "not valid TOML",
            };
            (place, message)
        }
        Ok(_) => (Place::File, "holds a number that is out of range"),
    };
    Wrong::new(place, message, "write every key once, as key = value; text in quotes: key = \"text\"")
}

fn check_json(text: &str) -> Result<(), Wrong> {
    serde_json::from_str::<Unique>(text).map(drop).map_err(|error| {
        let place = Place::Position(error.line(), error.column());
        if error.is_data() {
            Wrong::new(place, "a key that was already there", "write every key once")
        } else {
            Wrong::new(place, "not valid JSON", "no comments, no trailing commas; keys and text in double quotes")
        }
    })
}

/// JSON in which no object has a key twice; the parser would silently take the last one.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !keys.insert(key) {
                map.next_value::<IgnoredAny>()?;
                return Err(de::Error::custom("duplicate key"));
            }
            map.next_value::<Self>()?;
        }
        Ok(self)
    }
}

/// An open table (its keys so far, and whether the next scalar is a key) or list of a YAML file.
enum Open {
    Table { keys: HashSet<String>, at_key: bool },
    List,
}

/// Walks the events of a YAML file before its values are built: the builder calls itself for each level and copies what an
/// alias stands for, so a small file could take all stack and memory.
fn check_yaml(text: &str) -> Result<(), Wrong> {
    let quote = "put values in quotes";
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<Open> = Vec::new();
    let mut documents = 0;
    loop {
        let (event, mark) = parser.next_token().map_err(|error| yaml_error(error.marker(), "not valid YAML", quote))?;
        let is_key = matches!(open.last(), Some(Open::Table { at_key: true, .. }));
        match event {
            Event::StreamEnd => return Ok(()),
            Event::DocumentStart => {
                documents += 1;
                if documents > 1 {
                    return Err(yaml_error(&mark, "a second document", "write one document in the file"));
                }
            }
            Event::Alias(_) => {
                return Err(yaml_error(&mark, "an alias (*)", "write the value out; no anchors, no aliases"));
            }
            Event::Scalar(.., Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                return Err(yaml_error(&mark, "a tag (!)", quote));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if is_key || open.len() == MAX_DEPTH => {
                let message = if is_key { "a key that is no text" } else { "nested too deeply" };
                return Err(yaml_error(&mark, message, "see config/reference.toml for the shape"));
            }
            Event::SequenceStart(..) => open.push(Open::List),
            Event::MappingStart(..) => open.push(Open::Table { keys: HashSet::new(), at_key: true }),
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
                value_done(&mut open);
            }
            Event::Scalar(value, ..) => match open.last_mut() {
                Some(Open::Table { keys, at_key }) if *at_key => {
                    if !keys.insert(value) {
                        return Err(yaml_error(&mark, "a key that was already there", "write every key once"));
                    }
                    *at_key = false;
                }
                _ => value_done(&mut open),
            },
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
        }
    }
}

/// After a value, a table takes a key.
fn value_done(open: &mut [Open]) {
    if let Some(Open::Table { at_key, .. }) = open.last_mut() {
        *at_key = true;
    }
}

fn yaml_error(mark: &Marker, message: &str, remedy: &str) -> Wrong {
    Wrong::new(Place::Position(mark.line(), mark.col() + 1), message, remedy)
}
