//! Tables of single decisions.

mod credit;
mod history;
mod intake;
mod ledger;
mod policy;
mod replay;
mod slot;

use cdc_notifier::change::{Lsn, PgTimestamp, Transaction};

pub(crate) const fn transaction(commit: u64, xid: u32) -> Transaction {
    Transaction { xid, commit_lsn: Lsn::new(commit), commit_time: PgTimestamp(0) }
}
