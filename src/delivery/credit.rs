//! Who may read on: bytes that are read and not yet settled, charged before a record is handed over.
//!
//! Each slot has a reserved minimum of the budget and may borrow from what is left; one whose Kafka is away borrows no more,
//! so that its trouble does not take another's share. A credit is not an acknowledgement: it only bounds memory.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// What a record costs beside its key and value: librdkafka's message (about 196 bytes, measured), its copy in a request, our
/// record of it, the allocator's rounding. With this much, records of 300 bytes take no more memory than they are charged.
pub const RECORD_OVERHEAD: usize = 448;

/// Smallest piece that a slot borrows.
const PIECE: usize = 64 * 1024;

/// A larger budget is taken as this: half of what an account can count.
const MOST: usize = 1 << 39;

/// What the slots may borrow, together.
#[derive(Debug)]
pub struct Pool {
    reserve: usize,
    free: AtomicUsize,
}

impl Pool {
    /// Half of the budget is reserved, in equal parts; the other half can be borrowed.
    #[must_use]
    pub fn new(budget: usize, slots: usize) -> Arc<Self> {
        let budget = budget.min(MOST);
        let reserve = budget / 2 / slots.max(1);
        let free = budget.saturating_sub(reserve * slots);
        Arc::new(Self { reserve, free: AtomicUsize::new(free) })
    }

    fn take(&self, bytes: usize) -> bool {
        self.free.try_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(bytes)).is_ok()
    }
}

/// One slot's share. What is used and what is borrowed change together, in one word: otherwise what is given back while the
/// reader charges could be used twice.
#[derive(Debug)]
pub struct Account {
    pool: Arc<Pool>,
    share: AtomicU64,
}

/// What is used and borrowed at one moment: bytes in the lower 40 bits, borrowed pieces in the others.
#[derive(Clone, Copy)]
struct Share(u64);

impl Share {
    const USED: u64 = (1 << 40) - 1;
    const ONE_PIECE: u64 = 1 << 40;

    #[allow(clippy::cast_possible_truncation, reason = "counted from usize")]
    const fn used(self) -> usize {
        (self.0 & Self::USED) as usize
    }

    #[allow(clippy::cast_possible_truncation, reason = "counted from usize")]
    const fn borrowed(self) -> usize {
        (self.0 >> 40) as usize * PIECE
    }
}

impl Account {
    /// The account of one of the pool's slots.
    #[must_use]
    pub const fn new(pool: Arc<Pool>) -> Self {
        Self { pool, share: AtomicU64::new(0) }
    }

    fn share(&self) -> Share {
        Share(self.share.load(Ordering::Acquire))
    }

    fn limit_of(&self, share: Share) -> usize {
        self.pool.reserve + share.borrowed()
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.share().used()
    }

    /// Bytes that it may use now.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit_of(self.share())
    }

    /// Whether one more record may be made, whatever its size: the limit is passed by at most one record.
    /// Borrows when its own share is used up and `may_borrow`.
    #[must_use]
    pub fn has_room(&self, may_borrow: bool) -> bool {
        self.room(0, may_borrow) > 0
    }

    /// Bytes that nobody can take.
    #[must_use]
    pub fn reserve(&self) -> usize {
        self.pool.reserve
    }

    /// How many bytes may be charged from now on, of which so many are in use by the reader already. If that is no more than
    /// those, there is no room. Only the reader charges; until it does, so much may be charged, but for what was borrowed: that goes
    /// back when everything is settled. Who holds back no more than the reserve is right all the same, which is free then.
    #[must_use]
    pub fn room(&self, uncharged: usize, may_borrow: bool) -> usize {
        let free = |share: Share| self.limit_of(share).saturating_sub(share.used());
        let room = free(self.share());
        if room > uncharged || !may_borrow || !self.pool.take(PIECE) {
            return room;
        }
        let borrow = |word| (free(Share(word)) <= uncharged).then(|| word + Share::ONE_PIECE);
        if self.share.try_update(Ordering::AcqRel, Ordering::Acquire, borrow).is_err() {
            // Something was released meanwhile.
            self.pool.free.fetch_add(PIECE, Ordering::AcqRel);
        }
        free(self.share())
    }

    /// Charges records.
    pub fn charge(&self, bytes: usize) {
        self.share.fetch_add(bytes as u64, Ordering::AcqRel);
    }

    /// Gives a record's bytes back; with the last ones, what was borrowed. Returns whether this is a moment to wake a reader that
    /// waits: half of the limit is free again, or nothing is left in use.
    pub fn release(&self, bytes: usize) -> bool {
        let after = |share: Share| {
            debug_assert!(share.used() >= bytes, "more credit given back than was taken");
            share.used().saturating_sub(bytes)
        };
        let settle = |word| match after(Share(word)) as u64 {
            0 => 0,
            used => word & !Share::USED | used,
        };
        let before = Share(self.share.update(Ordering::AcqRel, Ordering::Acquire, settle));
        if after(before) == 0 {
            self.pool.free.fetch_add(before.borrowed(), Ordering::AcqRel);
            return true;
        }
        let half = self.limit_of(before) / 2;
        before.used() > half && after(before) <= half
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.pool.free.fetch_add(self.share().borrowed(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_its_reserve_whatever_others_borrow() {
        let pool = Pool::new(1024 * 1024, 2);
        let (greedy, other) = (Account::new(Arc::clone(&pool)), Account::new(pool));
        while greedy.has_room(true) {
            greedy.charge(1000);
        }
        assert!(greedy.used() <= 768 * 1024 + 1000, "its reserve, all that can be borrowed, and one record");
        assert!(other.has_room(false));
        other.charge(256 * 1024);
        assert!(!other.has_room(true));
    }

    #[test]
    fn what_the_reader_holds_and_has_not_charged_yet_counts() {
        const KIB: usize = 1024;
        let account = Account::new(Pool::new(1024 * KIB, 2));
        assert_eq!(account.room(0, true), 256 * KIB, "its reserve, without borrowing");
        assert_eq!(account.room(256 * KIB, false), 256 * KIB, "no more than what it holds: no room");
        assert_eq!(account.limit(), 256 * KIB);
        assert_eq!(account.room(256 * KIB, true), 320 * KIB, "one piece is borrowed");
        account.charge(300 * KIB);
        assert_eq!(account.room(20 * KIB - 1, false), 20 * KIB);
        assert_eq!(account.room(20 * KIB, true), 84 * KIB);
    }

    #[test]
    fn who_holds_no_more_than_the_reserve_may_charge_it_whatever_became_of_what_was_borrowed() {
        let pool = Pool::new(1024 * 1024, 2);
        let (account, other) = (Account::new(Arc::clone(&pool)), Account::new(pool));
        account.charge(256 * 1024);
        assert_eq!(account.room(0, true), 64 * 1024);
        account.release(256 * 1024);
        while other.has_room(true) {
            other.charge(64 * 1024);
        }
        account.charge(account.reserve());
        assert_eq!((account.used(), account.limit()), (256 * 1024, 256 * 1024));
    }

    #[test]
    fn borrowed_bytes_go_back_when_nothing_is_in_use() {
        let pool = Pool::new(1024 * 1024, 2);
        let account = Account::new(Arc::clone(&pool));
        account.charge(300 * 1024);
        assert!(!account.has_room(false), "one whose Kafka is away does not borrow");
        assert!(account.has_room(true));
        assert!(account.release(300 * 1024));
        assert_eq!(account.limit(), 256 * 1024);
        assert_eq!(pool.free.load(Ordering::Acquire), 512 * 1024);
    }

    #[test]
    fn a_reader_is_woken_when_half_is_free_again() {
        let account = Account::new(Pool::new(200_000, 1));
        account.charge(100_000);
        assert!(!account.release(10_000));
        assert!(account.release(40_000), "100,000 is the limit, 50,000 its half");
        assert!(!account.release(10_000));
        assert!(account.release(40_000));
    }
}
