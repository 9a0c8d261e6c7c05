//! What streams cost that have nothing to do.

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    bed::Bed,
    machine,
    scene::{self, Configuration, Namespace},
    service::{Service, eventually},
};

/// How long it is looked at.
const IDLE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_mins(5);

/// How many slots, and how many namespaces in each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) slots: usize,
    pub(crate) namespaces: usize,
}

/// The shapes that are compared: the second less the first is what slots cost, the third less the first what namespaces do.
pub(crate) const SHAPES: [Shape; 3] =
    [Shape { slots: 1, namespaces: 1 }, Shape { slots: 200, namespaces: 1 }, Shape { slots: 1, namespaces: 1_000 }];

/// What was seen.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Seconds until all stream: when publications and slots are created, and when they are there.
    pub(crate) first_start: f64,
    pub(crate) start: f64,
    /// Of a core, in percent.
    pub(crate) cpu: f64,
    /// Resident bytes.
    pub(crate) memory: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
    /// Context switches a second.
    pub(crate) wake_ups: f64,
}

/// Starts the service with as many streams, and leaves them alone.
pub(crate) fn run(bed: &mut Bed, program: &Path, shape: Shape) -> Streams {
    let to = Namespace::new("");
    to.create_topics(&bed.kafka, 1);
    let slots: Vec<_> = (0..shape.slots).map(|_| scene::unique("idle")).collect();
    let mut configuration = Configuration::new("", &bed.kafka.bootstrap()).database("main", &bed.postgres, "postgres");
    for slot in &slots {
        for _ in 0..shape.namespaces {
            let namespace = Namespace { name: scene::unique("n"), ..to.clone() };
            scene::create_tables(&mut bed.sql, &[&namespace]);
            let alter = format!("ALTER TABLE \"{}_processes\" REPLICA IDENTITY FULL", namespace.name);
            bed.sql.batch_execute(&alter).unwrap();
            configuration = configuration.stream("main", slot, &namespace);
        }
    }
    let begun = Instant::now();
    let mut service = Service::start_program(program, configuration.text(), &[]);
    let first_start = all_stream(&service, shape.slots, begun);
    service.stop();
    let begun = Instant::now();
    service.start_again();
    let start = all_stream(&service, shape.slots, begun);
    sleep(Duration::from_secs(3));
    let pid = service.pid().as_raw();
    let (cpu, switches, at) = (machine::of_threads(pid), machine::switches(pid), Instant::now());
    sleep(IDLE);
    let seconds = at.elapsed().as_secs_f64();
    let streams = Streams {
        first_start,
        start,
        cpu: (machine::of_threads(pid) - cpu).0 / seconds * 100.0,
        memory: machine::memory(pid, "VmRSS:"),
        threads: machine::entries(pid, "task"),
        descriptors: machine::entries(pid, "fd"),
        wake_ups: (machine::switches(pid) - switches) as f64 / seconds,
    };
    service.stop();
    for slot in &slots {
        bed.drop_slot(slot);
    }
    streams
}

/// Seconds until all slots stream.
fn all_stream(service: &Service, slots: usize, begun: Instant) -> f64 {
    eventually("all slots stream", PATIENCE, || {
        let (_, body) = service.get("/api/v1/streams");
        let streams = body["streams"].as_array().ok_or("no streams")?;
        let streaming = streams.iter().filter(|stream| stream["state"] == "streaming").count();
        if streaming == slots { Ok(()) } else { Err(format!("{streaming} of {slots}")) }
    });
    begun.elapsed().as_secs_f64()
}
