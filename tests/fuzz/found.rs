//! Hostile bytes that are too many for a seed, or that once broke a property.

use crate::{properties, seeds};

/// The login is never over, and each message tells another setting.
#[test]
fn a_login_without_end_is_bounded() {
    let mut bytes = seeds::login()[0].clone();
    for number in 0..60_000 {
        let setting = format!("setting{number}\0value\0");
        bytes.push(b'S');
        bytes.extend(u32::try_from(setting.len() + 4).unwrap().to_be_bytes());
        bytes.extend(setting.into_bytes());
    }
    properties::server::check(&bytes);
}
