//! Faults of PostgreSQL.

use std::{thread::sleep, time::Duration};

use cdc_notifier::demo::postgres::Mode;
use postgres::Client;

use crate::{
    fault::{Fault, nothing},
    holder::Holder,
    proxy::Weather,
    round::Round,
    world::try_connect,
    writer::Random,
};

pub fn faults() -> Vec<Fault> {
    vec![
        Fault::new("postgres killed", 5, |round, _| {
            round.bed.postgres.kill().unwrap();
            Box::new(|round| round.bed.postgres.start_again().unwrap())
        }),
        Fault::new("postgres restarted", 3, |round, _| {
            round.bed.postgres.stop(Mode::Fast).unwrap();
            Box::new(|round| round.bed.postgres.start_again().unwrap())
        }),
        Fault::new("walsender terminated", 4, |round, _| {
            round.terminate("walsender");
            nothing()
        }),
        Fault::new("sessions terminated", 2, |round, _| {
            round.terminate("client backend");
            nothing()
        }),
        Fault::new("slot taken over", 3, |round, _| {
            // Whoever comes first has it: the door is closed until the other one does.
            round.close_postgres();
            let lane = round.lanes[0].clone();
            let holder = Holder::start(&round.bed.postgres, &lane.database, &lane.slot, &lane.namespace.name);
            crate::holder::pid(&mut round.bed.sql("postgres"), &lane.slot);
            round.bed.to_postgres.set(Weather::Clear);
            Box::new(move |_| drop(holder))
        }),
        Fault::new("wal_sender_timeout", 2, |round, _| {
            round.bed.set("wal_sender_timeout", Some("1s"));
            round.bed.to_postgres.set(Weather::Held);
            sleep(Duration::from_millis(1_500));
            Box::new(|round| {
                round.bed.to_postgres.set(Weather::Clear);
                round.bed.set("wal_sender_timeout", None);
            })
        }),
        Fault::new("connections used up", 2, |round, _| {
            let taken = take_all(round);
            // Nobody who has to come back gets in.
            round.bed.to_postgres.cut();
            Box::new(move |_| drop(taken))
        }),
        Fault::new("tables changed", 3, |round, random| {
            change_tables(round, random);
            nothing()
        }),
        Fault::new("publication widened", 1, |round, _| {
            let lane = round.lanes[0].clone();
            let (name, other) = (lane.namespace.name, format!("beside_{}", round.number()));
            let mut sql = round.bed.sql(&lane.database);
            sql.batch_execute(&format!("CREATE TABLE {other} (id int PRIMARY KEY)")).unwrap();
            patiently(&mut sql, &format!("ALTER PUBLICATION \"{name}\" ADD TABLE {other}"));
            sql.batch_execute(&format!("INSERT INTO {other} VALUES (1), (2)")).unwrap();
            Box::new(move |round| {
                let mut sql = round.bed.sql(&lane.database);
                patiently(&mut sql, &format!("ALTER PUBLICATION \"{name}\" DROP TABLE {other}"));
            })
        }),
    ]
}

fn take_all(round: &Round<'_>) -> Vec<Client> {
    let mut taken = Vec::new();
    while let Some(client) = try_connect(&round.bed.postgres, "postgres") {
        taken.push(client);
    }
    taken
}

/// Changes that mean nothing to the service, or no more than another column.
fn change_tables(round: &mut Round<'_>, random: &mut Random) {
    let number = round.number();
    let lane = &round.lanes[random.place(round.lanes.len())];
    let (events, processes) =
        (format!("\"{}_events\"", lane.namespace.name), format!("\"{}_processes\"", lane.namespace.name));
    let changes = [
        format!("ALTER TABLE {events} ADD COLUMN extra_{number} text"),
        format!("ALTER TABLE {processes} ADD COLUMN extra_{number} int DEFAULT 7"),
        format!("CREATE INDEX ON {events} (timestamp)"),
        format!("VACUUM FULL {events}"),
        format!("CLUSTER {processes} USING \"{}_processes_pkey\"", lane.namespace.name),
        format!("REINDEX TABLE {events}"),
        format!("CREATE TABLE table_{number} AS SELECT * FROM {processes}; DROP TABLE table_{number}"),
    ];
    patiently(&mut round.bed.sql(&lane.database), &changes[random.place(changes.len())]);
}

/// The writer's two sessions would wait for each other behind a statement that waits for a lock: it waits only for moments.
fn patiently(sql: &mut Client, statement: &str) {
    sql.batch_execute("SET lock_timeout = '100ms'").unwrap();
    crate::service::eventually(statement, crate::service::PATIENCE, || {
        sql.batch_execute(statement).map_err(|error| format!("{error}: {:?}", error.as_db_error()))
    });
}
