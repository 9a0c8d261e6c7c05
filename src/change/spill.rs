//! What PostgreSQL moves to its disk while it decodes.

/// A slot's transactions that were too large for the server's memory, as the server counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spill {
    /// Transactions, each subtransaction on its own.
    pub transactions: u64,
    /// How often one was moved to the disk: several times for a transaction that is several times too large.
    pub count: u64,
    /// How much that was, as it lay in memory.
    pub bytes: u64,
}
