//! Every state of the slot machine with every input.

use std::{collections::BTreeSet, time::Duration};

use cdc_notifier::{
    change::{Class, Trouble},
    delivery::{Effect, Ended, Input, RetryTimes, SlotMachine, State, Then},
};

const TIMES: RetryTimes = RetryTimes {
    resend_timeout: Duration::from_secs(3),
    max_retries: 2,
    reconnect_timeout: Duration::from_secs(7),
    send_timeout: Duration::from_secs(30),
};

const STATES: [&str; 13] = [
    "idle",
    "connecting",
    "streaming",
    "closing, reconnect after 3s",
    "closing, reconnect after 7s",
    "closing, halt",
    "closing, stop",
    "waiting",
    "waiting, settled",
    "waiting, due",
    "halted",
    "draining",
    "stopped",
];

const INPUTS: [&str; 18] = [
    "start",
    "streaming",
    "halting",
    "ended, closed",
    "ended, unavailable",
    "ended, invalid row",
    "ended, send failed",
    "ended, rejoin",
    "send failed",
    "send failed, progressed",
    "send failed, invalid row",
    "server stopping",
    "taken",
    "settled",
    "timer",
    "old timer",
    "resume",
    "drain",
];

const ENDED: [&str; 5] =
    ["ended, closed", "ended, unavailable", "ended, invalid row", "ended, send failed", "ended, rejoin"];
const RESEND: [&str; 2] = ["send failed", "send failed, progressed"];

/// State, inputs, effects, state after.
type Row = (&'static str, &'static [&'static str], &'static str, &'static str);

/// All that changes something. What is not named here does nothing.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("idle", &["start"], "open", "connecting"),
    ("idle", &["taken"], "purge", "idle"),
    ("idle", &["drain"], "stopped", "stopped"),

    ("connecting", &["streaming"], "", "streaming"),
    ("connecting", &["halting"], "", "closing, halt"),
    ("connecting", &["ended, closed", "ended, unavailable"], "settle, timer 7s", "waiting"),
    ("connecting", &["ended, invalid row"], "", "halted"),
    ("connecting", &["ended, send failed"], "settle, timer 3s", "waiting"),
    ("connecting", &["ended, rejoin"], "settle, timer 0s", "waiting"),
    ("connecting", &RESEND, "abort", "closing, reconnect after 3s"),
    ("connecting", &["send failed, invalid row"], "halt", "closing, halt"),
    ("connecting", &["drain"], "abort", "closing, stop"),

    ("streaming", &["halting"], "", "closing, halt"),
    ("streaming", &["ended, closed", "ended, unavailable"], "settle, timer 7s", "waiting"),
    ("streaming", &["ended, invalid row"], "", "halted"),
    ("streaming", &["ended, send failed"], "settle, timer 3s", "waiting"),
    ("streaming", &["ended, rejoin"], "settle, timer 0s", "waiting"),
    ("streaming", &RESEND, "abort", "closing, reconnect after 3s"),
    ("streaming", &["send failed, invalid row"], "halt", "closing, halt"),
    ("streaming", &["server stopping"], "drain 5s", "closing, reconnect after 7s"),
    ("streaming", &["drain"], "drain", "draining"),

    ("closing, reconnect after 3s", &["halting", "send failed, invalid row"], "", "closing, halt"),
    ("closing, reconnect after 3s", &ENDED, "settle, timer 3s", "waiting"),
    ("closing, reconnect after 3s", &["server stopping"], "drain 5s", "closing, reconnect after 3s"),
    ("closing, reconnect after 3s", &["drain"], "drain", "closing, stop"),

    ("closing, reconnect after 7s", &["halting", "send failed, invalid row"], "", "closing, halt"),
    ("closing, reconnect after 7s", &ENDED, "settle, timer 7s", "waiting"),
    ("closing, reconnect after 7s", &["server stopping"], "drain 5s", "closing, reconnect after 7s"),
    ("closing, reconnect after 7s", &["drain"], "drain", "closing, stop"),

    ("closing, halt", &ENDED, "", "halted"),
    ("closing, halt", &["server stopping"], "drain 5s", "closing, halt"),
    ("closing, halt", &["drain"], "drain", "closing, stop"),

    ("closing, stop", &ENDED, "stopped", "stopped"),
    ("closing, stop", &["server stopping"], "drain 5s", "closing, stop"),
    ("closing, stop", &["drain"], "drain", "closing, stop"),

    ("waiting", &["settled"], "", "waiting, settled"),
    ("waiting", &["timer"], "", "waiting, due"),
    ("waiting", &["send failed, invalid row"], "", "halted"),
    ("waiting", &["taken"], "purge", "waiting"),
    ("waiting", &["drain"], "stopped", "stopped"),

    ("waiting, settled", &["timer"], "open", "connecting"),
    ("waiting, settled", &["send failed, invalid row"], "", "halted"),
    ("waiting, settled", &["drain"], "stopped", "stopped"),

    ("waiting, due", &["settled"], "open", "connecting"),
    ("waiting, due", &["send failed, invalid row"], "", "halted"),
    ("waiting, due", &["taken"], "purge", "waiting, due"),
    ("waiting, due", &["drain"], "stopped", "stopped"),

    ("halted", &["resume"], "settle, timer 0s", "waiting"),
    ("halted", &["taken"], "purge", "halted"),
    ("halted", &["drain"], "stopped", "stopped"),

    ("draining", &ENDED, "stopped", "stopped"),
    ("draining", &["server stopping"], "drain 5s", "draining"),
];

/// All pairs that are to do nothing, by state: a new input or state must be put here or above.
#[rustfmt::skip]
const NOTHING: &[(&str, &[&str])] = &[
    ("idle", &["streaming", "halting", "ended, closed", "ended, unavailable", "ended, invalid row", "ended, send failed",
        "ended, rejoin", "send failed", "send failed, progressed", "send failed, invalid row", "server stopping", "settled",
        "timer", "old timer", "resume"]),
    ("connecting", &["taken", "start", "server stopping", "settled", "timer", "old timer", "resume"]),
    ("streaming", &["taken", "start", "streaming", "settled", "timer", "old timer", "resume"]),
    ("closing, reconnect after 3s", &["taken", "start", "streaming", "send failed", "send failed, progressed", "settled", "timer",
        "old timer", "resume"]),
    ("closing, reconnect after 7s", &["taken", "start", "streaming", "send failed", "send failed, progressed", "settled", "timer",
        "old timer", "resume"]),
    ("closing, halt", &["taken", "start", "streaming", "halting", "send failed", "send failed, progressed", "send failed, invalid row",
        "settled", "timer", "old timer", "resume"]),
    ("closing, stop", &["taken", "start", "streaming", "halting", "send failed", "send failed, progressed", "send failed, invalid row",
        "settled", "timer", "old timer", "resume"]),
    ("waiting", &["start", "streaming", "halting", "ended, closed", "ended, unavailable", "ended, invalid row",
        "ended, send failed", "ended, rejoin", "send failed", "send failed, progressed", "server stopping", "old timer", "resume"]),
    ("waiting, settled", &["taken", "start", "streaming", "halting", "ended, closed", "ended, unavailable", "ended, invalid row",
        "ended, send failed", "ended, rejoin", "send failed", "send failed, progressed", "server stopping", "settled", "old timer",
        "resume"]),
    ("waiting, due", &["start", "streaming", "halting", "ended, closed", "ended, unavailable", "ended, invalid row",
        "ended, send failed", "ended, rejoin", "send failed", "send failed, progressed", "server stopping", "timer", "old timer",
        "resume"]),
    ("halted", &["start", "streaming", "halting", "ended, closed", "ended, unavailable", "ended, invalid row",
        "ended, send failed", "ended, rejoin", "send failed", "send failed, progressed", "send failed, invalid row",
        "server stopping", "settled", "timer", "old timer"]),
    ("draining", &["taken", "start", "streaming", "halting", "send failed", "send failed, progressed", "send failed, invalid row",
        "settled", "timer", "old timer", "resume", "drain"]),
    ("stopped", &["taken", "start", "streaming", "halting", "ended, closed", "ended, unavailable", "ended, invalid row",
        "ended, send failed", "ended, rejoin", "send failed", "send failed, progressed", "send failed, invalid row",
        "server stopping", "settled", "timer", "old timer", "resume", "drain"]),
];

fn trouble(class: Class) -> Trouble {
    Trouble::new(class, format!("{class} happened"), "")
}

fn send_failed(class: Class, progressed: bool) -> Input {
    Input::SendFailed { trouble: trouble(class), progressed }
}

fn input(name: &str, generation: u64) -> Input {
    match name {
        "start" => Input::Start,
        "streaming" => Input::Streaming,
        "halting" => Input::Halting(trouble(Class::Schema)),
        "ended, closed" => Input::Ended(Ended::Closed),
        "ended, unavailable" => Input::Ended(Ended::Failed(trouble(Class::PostgresUnavailable))),
        "ended, invalid row" => Input::Ended(Ended::Failed(trouble(Class::InvalidRow))),
        "ended, send failed" => Input::Ended(Ended::Failed(trouble(Class::SendFailed))),
        "ended, rejoin" => Input::Ended(Ended::Rejoin),
        "send failed" => send_failed(Class::TopicMissing, false),
        "send failed, progressed" => send_failed(Class::TopicMissing, true),
        "send failed, invalid row" => send_failed(Class::InvalidRow, false),
        "server stopping" => Input::ServerStopping,
        "taken" => Input::Taken(trouble(Class::SlotBusy)),
        "settled" => Input::Settled,
        "timer" => Input::Timer(generation),
        "old timer" => Input::Timer(u64::MAX),
        "resume" => Input::Resume,
        "drain" => Input::Drain,
        _ => panic!("{name}"),
    }
}

/// Names each variant, so that a new one does not compile until it is put into the table.
fn variant(input: &Input) -> usize {
    match input {
        Input::Start => 0,
        Input::Streaming => 1,
        Input::Halting(_) => 2,
        Input::Ended(Ended::Closed) => 3,
        Input::Ended(Ended::Failed(_)) => 4,
        Input::Ended(Ended::Rejoin) => 5,
        Input::SendFailed { .. } => 6,
        Input::ServerStopping => 7,
        Input::Settled => 8,
        Input::Timer(_) => 9,
        Input::Resume => 10,
        Input::Drain => 11,
        Input::Taken(_) => 12,
    }
}

fn effect_name(effect: &Effect) -> String {
    match effect {
        Effect::Open => "open".into(),
        Effect::Abort => "abort".into(),
        Effect::Drain { bound: None } => "drain".into(),
        Effect::Drain { bound: Some(bound) } => format!("drain {bound:?}"),
        Effect::Halt(_) => "halt".into(),
        Effect::Settle => "settle".into(),
        Effect::Purge => "purge".into(),
        Effect::Arm { after, .. } => format!("timer {}s", after.as_secs()),
        Effect::Stopped => "stopped".into(),
    }
}

fn state_name(state: &State) -> String {
    match state {
        State::Idle => "idle".into(),
        State::Connecting => "connecting".into(),
        State::Streaming => "streaming".into(),
        State::Closing(Then::Reconnect(delay)) => format!("closing, reconnect after {delay:?}"),
        State::Closing(Then::Halt) => "closing, halt".into(),
        State::Closing(Then::Stop) => "closing, stop".into(),
        State::Waiting { settled: false, due: false } => "waiting".into(),
        State::Waiting { settled: true, due: false } => "waiting, settled".into(),
        State::Waiting { settled: false, due: true } => "waiting, due".into(),
        State::Waiting { settled: true, due: true } => panic!("it should have opened"),
        State::Halted => "halted".into(),
        State::Draining => "draining".into(),
        State::Stopped => "stopped".into(),
    }
}

fn handle(machine: &mut SlotMachine, generation: &mut u64, name: &str) -> String {
    let effects = machine.handle(input(name, *generation));
    for effect in &effects {
        if let Effect::Arm { generation: armed, .. } = effect {
            assert_ne!(armed, generation, "a timer cannot be told from the one before");
            *generation = *armed;
        }
    }
    effects.iter().map(effect_name).collect::<Vec<_>>().join(", ")
}

/// The machine in a state, reached by inputs, with the generation of its last timer.
fn reach(state: &str) -> (SlotMachine, u64) {
    let inputs: &[&str] = match state {
        "idle" => &[],
        "connecting" => &["start"],
        "streaming" => &["start", "streaming"],
        "closing, reconnect after 3s" => &["start", "streaming", "send failed"],
        "closing, reconnect after 7s" => &["start", "streaming", "server stopping"],
        "closing, halt" => &["start", "streaming", "halting"],
        "closing, stop" => &["start", "drain"],
        "waiting" => &["start", "ended, unavailable"],
        "waiting, settled" => &["start", "ended, unavailable", "settled"],
        "waiting, due" => &["start", "ended, unavailable", "timer"],
        "halted" => &["start", "ended, invalid row"],
        "draining" => &["start", "streaming", "drain"],
        "stopped" => &["drain"],
        _ => panic!("{state}"),
    };
    let (mut machine, mut generation) = (SlotMachine::new(TIMES), 0);
    for name in inputs {
        handle(&mut machine, &mut generation, name);
    }
    assert_eq!(state_name(machine.state()), state);
    (machine, generation)
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str)> {
    let changes = TABLE
        .iter()
        .flat_map(|(state, inputs, effects, after)| inputs.iter().map(move |input| (*state, *input, *effects, *after)));
    let nothing =
        NOTHING.iter().flat_map(|(state, inputs)| inputs.iter().map(move |input| (*state, *input, "", *state)));
    changes.chain(nothing)
}

#[test]
fn every_state_answers_every_input() {
    for (state, name, effects, after) in rows() {
        let (mut machine, mut generation) = reach(state);
        assert_eq!(handle(&mut machine, &mut generation, name), effects, "{state}: {name}");
        assert_eq!(state_name(machine.state()), after, "{state}: {name}");
    }
}

#[test]
fn no_pair_is_missing_or_there_twice() {
    let mut pairs = BTreeSet::new();
    for (state, name, ..) in rows() {
        assert!(pairs.insert((state, name)), "{state}: {name} is there twice");
    }
    for state in STATES {
        for name in INPUTS {
            assert!(pairs.contains(&(state, name)), "{state}: {name} is missing");
        }
    }
    let variants: BTreeSet<_> = INPUTS.iter().map(|name| variant(&input(name, 0))).collect();
    assert_eq!(variants.into_iter().collect::<Vec<_>>(), (0..13).collect::<Vec<_>>());
}

#[test]
fn the_last_error_is_the_one_that_led_here() {
    for (state, name, expected) in [
        ("connecting", "ended, unavailable", Some(Class::PostgresUnavailable)),
        ("connecting", "halting", Some(Class::Schema)),
        ("streaming", "halting", Some(Class::Schema)),
        ("streaming", "send failed", Some(Class::TopicMissing)),
        ("streaming", "send failed, invalid row", Some(Class::InvalidRow)),
        ("streaming", "server stopping", Some(Class::PostgresUnavailable)),
        ("streaming", "ended, rejoin", None),
        ("streaming", "drain", None),
        ("closing, reconnect after 3s", "halting", Some(Class::Schema)),
        ("closing, reconnect after 3s", "send failed, invalid row", Some(Class::InvalidRow)),
        ("closing, reconnect after 3s", "ended, unavailable", Some(Class::TopicMissing)),
        ("closing, halt", "ended, unavailable", Some(Class::Schema)),
        ("closing, halt", "send failed", Some(Class::Schema)),
        ("closing, stop", "halting", Some(Class::Schema)),
        ("draining", "halting", Some(Class::Schema)),
        ("draining", "send failed", None),
        ("waiting", "send failed, invalid row", Some(Class::InvalidRow)),
        ("waiting", "send failed", Some(Class::PostgresUnavailable)),
        ("waiting", "taken", Some(Class::SlotBusy)),
        ("waiting, settled", "taken", Some(Class::PostgresUnavailable)),
        ("waiting", "halting", Some(Class::PostgresUnavailable)),
        ("halted", "resume", Some(Class::InvalidRow)),
        ("halted", "taken", Some(Class::InvalidRow)),
        ("stopped", "halting", None),
    ] {
        let (mut machine, mut generation) = reach(state);
        handle(&mut machine, &mut generation, name);
        assert_eq!(machine.last_error().map(|trouble| trouble.class), expected, "{state}: {name}");
    }
}

#[test]
fn a_halt_by_a_send_says_what_it_stands_before() {
    let (mut machine, _) = reach("streaming");
    assert_eq!(
        machine.handle(send_failed(Class::TopicRecreated, true)),
        [Effect::Halt(trouble(Class::TopicRecreated))]
    );
}

/// One failed send from streaming to the next connection; returns the delay.
fn fail_once(machine: &mut SlotMachine, class: Class, progressed: bool) -> u64 {
    machine.handle(Input::Streaming);
    assert_eq!(machine.handle(send_failed(class, progressed)), [Effect::Abort]);
    let effects = machine.handle(Input::Ended(Ended::Closed));
    let [Effect::Settle, Effect::Arm { after, generation }] = effects[..] else { panic!("{effects:?}") };
    machine.handle(Input::Settled);
    machine.handle(Input::Timer(generation));
    assert_eq!(*machine.state(), State::Connecting);
    after.as_secs()
}

#[test]
fn after_the_last_retry_everything_starts_again_after_reconnect_timeout() {
    let (mut machine, _) = reach("connecting");
    let mut delay = |progressed| fail_once(&mut machine, Class::SendFailed, progressed);
    assert_eq!([false; 7].map(&mut delay), [3, 3, 7, 3, 3, 7, 3]);
    assert_eq!([true, false, true, true, false, false].map(&mut delay), [3, 3, 3, 3, 3, 7]);
}

#[test]
fn a_person_who_resumes_gives_all_retries_back() {
    let (mut machine, _) = reach("connecting");
    assert_eq!([false; 2].map(|progressed| fail_once(&mut machine, Class::SendFailed, progressed)), [3, 3]);
    machine.handle(Input::Ended(Ended::Failed(trouble(Class::InvalidRow))));
    let effects = machine.handle(Input::Resume);
    let Some(Effect::Arm { generation, .. }) = effects.get(1) else { panic!("{effects:?}") };
    machine.handle(Input::Settled);
    machine.handle(Input::Timer(*generation));
    assert_eq!([false; 3].map(|progressed| fail_once(&mut machine, Class::SendFailed, progressed)), [3, 3, 7]);
}

#[test]
fn a_timer_of_an_earlier_wait_opens_nothing() {
    let (mut machine, first) = reach("waiting, settled");
    machine.handle(send_failed(Class::InvalidRow, false));
    machine.handle(Input::Resume);
    machine.handle(Input::Settled);
    assert_eq!(machine.handle(Input::Timer(first)), []);
    assert_eq!(*machine.state(), State::Waiting { settled: true, due: false });
}

#[test]
fn one_that_crashed_too_often_begins_halted() {
    let mut machine = SlotMachine::halted(TIMES, trouble(Class::Bug));
    assert_eq!((machine.state(), machine.state().name()), (&State::Halted, "halted"));
    assert_eq!(machine.last_error().map(|trouble| trouble.class), Some(Class::Bug));
    assert_eq!(machine.handle(Input::Start), []);
    assert_eq!(machine.handle(Input::Resume).len(), 2);
}

#[test]
fn the_names_are_those_of_the_contract() {
    let names = STATES.map(|state| reach(state).0.state().name());
    let expected = [
        "connecting",
        "connecting",
        "streaming",
        "waiting",
        "waiting",
        "draining",
        "draining",
        "waiting",
        "waiting",
        "waiting",
        "halted",
        "draining",
        "draining",
    ];
    assert_eq!(names, expected);
}
