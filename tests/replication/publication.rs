//! Publications that somebody else has made are verified, and every deviation comes with the SQL that mends it.

use cdc_notifier::{change::Class, replication::publication::verify_publications};

use crate::support::{NS, execute, major, names, prepared, refused, settings, slot, value, with_tables};

const P: &str = "\"default/default_processes\"";
const E: &str = "\"default/default_events\"";
const PUB: &str = "\"default/default\"";

#[tokio::test(flavor = "multi_thread")]
async fn every_deviation_is_found_and_its_remedy_mends_it() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS]).await;
    let major = major(&admin).await;
    let both = format!("CREATE PUBLICATION {PUB} FOR TABLE {P}, {E}");
    let full = format!("ALTER TABLE {P} REPLICA IDENTITY FULL");
    let key = format!("ALTER TABLE {P} REPLICA IDENTITY DEFAULT");
    let index = format!("CREATE UNIQUE INDEX identity ON {P} (process_id, detail)");
    for (state, named, remedy) in [
        (format!("{full}; CREATE PUBLICATION {PUB} FOR TABLE {P}"), "default_events", "ADD TABLE"),
        (format!("{full}; CREATE PUBLICATION {PUB}"), "default_processes", "ADD TABLE"),
        (format!("{full}; {both} WITH (publish = 'insert, update')"), "deletes", "SET (publish = "),
        (format!("{full}; {both} WHERE (event_id > 5)"), "row filter", "DROP TABLE"),
        (
            format!("{full}; CREATE PUBLICATION {PUB} FOR TABLE {P}, {E} (process_id, event_id, payload)"),
            "columns",
            "ADD TABLE",
        ),
        (format!("{key}; {both}"), "replica identity", "REPLICA IDENTITY FULL"),
        (format!("ALTER TABLE {P} REPLICA IDENTITY NOTHING; {both}"), "replica identity", "REPLICA IDENTITY FULL"),
        (
            format!(
                "ALTER TABLE {P} ALTER detail SET NOT NULL; {index}; ALTER TABLE {P} REPLICA IDENTITY USING INDEX identity; {both}"
            ),
            "replica identity",
            "REPLICA IDENTITY FULL",
        ),
    ] {
        if major < 15 && ["row filter", "columns"].contains(&named) {
            continue;
        }
        execute(&admin, &state).await;
        let before = value(&admin, STATE).await;
        let trouble = refused(verify_publications(&admin, &[NS]).await, Class::Publication, &[remedy]);
        names(&trouble, &[named]);
        // The same at start, and nothing is altered.
        let at_start = refused(prepared(&db, &slot("cdc", &[NS])).await, Class::Publication, &[remedy]);
        assert_eq!(at_start, trouble);
        assert_eq!(value(&admin, STATE).await, before);
        execute(&admin, &trouble.remedy).await;
        assert_eq!(verify_publications(&admin, &[NS]).await, Ok(()), "after {}", trouble.remedy);
        execute(&admin, &format!("DROP PUBLICATION {PUB}")).await;
    }
    let trouble = refused(verify_publications(&admin, &[NS]).await, Class::Publication, &["CREATE PUBLICATION"]);
    execute(&admin, &trouble.remedy).await;
    assert_eq!(verify_publications(&admin, &[NS]).await, Ok(()));
    execute(&admin, &format!("DROP TABLE {E}")).await;
    refused(verify_publications(&admin, &[NS]).await, Class::TableMissing, &["progressor"]);
}

/// Everything that could have been altered.
const STATE: &str = "
    SELECT (SELECT string_agg(p::text, ';') FROM pg_publication p) || coalesce((SELECT string_agg(r::text, ';') FROM pg_publication_rel r), '')
        || (SELECT string_agg(relname::text || relreplident::text, ';') FROM pg_class WHERE relname LIKE 'default%')";

#[tokio::test(flavor = "multi_thread")]
async fn what_suffices_is_accepted_and_left_alone() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS, "all", "late"]).await;
    let list = if major(&admin).await >= 15 { "(process_id, status, detail)" } else { "" };
    execute(
        &admin,
        &format!(
            "CREATE UNIQUE INDEX identity ON {P} (process_id, status); ALTER TABLE {P} REPLICA IDENTITY USING INDEX identity;
             CREATE PUBLICATION {PUB} FOR TABLE {P} {list}, {E};
             ALTER TABLE all_processes REPLICA IDENTITY FULL; CREATE PUBLICATION \"all\" FOR ALL TABLES;
             CREATE UNIQUE INDEX late_identity ON late_processes (process_id, status);
             ALTER TABLE late_processes REPLICA IDENTITY USING INDEX late_identity"
        ),
    )
    .await;
    let prepared = prepared(&db, &slot("cdc", &[NS, "all", "late"])).await.expect("prepare");
    assert_eq!(prepared.publications_created, ["late"]);
    let identities = "SELECT string_agg(relreplident::text, '' ORDER BY relname) FROM pg_class
                      WHERE relname IN ('default/default_processes', 'all_processes', 'late_processes')";
    assert_eq!(value(&admin, identities).await, "fii", "an identity that suffices is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn unlogged_tables_are_named_before_anything_is_created() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS, "b"]).await;
    execute(&admin, "ALTER TABLE b_events SET UNLOGGED").await;
    let trouble = refused(prepared(&db, &slot("cdc", &[NS, "b"])).await, Class::Publication, &["SET LOGGED"]);
    names(&trouble, &["b_events"]);
    assert_eq!(value(&admin, "SELECT count(*)::text FROM pg_publication").await, "0", "all or none");
    execute(&admin, &trouble.remedy).await;
    prepared(&db, &slot("cdc", &[NS, "b"])).await.expect("prepare");
}
