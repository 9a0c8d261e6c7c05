//! The part of progressor's tables that the service reads, in SQL of our own.

/// Statements that create the type `process_status` (if it is missing) and the tables of a namespace in schema `public`:
/// processes, tasks (no more than what the others refer to) and events.
///
/// They go through the simple query protocol in one piece, as one transaction.
#[must_use]
pub fn schema_sql(namespace: &str) -> String {
    let processes = quote_identifier(&format!("{namespace}_processes"));
    let tasks = quote_identifier(&format!("{namespace}_tasks"));
    let events = quote_identifier(&format!("{namespace}_events"));
    format!(
        "BEGIN;
DO $$
BEGIN
  IF to_regtype('public.process_status') IS NULL THEN
    CREATE TYPE public.process_status AS ENUM ('running', 'error', 'init');
  END IF;
END $$;
CREATE TABLE public.{processes} (
  process_id varchar(256) PRIMARY KEY,
  status public.process_status NOT NULL,
  detail text,
  aux_state bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  metadata jsonb,
  previous_status public.process_status NOT NULL DEFAULT 'running',
  status_changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.{tasks} (
  task_id bigserial PRIMARY KEY,
  process_id varchar(256) NOT NULL REFERENCES public.{processes}
);
ALTER TABLE public.{processes} ADD COLUMN corrupted_by bigint REFERENCES public.{tasks};
CREATE TABLE public.{events} (
  process_id varchar(256) NOT NULL REFERENCES public.{processes},
  task_id bigint NOT NULL REFERENCES public.{tasks},
  event_id smallint NOT NULL,
  timestamp timestamptz DEFAULT now(),
  metadata jsonb,
  payload bytea NOT NULL,
  PRIMARY KEY (process_id, event_id)
);
COMMIT;
"
    )
}

/// A name as an SQL identifier: in double quotes, inner ones doubled.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quote_identifier(r#"a"b/c"#), r#""a""b/c""#);
        let sql = schema_sql(r#"x"y"#);
        assert!(sql.contains(r#"CREATE TABLE public."x""y_processes" ("#), "{sql}");
        assert!(!sql.contains(r#"x"y"#), "{sql}");
    }
}
