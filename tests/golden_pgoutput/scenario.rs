//! What is done to progressor's tables, and what PostgreSQL sends for it.
//!
//! In the listings, `T` is the time of every row, `x...` a value of 2,100 times x, stored out of line, and `*` marks a column of the identity.

/// Longer than what stays in a row: stored out of line, so that an update can leave it out.
pub(crate) const LARGE: usize = 2_100;

/// Before the slot.
pub(crate) const SETUP: &str = r#"
ALTER TABLE "default/default_processes" ALTER COLUMN detail SET STORAGE EXTERNAL;
ALTER TABLE "default/default_processes" REPLICA IDENTITY FULL;
CREATE UNIQUE INDEX by_status ON "default/default_processes" (process_id, status);
ALTER TABLE "default/default_events" ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE PUBLICATION "default/default" FOR TABLE "default/default_processes", "default/default_events";
SELECT pg_replication_origin_create('elsewhere');
"#;

/// One thing that is done.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// Statements, each sent for itself, so that it is a transaction unless it stands between BEGIN and COMMIT.
    sql: &'static str,
    /// The listing of what PostgreSQL sends.
    sends: &'static str,
}

impl Step {
    pub(crate) fn statements(&self) -> impl Iterator<Item = String> {
        self.sql.split(';').map(|statement| {
            statement
                .replace("PROCESS", r#"INSERT INTO "default/default_processes" (process_id, status, detail, aux_state, created_at, metadata, status_changed_at) VALUES"#)
                .replace("TASK", r#"INSERT INTO "default/default_tasks" (process_id) VALUES"#)
                .replace("EVENT", r#"INSERT INTO "default/default_events" (process_id, task_id, event_id, timestamp, metadata, payload) VALUES"#)
                .replace("@T", "'2026-01-02 03:04:05.678901+00'")
                .replace("@processes", r#""default/default_processes""#)
                .replace("@events", r#""default/default_events""#)
        })
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.sends.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
            line.replace("@processes_full", "relation public.default/default_processes Full: process_id*:1043 status*:public.process_status detail*:25 aux_state*:17 created_at*:1184 metadata*:3802 previous_status*:public.process_status status_changed_at*:1184 corrupted_by*:20")
                .replace("@processes_index", "relation public.default/default_processes Index: process_id*:1043 status*:public.process_status detail:25 aux_state:17 created_at:1184 metadata:3802 previous_status:public.process_status status_changed_at:1184 corrupted_by:20")
                .replace("@new_columns", r#"Default: process_id*:1043 task_id:20 event_id*:20 timestamp:1184 metadata:3802 payload:17 naïve "name":25"#)
        })
    }
}

pub(crate) const STEPS: [Step; 15] = [
    Step {
        name: "a process and its first event",
        sql: r#"BEGIN;
            PROCESS ('p1', 'init', NULL, '\x00ff', @T, '{"k": 1}', @T);
            TASK ('p1');
            EVENT ('p1', 1, 1, @T, '{"format_version": 1}', '\x836d00000000');
            COMMIT"#,
        sends: r#"
            begin
            type public.process_status
            type public.process_status
            @processes_full
            insert processes ('p1', 'init', null, x00ff, T, '{"k": 1}', 'running', T, null)
            relation public.default/default_events Default: process_id*:1043 task_id:20 event_id*:21 timestamp:1184 metadata:3802 payload:17
            insert events ('p1', 1, 1, T, '{"format_version": 1}', x836d00000000)
            commit"#,
    },
    Step {
        name: "identity FULL: the old row has a large value that did not change",
        sql: "BEGIN;
            UPDATE @processes SET detail = repeat('x', 2100), status = 'error', metadata = NULL WHERE process_id = 'p1';
            UPDATE @processes SET status = 'running' WHERE process_id = 'p1';
            UPDATE @processes SET detail = '' WHERE process_id = 'p1';
            COMMIT",
        sends: r#"
            begin
            update processes old ('p1', 'init', null, x00ff, T, '{"k": 1}', 'running', T, null) new ('p1', 'error', x..., x00ff, T, null, 'running', T, null)
            update processes old ('p1', 'error', x..., x00ff, T, null, 'running', T, null) new ('p1', 'running', unchanged, x00ff, T, null, 'running', T, null)
            update processes old ('p1', 'running', x..., x00ff, T, null, 'running', T, null) new ('p1', 'running', '', x00ff, T, null, 'running', T, null)
            commit"#,
    },
    Step {
        name: "identity FULL: the key changes",
        sql: "BEGIN;
            PROCESS ('p2', 'running', 'ü', '', @T, 'null', @T);
            UPDATE @processes SET process_id = 'p3' WHERE process_id = 'p2';
            COMMIT",
        sends: "
            begin
            insert processes ('p2', 'running', 'ü', x, T, 'null', 'running', T, null)
            update processes old ('p2', 'running', 'ü', x, T, 'null', 'running', T, null) new ('p3', 'running', 'ü', x, T, 'null', 'running', T, null)
            commit",
    },
    Step {
        name: "identity FULL: delete",
        sql: "DELETE FROM @processes WHERE process_id = 'p3'",
        sends: "
            begin
            delete processes old ('p3', 'running', 'ü', x, T, 'null', 'running', T, null)
            commit",
    },
    Step {
        name: "identity DEFAULT: a large value that did not change, a changed key, delete",
        sql: "BEGIN;
            EVENT ('p1', 1, 2, NULL, NULL, convert_to(repeat('y', 2100), 'UTF8'));
            UPDATE @events SET timestamp = @T WHERE event_id = 2;
            UPDATE @events SET event_id = -3, payload = '' WHERE event_id = 2;
            DELETE FROM @events WHERE event_id = -3;
            COMMIT",
        sends: "
            begin
            insert events ('p1', 1, 2, null, null, y...)
            update events ('p1', 1, 2, T, null, unchanged)
            update events key ('p1', null, 2, null, null, null) new ('p1', 1, -3, T, null, x)
            delete events key ('p1', null, -3, null, null, null)
            commit",
    },
    Step {
        name: "identity INDEX: an old row only where the status changes",
        sql: r"ALTER TABLE @processes REPLICA IDENTITY USING INDEX by_status;
            BEGIN;
            PROCESS ('p4', 'running', repeat('z', 2100), NULL, @T, NULL, @T);
            UPDATE @processes SET aux_state = '\x01' WHERE process_id = 'p4';
            UPDATE @processes SET status = 'error' WHERE process_id = 'p4';
            DELETE FROM @processes WHERE process_id = 'p4';
            COMMIT",
        sends: "
            begin
            type public.process_status
            type public.process_status
            @processes_index
            insert processes ('p4', 'running', z..., null, T, null, 'running', T, null)
            update processes ('p4', 'running', unchanged, x01, T, null, 'running', T, null)
            update processes key ('p4', 'running', null, null, null, null, null, null, null) new ('p4', 'error', unchanged, x01, T, null, 'running', T, null)
            delete processes key ('p4', 'error', null, null, null, null, null, null, null)
            commit",
    },
    Step {
        name: "a new label of the enum",
        sql: "ALTER TYPE process_status ADD VALUE 'paused'; PROCESS ('p5', 'paused', NULL, NULL, @T, NULL, @T)",
        sends: "
            begin
            insert processes ('p5', 'paused', null, null, T, null, 'running', T, null)
            commit",
    },
    Step {
        name: "DDL between two changes of a transaction",
        sql: r#"BEGIN;
            EVENT ('p5', 1, 1, @T, NULL, 'a');
            ALTER TABLE @events ALTER COLUMN event_id TYPE bigint, ADD COLUMN "naïve ""name""" text DEFAULT 'd';
            EVENT ('p5', 1, 2, @T, NULL, 'b');
            COMMIT"#,
        sends: "
            begin
            insert events ('p5', 1, 1, T, null, x61)
            relation public.default/default_events @new_columns
            insert events ('p5', 1, 2, T, null, x62, 'd')
            commit",
    },
    Step {
        name: "a rename keeps the table's OID",
        sql: "BEGIN;
            ALTER TABLE @events RENAME TO renamed;
            DELETE FROM renamed WHERE event_id = 2;
            ALTER TABLE renamed RENAME TO @events;
            COMMIT",
        sends: "
            begin
            relation public.renamed (was default/default_events) @new_columns
            delete renamed key ('p5', null, 2, null, null, null, null)
            commit",
    },
    Step {
        name: "rolled back to a savepoint",
        sql: "BEGIN;
            EVENT ('p5', 1, 2, @T, NULL, 'c');
            SAVEPOINT s;
            EVENT ('p5', 1, 3, @T, NULL, 'lost');
            ROLLBACK TO s;
            EVENT ('p5', 1, 4, @T, NULL, 'd');
            COMMIT",
        sends: "
            begin
            relation public.default/default_events (was renamed) @new_columns
            insert events ('p5', 1, 2, T, null, x63, 'd')
            insert events ('p5', 1, 4, T, null, x64, 'd')
            commit",
    },
    Step { name: "rolled back", sql: "BEGIN; EVENT ('p5', 1, 5, @T, NULL, 'lost'); ROLLBACK", sends: "" },
    Step {
        name: "logical messages, one of them outside of its transaction",
        sql: r"BEGIN;
            SELECT pg_logical_emit_message(true, 'in', 'x'::bytea);
            SELECT pg_logical_emit_message(false, 'outside', '\x00ff'::bytea);
            EVENT ('p5', 1, 5, @T, NULL, 'e');
            COMMIT",
        sends: "
            message transactional=false outside 00ff
            begin
            message transactional=true in 78
            insert events ('p5', 1, 5, T, null, x65, 'd')
            commit",
    },
    Step {
        name: "replicated from elsewhere",
        sql: "SELECT pg_replication_origin_session_setup('elsewhere');
            BEGIN;
            SELECT pg_replication_origin_xact_setup('16/B374D848', @T);
            EVENT ('p5', 1, 6, @T, NULL, 'f');
            COMMIT;
            SELECT pg_replication_origin_session_reset()",
        sends: "
            begin
            origin elsewhere at 16/B374D848
            insert events ('p5', 1, 6, T, null, x66, 'd')
            commit",
    },
    Step {
        name: "truncate one table",
        sql: "TRUNCATE @events RESTART IDENTITY",
        sends: "
            begin
            relation public.default/default_events @new_columns
            truncate events cascade=false restart_identity=true
            commit",
    },
    Step {
        name: "truncate with all that refers to it",
        sql: "TRUNCATE @processes CASCADE",
        sends: "
            begin
            type public.process_status
            type public.process_status
            @processes_index
            relation public.default/default_events @new_columns
            truncate events processes cascade=true restart_identity=false
            commit",
    },
];
