//! From key to partition, bit for bit as the clients whose partitions consumers already know.

use crate::config::Partitioner;

/// The partition of a key among `count` partitions; 0 where there are none.
#[must_use]
pub fn partition(kind: Partitioner, key: &[u8], count: i32) -> i32 {
    let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) else { return 0 };
    let hash = match kind {
        Partitioner::Phash2 => phash2(key),
        Partitioner::Murmur2 => murmur2(key) & 0x7FFF_FFFF,
        Partitioner::Consistent => crc32fast::hash(key),
    };
    (hash % count).cast_signed()
}

/// `erlang:phash2/1` of a binary: Bob Jenkins' hash of 1996 (`make_hash2` and `block_hash` in the emulator's
/// `utils.c`), cut to 27 bits.
#[must_use]
pub fn phash2(key: &[u8]) -> u32 {
    const GOLDEN: u32 = 0x9e37_79b9;
    const BINARY: u32 = 13_u32.wrapping_mul(GOLDEN);
    /// The hash of the empty binary is a constant of its own in the emulator.
    const EMPTY: u32 = 13_708_901;

    if key.is_empty() {
        return EMPTY;
    }
    let (mut a, mut b, mut c) = (GOLDEN, GOLDEN, BINARY);
    let (blocks, rest) = key.as_chunks::<12>();
    for &[a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3] in blocks {
        a = a.wrapping_add(u32::from_le_bytes([a0, a1, a2, a3]));
        b = b.wrapping_add(u32::from_le_bytes([b0, b1, b2, b3]));
        c = c.wrapping_add(u32::from_le_bytes([c0, c1, c2, c3]));
        (a, b, c) = mix(a, b, c);
    }
    #[allow(clippy::cast_possible_truncation, reason = "as the emulator, whose lengths here have 32 bits")]
    let length = key.len() as u32;
    // The length goes to the lowest byte of `c`, so the rest of the bytes begin one higher there.
    c = c.wrapping_add(length);
    for (place, byte) in rest.iter().enumerate() {
        let byte = u32::from(*byte);
        match place {
            0..4 => a = a.wrapping_add(byte << (8 * place)),
            4..8 => b = b.wrapping_add(byte << (8 * (place - 4))),
            _ => c = c.wrapping_add(byte << (8 * (place - 7))),
        }
    }
    let (_, _, c) = mix(a, b, c);
    c & 0x07FF_FFFF
}

const fn mix(a: u32, b: u32, c: u32) -> (u32, u32, u32) {
    let a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> 13);
    let b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << 8);
    let c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> 13);
    let a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> 12);
    let b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << 16);
    let c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> 5);
    let a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> 3);
    let b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << 10);
    let c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> 15);
    (a, b, c)
}

/// MurmurHash 2 with the seed of Kafka's Java client (`org.apache.kafka.common.utils.Utils.murmur2`).
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;

    #[allow(clippy::cast_possible_truncation, reason = "Java's arrays are shorter than 2^31")]
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Every line of a file of vectors, with its key.
    fn vectors(text: &str) -> impl Iterator<Item = (Vec<u8>, Value)> {
        text.lines().map(|line| {
            let vector: Value = serde_json::from_str(line).unwrap();
            (hex::decode(vector["key_hex"].as_str().unwrap()).unwrap(), vector)
        })
    }

    #[test]
    fn phash2_is_erlangs() {
        let mut count = 0;
        for (key, vector) in vectors(include_str!("../../../tests/fixtures/vectors/phash2.jsonl")) {
            assert_eq!(u64::from(phash2(&key)), vector["phash2"].as_u64().unwrap(), "{key:02x?}");
            count += 1;
        }
        assert_eq!(count, 401);
        assert_eq!(phash2(b"default/default proc-00000001"), 66_346_385);
    }

    /// The vectors are of the Java client: `Utils.murmur2`, and `BuiltInPartitioner.partitionForKey` for 12 partitions.
    #[test]
    fn murmur2_is_the_java_clients() {
        let mut count = 0;
        for (key, vector) in vectors(include_str!("../../../tests/fixtures/vectors/murmur2.jsonl")) {
            assert_eq!(i64::from(murmur2(&key).cast_signed()), vector["murmur2"].as_i64().unwrap(), "{key:02x?}");
            let chosen = partition(Partitioner::Murmur2, &key, 12);
            assert_eq!(i64::from(chosen), vector["partition_of_12"].as_i64().unwrap(), "{key:02x?}");
            count += 1;
        }
        assert_eq!(count, 401);
    }

    /// The vectors are of Java's `java.util.zip.CRC32`; that librdkafka chooses the same partition is seen on a real
    /// broker.
    #[test]
    fn consistent_is_crc32() {
        let mut count = 0;
        for (key, vector) in vectors(include_str!("../../../tests/fixtures/vectors/murmur2.jsonl")) {
            let chosen = partition(Partitioner::Consistent, &key, 12);
            assert_eq!(u64::try_from(chosen).unwrap(), vector["crc32"].as_u64().unwrap() % 12, "{key:02x?}");
            count += 1;
        }
        assert_eq!(count, 401);
    }

    #[test]
    fn every_partition_is_one_of_the_topics() {
        for kind in [Partitioner::Phash2, Partitioner::Murmur2, Partitioner::Consistent] {
            for count in [1, 2, 3, 1_000, i32::MAX] {
                for key in [&b""[..], b"a", b"key", &[0xFF; 37]] {
                    assert!((0..count).contains(&partition(kind, key, count)), "{kind:?} {count} {key:?}");
                }
            }
            assert_eq!(partition(kind, b"key", 0), 0);
            assert_eq!(partition(kind, b"key", -1), 0);
        }
    }
}
