-- What progressor creates for the namespace "default/default", as far as cdc-notifier reads it. The server runs this file once,
-- in the database progressor_db, as the role progressor. Publication and slot are created by cdc-notifier.

CREATE TYPE process_status AS ENUM ('running', 'error', 'init');

CREATE TABLE "default/default_processes" (
  process_id varchar(256) PRIMARY KEY,
  status process_status NOT NULL,
  detail text,
  aux_state bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  metadata jsonb,
  previous_status process_status NOT NULL DEFAULT 'running',
  status_changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE "default/default_tasks" (
  task_id bigserial PRIMARY KEY,
  process_id varchar(256) NOT NULL REFERENCES "default/default_processes"
);

ALTER TABLE "default/default_processes" ADD COLUMN corrupted_by bigint REFERENCES "default/default_tasks";

CREATE TABLE "default/default_events" (
  process_id varchar(256) NOT NULL REFERENCES "default/default_processes",
  task_id bigint NOT NULL REFERENCES "default/default_tasks",
  event_id smallint NOT NULL,
  timestamp timestamptz DEFAULT now(),
  metadata jsonb,
  payload bytea NOT NULL,
  PRIMARY KEY (process_id, event_id)
);
