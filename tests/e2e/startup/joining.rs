//! A namespace that is added to a slot with a backlog.

use super::tools::{ids, impatient, insert, logged, messages, namespace, processes, wait_for_messages};
use crate::{
    kafka, scene,
    service::{PATIENCE, Service, eventually},
};

#[test]
fn a_namespace_joins_without_losing_the_others() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let (old, new) = (namespace(kafka, "old"), namespace(kafka, "new"));
    scene::create_tables(&mut sql, &[&old, &new]);
    let before = impatient(kafka).database("main", &server, "postgres").stream("main", "slot_a", &old);
    let mut service = Service::start(before.text());
    service.wait_for_state("slot_a", "streaming");
    insert(&mut sql, "old", "o1");
    wait_for_messages(&service, "slot_a", 1);
    service.stop();

    // A backlog of both, and a transaction that stays open over the creation of the new publication.
    insert(&mut sql, "old", "o2");
    insert(&mut sql, "new", "too early");
    let mut other = scene::connect(&server, "postgres");
    let mut long = other.transaction().unwrap();
    long.batch_execute(&format!("INSERT INTO {} (process_id, status) VALUES ('o5', 'running')", processes("old")))
        .unwrap();
    // Not in the new namespace's tables: its publication would have to wait for that.
    service.start_with(before.stream("main", "slot_a", &new).text());
    wait_for_messages(&service, "slot_a", 1);
    insert(&mut sql, "old", "o3");
    wait_for_messages(&service, "slot_a", 2);
    insert(&mut sql, "new", "still too early");
    insert(&mut sql, "old", "o4");
    wait_for_messages(&service, "slot_a", 3);
    assert!(logged(&service, "joins the slot").is_empty(), "the open transaction could not be decoded with it");
    assert_eq!(messages(&service.slot("slot_a")), 3);
    long.commit().unwrap();

    let lsn = eventually("the namespace joins", PATIENCE, || {
        let lines = logged(&service, "namespace joins the slot: its delivery begins at this LSN");
        let line = lines.first().ok_or_else(|| service.log())?;
        assert_eq!([&line["slot"], &line["namespace"]], [&"slot_a".into(), &serde_json::Value::from("new")]);
        Ok(line["lsn"].as_str().unwrap().to_owned())
    });
    // From there on, and not before.
    service.wait_for_state("slot_a", "streaming");
    let row = sql.query_one("SELECT pg_current_wal_insert_lsn() >= $1::text::pg_lsn", &[&lsn]).unwrap();
    assert!(row.get::<_, bool>(0));
    insert(&mut sql, "new", "n1");
    insert(&mut sql, "old", "o6");
    eventually("both are delivered", PATIENCE, || {
        let got = ids(&kafka.consume_all(&new.lifecycle), "new");
        if got == ["n1"] { Ok(()) } else { Err(format!("{got:?} {}", service.log())) }
    });
    wait_for_messages(&service, "slot_a", 6);
    service.stop();
    let mut got = ids(&kafka.consume_all(&old.lifecycle), "old");
    assert_eq!(got, ["o1", "o2", "o3", "o4", "o5", "o6"]);
    got.dedup();
    assert_eq!(got.len(), 6, "nothing was repeated");

    // It has joined for good.
    service.start_again();
    service.wait_for_state("slot_a", "streaming");
    insert(&mut sql, "new", "n2");
    wait_for_messages(&service, "slot_a", 1);
    assert!(logged(&service, "join").is_empty(), "{}", service.log());
    service.stop();
    assert_eq!(ids(&kafka.consume_all(&new.lifecycle), "new"), ["n1", "n2"]);
}

/// The namespace joins while its rows come all the time: all from the LSN in the log on arrive, and none is torn out.
#[test]
fn joining_under_load_begins_at_the_logged_lsn() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let (old, new) = (namespace(kafka, "old"), namespace(kafka, "new").with("headers = true"));
    scene::create_tables(&mut sql, &[&old, &new]);
    let before = impatient(kafka).database("main", &server, "postgres").stream("main", "slot_a", &old);
    let mut service = Service::start(before.text());
    service.wait_for_state("slot_a", "streaming");
    service.stop();
    let mut other = scene::connect(&server, "postgres");
    let mut long = other.transaction().unwrap();
    long.query_one("SELECT pg_current_xact_id()::text", &[]).unwrap();
    service.start_with(before.stream("main", "slot_a", &new).text());
    service.wait_for_state("slot_a", "streaming");
    let mut load = scene::connect(&server, "postgres");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let load = std::thread::spawn(move || {
        let mut written = 0;
        // The position before each insert, so that it is known which ones were committed behind the join.
        let mut positions = Vec::new();
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let row = load.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).unwrap();
            positions.push(row.get::<_, String>(0));
            insert(&mut load, "new", &format!("n{written:05}"));
            insert(&mut load, "old", &format!("o{written:05}"));
            written += 1;
        }
        positions
    });
    wait_for_messages(&service, "slot_a", 50);
    long.commit().unwrap();
    let joined = eventually("the namespace joins", PATIENCE, || {
        let lines = logged(&service, "namespace joins the slot");
        lines.first().map(|line| line["lsn"].as_str().unwrap().to_owned()).ok_or_else(String::new)
    });
    eventually("messages of the new one arrive", PATIENCE, || {
        let confirmed = &service.slot("slot_a")["namespaces"][1]["messages_confirmed"];
        let confirmed = confirmed.as_u64().unwrap();
        if confirmed > 20 { Ok(()) } else { Err(confirmed.to_string()) }
    });
    stop.send(()).unwrap();
    let positions = load.join().unwrap();
    let total = positions.len();
    eventually("everything is delivered", PATIENCE, || {
        let got = ids(&kafka.consume_all(&old.lifecycle), "old").len();
        if got >= total { Ok(()) } else { Err(format!("{got} of {total}")) }
    });
    service.stop();
    let lsn = |text: &str| text.parse::<cdc_notifier::change::Lsn>().unwrap();
    let behind = positions.iter().position(|position| lsn(position) >= lsn(&joined)).unwrap();
    let records = kafka.consume_all(&new.lifecycle);
    for record in &records {
        let header = record.headers.iter().find(|(name, _)| name == "commit_lsn").unwrap();
        let commit = lsn(std::str::from_utf8(&header.1).unwrap());
        assert!(commit >= lsn(&joined), "{record:?} was committed before {joined}");
    }
    let got = ids(&records, "new");
    let all: Vec<_> = (behind..total).map(|number| format!("n{number:05}")).collect();
    assert!(got.ends_with(&all), "from {joined} on nothing may be missing: {behind} of {total}, got {got:?}");
    assert!(got.len() <= all.len() + 1, "nothing is repeated: {got:?}");
}
