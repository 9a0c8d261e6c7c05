//! The tables of the progressor workflow engine.
//!
//! | table | change | notification |
//! | --- | --- | --- |
//! | `<ns>_events` | insert | machine event |
//! | `<ns>_processes` | insert | created |
//! | | update, status becomes `error` | failed |
//! | | update, status is no longer `error` | working |
//! | | delete | removed |
//!
//! Anything else says nothing. Owns progressor's table and column names and how PostgreSQL writes their values.

mod columns;
mod events;
mod metadata;
mod processes;
mod timestamp;
mod value;

use self::{events::Events, processes::Processes};
use super::{Source, Table};
use crate::change::{Relation, Trouble};

/// A progressor namespace.
pub(super) struct Progressor {
    namespace: String,
    processes: String,
    events: String,
}

impl Progressor {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            processes: format!("{namespace}_processes"),
            events: format!("{namespace}_events"),
        }
    }
}

impl Source for Progressor {
    fn tables(&self) -> Vec<String> {
        vec![self.processes.clone(), self.events.clone()]
    }

    fn bind(&self, relation: &Relation) -> Result<Option<Box<dyn Table>>, Trouble> {
        if relation.schema != "public" {
            return Ok(None);
        }
        if relation.name == self.events {
            Ok(Some(Box::new(Events::bind(&self.namespace, relation)?)))
        } else if relation.name == self.processes {
            Ok(Some(Box::new(Processes::bind(&self.namespace, relation)?)))
        } else {
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        change::{Class, Column, Relation, ReplicaIdentity},
        source::{Kind, build},
    };

    const NEEDED: [(&str, u32); 5] =
        [("process_id", 1043), ("event_id", 21), ("timestamp", 1184), ("metadata", 3802), ("payload", 17)];
    const PROCESS: [(&str, u32); 3] = [("process_id", 1043), ("status", 16_500), ("detail", 25)];

    fn relation(name: &str, identity: ReplicaIdentity, columns: &[(&str, u32)], key: &[&str]) -> Relation {
        let column =
            |&(name, type_oid): &(&str, u32)| Column { name: name.to_owned(), identity: key.contains(&name), type_oid };
        let columns = columns.iter().map(column).collect();
        Relation { oid: 1, schema: "public".into(), name: name.into(), identity, columns }
    }

    #[test]
    fn tables_of_others_are_left_alone() {
        let source = build(Kind::Progressor, "a/b");
        assert_eq!(source.tables(), ["a/b_processes", "a/b_events"]);
        for name in ["a/b_tasks", "a/b", "A/b_events", "xa/b_events"] {
            assert!(source.bind(&relation(name, ReplicaIdentity::Nothing, &[], &[])).unwrap().is_none(), "{name}");
        }
        let mut elsewhere = relation("a/b_events", ReplicaIdentity::Default, &NEEDED, &[]);
        elsewhere.schema = "private".into();
        assert!(source.bind(&elsewhere).unwrap().is_none());
        elsewhere.schema = "public".into();
        assert!(source.bind(&elsewhere).unwrap().is_some());
    }

    #[test]
    fn a_missing_column_is_named_with_its_table() {
        let source = build(Kind::Progressor, "a\"b");
        for (table, needed) in [("a\"b_events", &NEEDED[..]), ("a\"b_processes", &PROCESS[..])] {
            for (missing, _) in needed {
                let rest: Vec<_> = needed.iter().copied().filter(|(name, _)| name != missing).collect();
                let trouble = source.bind(&relation(table, ReplicaIdentity::Full, &rest, &[])).err().unwrap();
                assert_eq!(trouble.class, Class::Schema);
                let quoted = format!("public.\"{}\"", table.replace('"', "\"\""));
                assert_eq!(trouble.message, format!("table {quoted} has no published column {missing}"));
                assert!(
                    trouble.remedy.contains(
                        "ALTER PUBLICATION \"a\"\"b\" SET TABLE public.\"a\"\"b_processes\", public.\"a\"\"b_events\";"
                    ),
                    "{}",
                    trouble.remedy
                );
            }
        }
    }

    #[test]
    fn a_type_that_would_be_misread_is_refused() {
        let source = build(Kind::Progressor, "n");
        // timestamp without time zone, and numeric, whose zero is 8 bytes long like an int8.
        for (column, wrong) in [("timestamp", 1114), ("event_id", 1700), ("process_id", 2950), ("metadata", 114)] {
            let columns = NEEDED.map(|(name, oid)| (name, if name == column { wrong } else { oid }));
            let trouble = source.bind(&relation("n_events", ReplicaIdentity::Default, &columns, &[])).err().unwrap();
            assert_eq!(trouble.class, Class::Schema);
            assert!(trouble.message.contains(column), "{}", trouble.message);
        }
        for fine in [20, 21, 23, 70_000] {
            let columns = NEEDED.map(|(name, oid)| (name, if name == "event_id" { fine } else { oid }));
            assert!(source.bind(&relation("n_events", ReplicaIdentity::Default, &columns, &[])).is_ok());
        }
    }

    #[test]
    fn the_old_status_must_be_in_the_replica_identity() {
        let source = build(Kind::Progressor, "a\"b");
        let bind = |identity, key: &[&str]| {
            source.bind(&relation("a\"b_processes", identity, &PROCESS, key)).map(|table| table.is_some())
        };
        assert_eq!(bind(ReplicaIdentity::Full, &[]), Ok(true));
        assert_eq!(bind(ReplicaIdentity::Index, &["process_id", "status"]), Ok(true));
        for (identity, key) in [
            (ReplicaIdentity::Default, &["process_id"][..]),
            (ReplicaIdentity::Nothing, &[]),
            (ReplicaIdentity::Index, &["process_id"]),
            (ReplicaIdentity::Index, &["status"]),
        ] {
            let trouble = bind(identity, key).unwrap_err();
            assert_eq!(trouble.class, Class::Publication);
            assert!(trouble.message.contains("public.\"a\"\"b_processes\""));
            assert_eq!(trouble.remedy, "ALTER TABLE public.\"a\"\"b_processes\" REPLICA IDENTITY FULL;");
        }
    }
}
