//! `erlang:phash2/1` of a binary, written from Bob Jenkins' description of his hash of 1996 and checked against values of a
//! real Erlang: not the service's code.

/// The hash of a non-empty key.
pub fn phash2(key: &[u8]) -> u32 {
    assert!(!key.is_empty(), "no message has an empty key");
    let mut state = [0x9e37_79b9_u32, 0x9e37_79b9, 13_u32.wrapping_mul(0x9e37_79b9)];
    let mut add_and_mix = |block: &[u8; 12]| {
        for (word, bytes) in state.iter_mut().zip(block.chunks(4)) {
            let number = bytes.iter().rev().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
            *word = word.wrapping_add(number);
        }
        // Nine steps: each takes the two others off a word and shifts one in.
        let shifts: [i32; 9] = [-13, 8, -13, -12, 16, -5, -3, 10, -15];
        for (step, shift) in shifts.into_iter().enumerate() {
            let (this, next, last) = (step % 3, (step + 1) % 3, (step + 2) % 3);
            let shifted = if shift < 0 { state[last] >> -shift } else { state[last] << shift };
            state[this] = state[this].wrapping_sub(state[next]).wrapping_sub(state[last]) ^ shifted;
        }
        state[2]
    };
    let mut rest = key;
    while let Some((block, more)) = rest.split_first_chunk() {
        add_and_mix(block);
        rest = more;
    }
    // The last block: what is left, with a hole after the eighth byte, and the whole length.
    let mut last = [0; 12];
    for (place, byte) in rest.iter().enumerate() {
        last[if place < 8 { place } else { place + 1 }] = *byte;
    }
    let length = u32::try_from(key.len()).unwrap();
    assert!(length < 256, "a longer key would carry from the length's byte into the hole's");
    last[8] = length.to_le_bytes()[0];
    add_and_mix(&last) & 0x07FF_FFFF
}

#[test]
fn values_of_erlang() {
    let vectors = include_str!("../../fixtures/vectors/phash2.jsonl");
    let mut seen = 0;
    for line in vectors.lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let key = hex::decode(vector["key_hex"].as_str().unwrap()).unwrap();
        if (1..256).contains(&key.len()) {
            assert_eq!(u64::from(phash2(&key)), vector["phash2"].as_u64().unwrap(), "{line}");
            seen += 1;
        }
    }
    assert!(seen > 300, "{seen}");
}
