//! `<ns>_processes`: the life of machines. A change of status is seen by comparing the row with the one before.

use super::{
    columns::{Columns, Needed, table},
    value::{required_text, text},
};
use crate::{
    change::{
        Change, Class, InvalidRow, Lifecycle, Notification, Old, Relation, ReplicaIdentity, Trouble, Tuple, Value,
    },
    source::Table,
};

const NEEDED: [Needed; 3] = [
    Needed { name: "process_id", type_name: "varchar(256)", type_oids: &[25, 1043] },
    Needed { name: "status", type_name: "process_status", type_oids: &[25, 1043] },
    Needed { name: "detail", type_name: "text", type_oids: &[25, 1043] },
];

/// The reason of a failure that has none.
const UNKNOWN: &[u8] = b"unknown";

/// The processes of a namespace.
pub(super) struct Processes {
    columns: Columns<3>,
    /// Every update carries the old row; under an index identity only one that changes a column of the index does.
    full: bool,
}

/// The needed columns of a row.
#[derive(Clone, Copy)]
struct Process<'a> {
    id: Value<'a>,
    status: Value<'a>,
    detail: Value<'a>,
}

impl Processes {
    pub(super) fn bind(namespace: &str, relation: &Relation) -> Result<Self, Trouble> {
        let columns = Columns::bind(namespace, relation, &NEEDED)?;
        let identity = |name| relation.columns.iter().any(|column| column.name == name && column.identity);
        let full = relation.identity == ReplicaIdentity::Full;
        let index = relation.identity == ReplicaIdentity::Index && identity("process_id") && identity("status");
        if full || index {
            return Ok(Self { columns, full });
        }
        let table = table(relation);
        Err(Trouble::new(
            Class::Publication,
            format!("the replica identity of table {table} does not carry the old status of a process"),
            format!("ALTER TABLE {table} REPLICA IDENTITY FULL;"),
        ))
    }

    fn process<'a>(&self, row: Tuple<'a>) -> Result<Process<'a>, InvalidRow> {
        let [id, status, detail] = self.columns.of(row)?;
        Ok(Process { id, status, detail })
    }

    /// The row after, and the one before as far as it is there. TOASTed columns that did not change are taken from the
    /// whole row before; the id from any, since even an id may be TOASTed.
    fn update<'a>(
        &self,
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    ) -> Result<(Process<'a>, Option<Process<'a>>), InvalidRow> {
        let mut new = self.process(new)?;
        let Some(old) = old else { return Ok((new, None)) };
        let before = self.process(old.tuple())?;
        let either = |after, before| if after == Value::Unchanged { before } else { after };
        match old {
            Old::Key(_) if text(before.id).is_some() => new.id = before.id,
            Old::Key(_) => {}
            Old::Full(_) => {
                new.id = either(new.id, before.id);
                new.detail = either(new.detail, before.detail);
            }
        }
        new.status = either(new.status, before.status);
        Ok((new, Some(before)))
    }

    fn changed<'a>(&self, old: Option<Old<'a>>, new: Tuple<'a>) -> Result<Option<Notification<'a>>, InvalidRow> {
        let (new, before) = self.update(old, new)?;
        let Some(before) = before else {
            // Only an update without a change of (process_id, status) comes alone, and only under an index identity.
            let lost = InvalidRow::new("status", "the update does not carry the row before, although it must");
            return if self.full { Err(lost) } else { Ok(None) };
        };
        let failed = |status| required_text("status", status).map(|label| label == b"error");
        let event = match (failed(before.status)?, failed(new.status)?) {
            (false, true) => Lifecycle::Failed { reason: text(new.detail).unwrap_or(UNKNOWN) },
            (true, false) => Lifecycle::Working,
            (false, false) | (true, true) => return Ok(None),
        };
        lifecycle(new.id, event).map(Some)
    }
}

fn lifecycle<'a>(id: Value<'a>, event: Lifecycle<'a>) -> Result<Notification<'a>, InvalidRow> {
    Ok(Notification::Lifecycle { machine_id: required_text("process_id", id)?, event })
}

impl Table for Processes {
    fn interpret<'a>(&self, change: &Change<'a>) -> Result<Option<Notification<'a>>, InvalidRow> {
        match *change {
            Change::Insert { new } => lifecycle(self.process(new)?.id, Lifecycle::Created).map(Some),
            Change::Update { old, new } => self.changed(old, new),
            Change::Delete { old } => lifecycle(self.process(old.tuple())?.id, Lifecycle::Removed).map(Some),
        }
    }

    fn key<'a>(&self, change: &Change<'a>) -> Option<&'a [u8]> {
        let process = match *change {
            Change::Insert { new } => self.process(new),
            Change::Update { old, new } => self.update(old, new).map(|(new, _)| new),
            Change::Delete { old } => self.process(old.tuple()),
        };
        text(process.ok()?.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Column;

    /// Columns in an order of their own, with one that is of no interest.
    fn table(identity: ReplicaIdentity) -> Processes {
        let column = |name: &str| Column { name: name.into(), identity: name != "detail", type_oid: 0 };
        let columns = ["detail", "aux_state", "process_id", "status"].map(column).into();
        let relation = Relation { oid: 1, schema: "public".into(), name: "n_processes".into(), identity, columns };
        Processes::bind("n", &relation).unwrap()
    }

    /// A row from `detail process_id status`; `-` is NULL, `~` unchanged.
    fn row(columns: &str) -> Vec<u8> {
        let mut bytes = vec![0, 4];
        for (place, column) in columns.split(' ').enumerate() {
            match column {
                "-" => bytes.push(b'n'),
                "~" => bytes.push(b'u'),
                text => {
                    bytes.push(b't');
                    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
            if place == 0 {
                bytes.push(b'u');
            }
        }
        bytes
    }

    fn tuple(row: &[u8]) -> Tuple<'_> {
        Tuple::parse(row).unwrap().0
    }

    fn failed<'a>(id: &'a str, reason: &'a str) -> Result<Option<Notification<'a>>, InvalidRow> {
        lifecycle(Value::Text(id.as_bytes()), Lifecycle::Failed { reason: reason.as_bytes() }).map(Some)
    }

    fn working(id: &str) -> Result<Option<Notification<'_>>, InvalidRow> {
        lifecycle(Value::Text(id.as_bytes()), Lifecycle::Working).map(Some)
    }

    #[test]
    fn updates_under_full() {
        let no_status = || Err(InvalidRow::new("status", "it is NULL"));
        for (old, new, expected) in [
            ("- p running", "why p error", failed("p", "why")),
            ("- p init", "why p error", failed("p", "why")),
            ("x p running", "- p error", failed("p", "unknown")),
            ("x p running", "~ p error", failed("p", "x")),
            ("- p running", "~ p error", failed("p", "unknown")),
            ("- p running", "x ~ error", failed("p", "x")),
            ("- p running", "x q error", failed("q", "x")),
            ("x p error", "- p running", working("p")),
            ("x p error", "x p init", working("p")),
            ("x p error", "y p error", Ok(None)),
            ("x p error", "x p ~", Ok(None)),
            ("- p running", "- p init", Ok(None)),
            ("- p running", "- p -", no_status()),
            ("- p -", "- p error", no_status()),
            ("- - running", "- - error", Err(InvalidRow::new("process_id", "it is NULL"))),
        ] {
            let (before, after) = (row(old), row(new));
            let change = Change::Update { old: Some(Old::Full(tuple(&before))), new: tuple(&after) };
            assert_eq!(table(ReplicaIdentity::Full).interpret(&change), expected, "{old} -> {new}");
        }
        let after = row("x p error");
        let alone = Change::Update { old: None, new: tuple(&after) };
        assert!(table(ReplicaIdentity::Full).interpret(&alone).is_err());
        assert_eq!(table(ReplicaIdentity::Full).key(&alone), Some(&b"p"[..]));
    }

    #[test]
    fn updates_under_an_index() {
        let table = table(ReplicaIdentity::Index);
        for (old, new, expected) in [
            ("- p running", "why p error", failed("p", "why")),
            ("- p running", "~ p error", failed("p", "unknown")),
            ("- p running", "why ~ error", failed("p", "why")),
            ("- p error", "- p running", working("p")),
            ("- old running", "- new running", Ok(None)),
        ] {
            let (before, after) = (row(old), row(new));
            let change = Change::Update { old: Some(Old::Key(tuple(&before))), new: tuple(&after) };
            assert_eq!(table.interpret(&change), expected, "{old} -> {new}");
            assert!(table.key(&change).is_some());
        }
        let after = row("x p error");
        assert_eq!(table.interpret(&Change::Update { old: None, new: tuple(&after) }), Ok(None));
    }

    #[test]
    fn beginning_and_end() {
        for identity in [ReplicaIdentity::Full, ReplicaIdentity::Index] {
            let table = table(identity);
            for status in ["running", "error", "init"] {
                let bytes = row(&format!("- p {status}"));
                let event = |event| lifecycle(Value::Text(b"p"), event).map(Some);
                let new = tuple(&bytes);
                assert_eq!(table.interpret(&Change::Insert { new }), event(Lifecycle::Created));
                assert_eq!(table.key(&Change::Insert { new }), Some(&b"p"[..]));
                for old in [Old::Key(new), Old::Full(new)] {
                    assert_eq!(table.interpret(&Change::Delete { old }), event(Lifecycle::Removed));
                    assert_eq!(table.key(&Change::Delete { old }), Some(&b"p"[..]));
                }
            }
            let short = [0, 1, b'n'];
            assert!(table.interpret(&Change::Insert { new: tuple(&short) }).is_err());
            assert_eq!(table.key(&Change::Insert { new: tuple(&short) }), None);
        }
    }
}
