//! Credits: tables, and threads that race for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    thread,
};

use cdc_notifier::delivery::{Account, Pool};

const KIB: usize = 1024;

#[test]
fn half_is_reserved_and_the_rest_can_be_borrowed_in_pieces() {
    for (budget, slots, reserve, pieces) in [
        (1024 * KIB, 1, 512 * KIB, 8),
        (1024 * KIB, 2, 256 * KIB, 8),
        (1024 * KIB, 0, 512 * KIB, 16),
        (100_000, 3, 16_666, 0),
    ] {
        let pool = Pool::new(budget, slots);
        let account = Account::new(Arc::clone(&pool));
        assert_eq!(account.limit(), reserve, "{budget} for {slots}");
        account.charge(1 << 32);
        for _ in 0..100 {
            assert!(!account.has_room(true), "not even with all of it");
        }
        assert_eq!(account.limit(), reserve + pieces * 64 * KIB, "{budget} for {slots}");
        assert!(!account.has_room(false));
    }
}

#[test]
fn room_is_below_the_limit_and_one_record_may_pass_it() {
    let account = Account::new(Pool::new(200_000, 1));
    assert!(account.has_room(false));
    account.charge(99_999);
    assert!(account.has_room(false));
    account.charge(500_000);
    assert_eq!(account.used(), 599_999);
    assert!(!account.has_room(false));
    assert!(!account.release(499_999), "nothing to wake anybody for");
    assert!(!account.has_room(false), "at the limit is not below it");
    assert!(!account.release(1));
    assert!(account.has_room(false));
}

#[test]
fn a_reader_is_woken_when_half_is_free_and_when_nothing_is_used() {
    let account = Account::new(Pool::new(200_000, 1));
    account.charge(100_000);
    let woken = [10_000, 39_999, 1, 1, 49_998, 1].map(|bytes| account.release(bytes));
    assert_eq!(woken, [false, false, true, false, false, true]);
}

#[test]
fn what_was_borrowed_goes_back_when_nothing_is_used_or_its_owner_goes() {
    let pool = Pool::new(256 * KIB, 2);
    let (one, other) = (Account::new(Arc::clone(&pool)), Account::new(pool));
    one.charge(64 * KIB);
    assert!(!one.has_room(false));
    assert!(one.has_room(true));
    one.charge(64 * KIB);
    assert!(one.has_room(true));
    assert_eq!(one.limit(), 192 * KIB);
    other.charge(64 * KIB);
    assert!(!other.has_room(true), "nothing is left");
    assert!(!one.release(1) || one.used() > 0);
    assert!(!other.has_room(true), "borrowed as long as anything is used");
    assert!(one.release(one.used()));
    assert_eq!(one.limit(), 64 * KIB);
    assert!(other.has_room(true));
    assert_eq!(other.limit(), 128 * KIB);
    drop(other);
    one.charge(64 * KIB);
    assert!(one.has_room(true));
    one.charge(64 * KIB);
    assert!(one.has_room(true));
}

/// Readers that charge as long as there is room, and threads that give back behind them: together they never use more than the budget
/// and a record each, and in the end all of it is there again.
#[test]
fn slots_together_never_use_more_than_the_budget() {
    const RECORD: usize = 40 * KIB;
    const SLOTS: usize = 3;
    let pool = Pool::new(768 * KIB, SLOTS);
    let accounts: Vec<_> = (0..SLOTS).map(|_| Account::new(Arc::clone(&pool))).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for account in &accounts {
            let (sender, receiver) = sync_channel(64);
            let (over, accounts) = (&over, &accounts);
            scope.spawn(move || {
                for turn in 0..60_000_u32 {
                    if account.has_room(!turn.is_multiple_of(7)) {
                        account.charge(RECORD);
                        // Only this thread charges: whatever was given back meanwhile, the rest fits.
                        if account.used() > account.limit() + RECORD {
                            over.store(true, Ordering::Relaxed);
                        }
                        sender.send(RECORD).unwrap();
                    } else {
                        thread::yield_now();
                    }
                    let limits: usize = accounts.iter().map(Account::limit).sum();
                    // Pieces may move from one to another between two looks.
                    if limits > 2 * 768 * KIB {
                        over.store(true, Ordering::Relaxed);
                    }
                }
            });
            scope.spawn(move || {
                for bytes in receiver {
                    account.release(bytes);
                }
            });
        }
    });
    assert!(!over.load(Ordering::Relaxed), "more was used than the limit allows");
    let mut all = 0;
    for account in &accounts {
        assert_eq!((account.used(), account.limit()), (0, 128 * KIB), "all is given back");
    }
    while accounts[0].has_room(true) {
        accounts[0].charge(KIB);
        all += KIB;
    }
    assert_eq!(all, (128 + 384) * KIB, "nothing of what can be borrowed is lost");
}
