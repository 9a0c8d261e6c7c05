//! One JSON object a line: `timestamp`, `level`, `target`, `message`, then the fields of the spans around the event and its
//! own, all at the top, so that a log store finds `database` and `slot` wherever they were said.

use std::{collections::BTreeMap, fmt};

use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter,
        format::{JsonFields, Writer},
        time::{FormatTime as _, SystemTime},
    },
    registry::{LookupSpan, Scope},
};

/// The layer that writes such lines.
pub(super) fn layer<S, W>(writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).fmt_fields(JsonFields::new());
    Box::new(layer.event_format(Flat).with_writer(writer))
}

/// Keys that are ours. A field of that name is written as `field.<name>`, so that no key comes twice.
const RESERVED: [&str; 4] = ["timestamp", "level", "target", "message"];

struct Flat;

impl<S, N> FormatEvent<S, N> for Flat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(formatted) = span.extensions().get::<FormattedFields<N>>() {
                let spoken: Map<String, Value> = serde_json::from_str(formatted).unwrap_or_default();
                spoken.into_iter().for_each(|(name, value)| fields.put(&name, value));
            }
        }
        event.record(&mut fields);
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let target = fields.target.as_deref().unwrap_or(event.metadata().target());
        let line = write(&timestamp, event.metadata().level().as_str(), target, &fields).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

fn write(timestamp: &str, level: &str, target: &str, fields: &Fields) -> Result<String, Box<dyn std::error::Error>> {
    let mut line = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::new(&mut line);
    let mut object = serializer.serialize_map(None)?;
    object.serialize_entry("timestamp", timestamp)?;
    object.serialize_entry("level", level)?;
    object.serialize_entry("target", target)?;
    object.serialize_entry("message", &fields.message)?;
    for (name, value) in &fields.others {
        object.serialize_entry(name, value)?;
    }
    object.end()?;
    Ok(String::from_utf8(line)?)
}

/// The fields of an event and of the spans around it; the nearest one of a name counts.
#[derive(Default)]
struct Fields {
    message: String,
    /// What the `log` crate calls the target; its events all have the target `log`.
    target: Option<String>,
    others: BTreeMap<String, Value>,
}

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let name = if RESERVED.contains(&name) { format!("field.{name}") } else { name.to_owned() };
        self.others.insert(name, value);
    }

    fn put_text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            "log.target" => self.target = Some(text),
            // Where in the source of a library a line of the log was written.
            name if name.starts_with("log.") => {}
            name => self.put(name, Value::String(text)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // NaN and the infinities become null.
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        // The `log` crate's line number is no text.
        if !field.name().starts_with("log.") {
            self.put(field.name(), value.into());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, format!("{value:?}"));
    }
}
