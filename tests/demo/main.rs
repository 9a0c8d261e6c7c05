//! `cdc-notifier demo`: what it shows is what happened, and nothing of it stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod run;
mod shown;

use nix::sys::signal::Signal;

use crate::{
    run::Run,
    shown::{KINDS, Shown},
};

#[test]
fn what_was_written_arrives_and_is_counted() {
    // Asked for colours and against them: against them wins.
    let run = Run::start(&["--seconds", "5"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]);
    let ended = run.ends();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.stdout);

    let shown = Shown::read(&ended.stdout);
    shown.check();
    for kind in KINDS {
        assert!(shown.count(kind) > 0, "no message of kind {kind}: {}", ended.stdout);
    }
    for topic in ["orders_events", "orders_lifecycle", "bills_events", "bills_lifecycle"] {
        assert!(shown.messages.iter().any(|message| message.topic == topic), "{topic}: {}", ended.stdout);
    }
    let failed = shown.messages.iter().find(|message| message.kind == "failed").unwrap();
    let reason = &failed.value["data"]["machine"]["status_changed"]["new_status"]["failed"]["reason"];
    assert!(reason.as_str().unwrap().starts_with("timeout: "), "{}", failed.value);

    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let lines =
        ended.stdout.lines().filter(|line| line.trim_start().starts_with("topic  ") || line.starts_with("Summary"));
    for line in lines {
        assert!(readme.contains(line), "README.md does not show the demo as it is: {line}");
    }
}

#[test]
fn ends_in_good_order_when_asked_in_the_middle() {
    for (signal, coloured) in [(Signal::SIGINT, true), (Signal::SIGTERM, false)] {
        let environment = [("CLICOLOR_FORCE", "1")];
        let mut run = Run::start(&[], if coloured { &environment } else { &[] });
        run.reads("removed");
        run.signal(signal);
        let ended = run.ends();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stdout.contains('\u{1b}'), coloured, "{}", ended.stdout);
        assert!(ended.stdout.contains("Summary"), "{}", ended.stdout);
        if !coloured {
            Shown::read(&ended.stdout).check();
        }
    }
}

#[test]
fn leaves_nothing_behind_when_asked_at_the_beginning() {
    let mut run = Run::start(&[], &[]);
    run.reads("A writer changes");
    run.signal(Signal::SIGTERM);
    let ended = run.ends();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(!ended.stdout.contains("Summary"), "{}", ended.stdout);
}

#[test]
fn ends_when_nobody_reads_any_more() {
    let mut run = Run::start(&[], &[]);
    run.reads("created");
    run.close_stdout();
    assert_eq!(run.ends().code, Some(0));
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let nowhere = [("PATH", ""), ("CDC_NOTIFIER_POSTGRES_BIN", "/nonexistent")];
    let ended = Run::start(&["--seconds", "5"], &nowhere).ends();
    assert_eq!(ended.code, Some(78), "{ended:?}");
    let [what, remedy] = ended.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{ended:?}") };
    assert!(what.starts_with("demo: PostgreSQL's server programs were not found"), "{what}");
    assert!(remedy.contains("apt-get install postgresql") && remedy.contains("CDC_NOTIFIER_POSTGRES_BIN"), "{remedy}");

    let ended = Run::start(&["--seconds", "5"], &[("CDC_NOTIFIER_ADMIN_LISTEN", "192.0.2.1:1")]).ends();
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("CDC_NOTIFIER_ADMIN_LISTEN"), "{ended:?}");
}
