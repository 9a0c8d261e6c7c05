//! Faults after which something may be missing: the slots must halt and say so.

use std::{thread::sleep, time::Duration};

use crate::{
    bed::brokers,
    fault::Halt,
    proxy::Weather,
    round::Round,
    service::{PATIENCE, eventually},
    world::text,
    writer::Random,
};

pub fn halts() -> Vec<Halt> {
    let postgres = |name, class, words, strike| Halt { name, strike, class, words, all: false, emptied: false };
    let kafka = |name, strike| Halt {
        name,
        strike,
        class: "topic_recreated",
        words: "a replay is needed from offset",
        all: false,
        emptied: true,
    };
    vec![
        postgres("slot recreated", "history_changed", "was acknowledged", slot_recreated),
        Halt { all: true, ..postgres("slot invalidated", "slot_lost", "", slot_invalidated) },
        postgres("publication narrowed", "publication", "last known to be right at LSN", publication_narrowed),
        kafka("topic recreated", |round, _| topic_recreated(round, Duration::ZERO)),
        kafka("topic recreated after a minute", |round, _| topic_recreated(round, Duration::from_mins(1))),
        kafka("topic's data lost", data_lost),
    ]
}

fn slot_recreated(round: &mut Round<'_>, _: &mut Random) {
    round.close_postgres();
    let (database, slot) = (round.lanes[0].database.clone(), round.lanes[0].slot.clone());
    let mut sql = round.bed.sql(&database);
    eventually("the slot is dropped", PATIENCE, || {
        sql.batch_execute(&format!("SELECT pg_drop_replication_slot('{slot}')")).map_err(|error| error.to_string())
    });
    round.write_on(300);
    sql.batch_execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")).unwrap();
    round.bed.to_postgres.set(Weather::Clear);
}

fn slot_invalidated(round: &mut Round<'_>, _: &mut Random) {
    round.close_postgres();
    round.bed.set("max_slot_wal_keep_size", Some("1MB"));
    let mut sql = round.bed.sql("postgres");
    eventually("the slots are lost", PATIENCE, || {
        round.write_on(50);
        sql.batch_execute("SELECT pg_switch_wal()").unwrap();
        sql.batch_execute("CHECKPOINT").unwrap();
        match text(&mut sql, "SELECT string_agg(DISTINCT wal_status, ' ') FROM pg_replication_slots").as_str() {
            "lost" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    round.bed.set("max_slot_wal_keep_size", None);
    round.bed.to_postgres.set(Weather::Clear);
}

fn publication_narrowed(round: &mut Round<'_>, _: &mut Random) {
    let name = round.lanes[0].namespace.name.clone();
    let mut sql = round.bed.sql(&round.lanes[0].database);
    sql.batch_execute(&format!("ALTER PUBLICATION \"{name}\" DROP TABLE \"{name}_processes\"")).unwrap();
}

fn topic_recreated(round: &mut Round<'_>, away: Duration) {
    let topic = round.lanes[0].namespace.eventsink.clone();
    round.bed.cluster.delete_topic(&topic);
    sleep(away);
    round.bed.cluster.create_topic(&topic, round.partitions());
}

fn data_lost(round: &mut Round<'_>, _: &mut Random) {
    let topic = round.lanes[0].namespace.eventsink.clone();
    brokers().for_each(|broker| round.bed.cluster.kill(broker));
    for partition in 0..round.partitions() {
        brokers().for_each(|broker| round.bed.cluster.wipe(broker, Some(&format!("{topic}-{partition}"))));
    }
    round.bed.cluster.start_missing();
}
