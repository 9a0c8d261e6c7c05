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
        world.under_load(&writer, 10 + 17 * (round % 7));
        world.service_mut().kill();
        world.start_service();
    }
    world.wait_for_all("streaming");
    world.under_load(&writer, 200);
    writer.stop();
    let tally = world.verify();
    println!("killed twenty times: {} messages, {} repeats", tally.distinct, tally.repeats());
    assert!(tally.distinct > 1_000, "{tally:?}");
    world.service_mut().stop();
}
