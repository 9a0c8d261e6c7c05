//! Changes progressor's tables as progressor does.

use std::{collections::VecDeque, time::Duration};

use serde_json::json;
use tokio::{sync::oneshot, time};

use super::{
    etf,
    life::{Life, Step},
    message::{Counts, Kind},
    progressor::quote_identifier,
};
use crate::{
    change::Trouble,
    config::Postgres,
    replication::{self, Sql},
};

/// From one transaction to the next: about seven messages a second.
const PACE: Duration = Duration::from_millis(200);
/// Processes that live at the same time.
const LIVING: u32 = 3;

/// What was committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    /// Rows inserted, updated and deleted, by the server's count.
    pub(super) rows: usize,
    /// Transactions.
    pub(super) transactions: u64,
    /// The messages that follow from them.
    pub(super) due: Counts,
}

/// Writes until it is stopped.
pub(super) struct Writer {
    sql: Sql,
    living: VecDeque<Life>,
    begun: u32,
    written: Written,
}

impl Writer {
    /// Connects.
    pub(super) async fn open(postgres: &Postgres) -> Result<Self, Trouble> {
        let sql = replication::sql(postgres).await?;
        Ok(Self { sql, living: (0..LIVING).map(Life::new).collect(), begun: LIVING, written: Written::default() })
    }

    /// Writes at its pace until `stop` says so, never in the middle of a transaction. Returns what was written, and its
    /// connection.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(Written, Sql), Trouble> {
        // A transaction that took long is made up for.
        let mut pace = time::interval(PACE);
        loop {
            tokio::select! {
                biased;
                _asked = &mut stop => break,
                _tick = pace.tick() => self.turn().await?,
            }
        }
        Ok((self.written, self.sql))
    }

    /// The next step of the process whose turn it is.
    async fn turn(&mut self) -> Result<(), Trouble> {
        let Some(mut life) = self.living.pop_front() else { return Ok(()) };
        let Some(step) = life.step() else { return Ok(()) };
        self.sql.rows("BEGIN", &[]).await?;
        match step {
            Step::Create => self.create(&mut life).await?,
            Step::Work(events) => self.work(&mut life, events).await?,
            Step::Fail => self.fail(&life).await?,
            Step::Repair => self.repair(&life).await?,
            Step::End => self.end(&life).await?,
        }
        self.sql.rows("COMMIT", &[]).await?;
        self.written.transactions += 1;
        if step == Step::End {
            life = Life::new(self.begun);
            self.begun += 1;
        }
        self.living.push_back(life);
        Ok(())
    }

    async fn create(&mut self, life: &mut Life) -> Result<(), Trouble> {
        let insert = format!(
            "INSERT INTO {} (process_id, status, metadata) VALUES ($1, 'init', '{{}}') RETURNING true",
            table(life, "processes")
        );
        self.written.rows += self.sql.rows(&insert, &[&life.id()]).await?.len();
        self.written.due.add(Kind::Created, 1);
        self.events(life, 1).await
    }

    async fn work(&mut self, life: &mut Life, events: i16) -> Result<(), Trouble> {
        self.events(life, events).await?;
        // What a process remembers is of no interest to anybody else: no message.
        let remembered = etf::encode(&json!({"events": events}));
        let update = format!(
            "UPDATE {} SET aux_state = $2, status = 'running' WHERE process_id = $1 RETURNING true",
            table(life, "processes")
        );
        self.written.rows += self.sql.rows(&update, &[&life.id(), &remembered]).await?.len();
        Ok(())
    }

    /// A task, which is not published, and the events that it has made.
    async fn events(&mut self, life: &mut Life, events: i16) -> Result<(), Trouble> {
        let task = format!("INSERT INTO {} (process_id) VALUES ($1) RETURNING true", table(life, "tasks"));
        self.written.rows += self.sql.rows(&task, &[&life.id()]).await?.len();
        let insert = format!(
            "INSERT INTO {} (process_id, task_id, event_id, metadata, payload)
             SELECT $1::text, max(task_id), $2::int2, '{{\"format_version\": 1}}', $3::bytea FROM {} WHERE process_id = $1::text
             RETURNING true",
            table(life, "events"),
            table(life, "tasks")
        );
        for _ in 0..events {
            let (number, content) = life.event();
            self.written.rows += self.sql.rows(&insert, &[&life.id(), &number, &etf::encode(&content)]).await?.len();
            self.written.due.add(Kind::Event, 1);
        }
        Ok(())
    }

    async fn fail(&mut self, life: &Life) -> Result<(), Trouble> {
        let update = format!(
            "UPDATE {} SET previous_status = status, status = 'error', status_changed_at = now(), detail = $2,
             corrupted_by = (SELECT max(task_id) FROM {} WHERE process_id = $1) WHERE process_id = $1 RETURNING true",
            table(life, "processes"),
            table(life, "tasks")
        );
        self.written.rows += self.sql.rows(&update, &[&life.id(), &life.failure()]).await?.len();
        self.written.due.add(Kind::Failed, 1);
        Ok(())
    }

    async fn repair(&mut self, life: &Life) -> Result<(), Trouble> {
        let update = format!(
            "UPDATE {} SET previous_status = status, status = 'running', status_changed_at = now(), detail = NULL,
             corrupted_by = NULL WHERE process_id = $1 RETURNING true",
            table(life, "processes")
        );
        self.written.rows += self.sql.rows(&update, &[&life.id()]).await?.len();
        self.written.due.add(Kind::Working, 1);
        Ok(())
    }

    async fn end(&mut self, life: &Life) -> Result<(), Trouble> {
        for kind in ["events", "tasks", "processes"] {
            let delete = format!("DELETE FROM {} WHERE process_id = $1 RETURNING true", table(life, kind));
            self.written.rows += self.sql.rows(&delete, &[&life.id()]).await?.len();
        }
        self.written.due.add(Kind::Removed, 1);
        Ok(())
    }
}

fn table(life: &Life, kind: &str) -> String {
    format!("public.{}", quote_identifier(&format!("{}_{kind}", life.namespace())))
}
