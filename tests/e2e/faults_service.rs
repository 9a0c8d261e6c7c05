//! The service itself is killed: what was in flight comes again, identical and in order.

use crate::{
    world::{Broker, QUICK, WIDE, World},
    writer::Load,
};

#[test]
fn killed_twenty_times_under_load() {
    let mut world = World::streaming(Broker::shared(), QUICK, &WIDE);
    let writer = world.write(Load { rate: 200, seed: 3 });
    for round in 0..20 {
        // At every phase of a life: while it starts, just after, and while it streams.
        writer.go_on(10 + 17 * (round % 7));
        world.service_mut().kill();
        world.start_service();
    }
    world.wait_for_all("streaming");
    writer.go_on(200);
    writer.stop();
    let tally = world.verify();
    println!("killed twenty times: {} messages, {} repeats", tally.distinct, tally.repeats());
    assert!(tally.distinct > 1_000, "{tally:?}");
    world.service_mut().stop();
}

/// Over TCP a stream that is behind pauses between its reads, out of the event loop.
#[test]
fn killed_while_it_catches_up_over_tcp() {
    let mut world = World::streaming_over_tcp(Broker::shared(), QUICK, &WIDE);
    let writer = world.write(Load { rate: 1_000, seed: 5 });
    for _ in 0..5 {
        world.service_mut().kill();
        writer.go_on(1_000);
        world.start_service();
        writer.go_on(300);
        world.terminate("walsender");
        writer.go_on(300);
    }
    writer.stop();
    world.verify();
    world.service_mut().stop();
}
