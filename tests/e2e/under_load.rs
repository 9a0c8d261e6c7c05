//! A load like progressor's arrives whole and in order.

use crate::{
    world::{Broker, NARROW, QUICK, WIDE, World},
    writer::Load,
};

#[test]
fn everything_arrives_once_from_two_databases_three_slots_four_namespaces() {
    let world = World::streaming(Broker::shared(), QUICK, &WIDE);
    let writer = world.write(Load { rate: 200, seed: 1 });
    world.under_load(&writer, 2_000);
    writer.stop();
    let tally = world.verify();
    assert!(tally.distinct > 2_000, "{tally:?}");
    assert_eq!(tally.repeats(), 0);
}

#[test]
fn a_key_keeps_its_order_when_partitions_are_added() {
    let mut world = World::new(Broker::own(), QUICK, &NARROW);
    world.start_service();
    world.wait_for_all("streaming");
    let writer = world.write(Load { rate: 200, seed: 2 });
    world.under_load(&writer, 300);
    world.add_partitions(7);
    // The topics are looked at every half minute.
    let topic = &world.lanes[0].namespace.eventsink;
    crate::service::eventually("a new partition is used", 2 * crate::service::PATIENCE, || {
        let found = world.kafka.consume_all(topic);
        if found.iter().any(|record| record.partition > 3) { Ok(()) } else { Err(format!("{} records", found.len())) }
    });
    world.under_load(&writer, 300);
    writer.stop();
    assert_eq!(world.verify().repeats(), 0);
}
