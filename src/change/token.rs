//! What travels with a record through Kafka's client and comes back with its delivery report.

use super::Topic;

/// Names a record's transaction, namespace and topic in 64 bits, so that a delivery needs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u64);

impl Token {
    /// Namespaces that one slot can have: their number takes 16 bits.
    pub const MAX_NAMESPACES: usize = 1 << 16;

    /// The token of a record. `sequence` is the ledger's number of the transaction; 47 bits last for 140 trillion of them.
    #[must_use]
    pub const fn new(sequence: u64, namespace: u16, topic: Topic) -> Self {
        let topic = match topic {
            Topic::Eventsink => 0,
            Topic::Lifecycle => 1,
        };
        Self(sequence << 17 | (namespace as u64) << 1 | topic)
    }

    /// The token with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The ledger's number of the transaction.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.0 >> 17
    }

    /// The namespace's place in its slot's configuration.
    #[must_use]
    pub const fn namespace(self) -> usize {
        (self.0 >> 1 & 0xFFFF) as usize
    }

    /// The topic.
    #[must_use]
    pub const fn topic(self) -> Topic {
        if self.0 & 1 == 0 { Topic::Eventsink } else { Topic::Lifecycle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        for (sequence, namespace, topic) in
            [(0, 0, Topic::Eventsink), (1, 65_535, Topic::Lifecycle), ((1 << 47) - 1, 7, Topic::Eventsink)]
        {
            let token = Token::from_bits(Token::new(sequence, namespace, topic).bits());
            assert_eq!((token.sequence(), token.namespace(), token.topic()), (sequence, namespace.into(), topic));
        }
    }
}
