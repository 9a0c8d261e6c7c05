//! How the service starts, what it says when something is wrong, and that it goes on by itself once that is mended.

mod command_line;
mod history;
mod hostile;
mod http;
mod joining;
mod kafka_refusals;
mod least_privileges;
mod logins;
mod many;
mod poison;
mod publications;
mod records;
mod schema_changes;
mod slots;
mod start;
mod tools;
mod two_clients;
mod vectors;
