//! `<ns>_events`: what machines have recorded. Rows are only ever added; a removal is that of the process.

use super::{
    columns::{Columns, Needed},
    metadata::format_version,
    timestamp::timestamp,
    value::{bytea, integer, required_text, text},
};
use crate::{
    change::{Change, InvalidRow, Notification, Relation, Trouble},
    source::Table,
};

const NEEDED: [Needed; 5] = [
    Needed { name: "process_id", type_name: "varchar(256)", type_oids: &[25, 1043] },
    Needed { name: "event_id", type_name: "smallint", type_oids: &[20, 21, 23] },
    Needed { name: "timestamp", type_name: "timestamptz", type_oids: &[1184] },
    Needed { name: "metadata", type_name: "jsonb", type_oids: &[3802] },
    Needed { name: "payload", type_name: "bytea", type_oids: &[17] },
];

/// The events of a namespace.
pub(super) struct Events {
    columns: Columns<5>,
}

impl Events {
    pub(super) fn bind(namespace: &str, relation: &Relation) -> Result<Self, Trouble> {
        Ok(Self { columns: Columns::bind(namespace, relation, &NEEDED)? })
    }
}

impl Table for Events {
    fn interpret<'a>(&self, change: &Change<'a>) -> Result<Option<Notification<'a>>, InvalidRow> {
        let Change::Insert { new } = change else { return Ok(None) };
        let [process_id, event_id, created_at, metadata, payload] = self.columns.of(*new)?;
        Ok(Some(Notification::MachineEvent {
            machine_id: required_text("process_id", process_id)?,
            event_id: integer("event_id", event_id)?,
            created_at: timestamp("timestamp", created_at)?,
            format_version: format_version(metadata)?,
            payload: bytea("payload", payload)?,
        }))
    }

    fn key<'a>(&self, change: &Change<'a>) -> Option<&'a [u8]> {
        let row = match change {
            Change::Insert { new } | Change::Update { new, .. } => *new,
            Change::Delete { old } => old.tuple(),
        };
        let [process_id, ..] = self.columns.of(row).ok()?;
        text(process_id)
    }
}
