//! Settings with which confirmed messages can be lost are found.

use std::collections::HashMap;

use cdc_notifier::sink::kafka::{
    TopicState,
    durability::{Risk, risks},
};

use crate::{kafka::shared, recorder::client};

#[test]
fn each_risk_names_its_topics() {
    let server = shared();
    let unclean = [("unclean.leader.election.enable", "true")];
    let brave = [("min.insync.replicas", "2")];
    server.create_topic_with("durability-a", 1, &unclean);
    server.create_topic_with("durability-b", 1, &brave);
    let client = client(&server.bootstrap(), &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = |replicas: usize| {
        let topics: HashMap<_, _> = ["durability-a", "durability-b"]
            .map(|topic| (topic.to_owned(), TopicState { partitions: 1, replicas }))
            .into();
        runtime.block_on(risks(&client, &topics)).into_iter().map(|Risk { message, .. }| message).collect::<Vec<_>>()
    };
    let [single, unclean] = &found(1)[..] else { panic!("two") };
    assert!(single.starts_with("2 topics (durability-a, durability-b) have one replica"), "{single}");
    assert!(unclean.starts_with("1 topics (durability-a) have unclean.leader.election.enable=true"), "{unclean}");
    // As if they had more replicas than this cluster has brokers.
    let [insync, again] = &found(3)[..] else { panic!("two") };
    assert!(insync.starts_with("1 topics (durability-a) have min.insync.replicas=1"), "{insync}");
    assert_eq!(again, unclean);
}
