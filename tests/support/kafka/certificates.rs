//! Certificates for a test: an authority, servers good and bad, and an authority nobody uses.

use std::path::Path;

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{
        X509, X509Builder, X509NameBuilder,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};

struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// Writes `ca.pem`, `other-ca.pem` (certificates) and `server.pem`, `other-name.pem`, `expired.pem` (key and chain).
pub(super) fn write(directory: &Path) {
    let authority = Authority::new("test authority");
    let pem = |name: &str, bytes: Vec<u8>| std::fs::write(directory.join(name), bytes).unwrap();
    pem("ca.pem", authority.certificate.to_pem().unwrap());
    pem("other-ca.pem", Authority::new("another authority").certificate.to_pem().unwrap());
    pem("server.pem", authority.server("127.0.0.1", false));
    pem("other-name.pem", authority.server("192.0.2.1", false));
    pem("expired.pem", authority.server("127.0.0.1", true));
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = new_key();
        let mut builder = builder(name, &key, false);
        builder.set_issuer_name(&distinguished(name)).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    fn server(&self, address: &str, expired: bool) -> Vec<u8> {
        let key = new_key();
        let mut builder = builder("broker", &key, expired);
        builder.set_issuer_name(self.certificate.subject_name()).unwrap();
        let name = SubjectAlternativeName::new().ip(address).build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(name).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let parts = [
            key.private_key_to_pem_pkcs8().unwrap(),
            builder.build().to_pem().unwrap(),
            self.certificate.to_pem().unwrap(),
        ];
        parts.concat()
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn distinguished(name: &str) -> openssl::x509::X509Name {
    let mut builder = X509NameBuilder::new().unwrap();
    builder.append_entry_by_text("CN", name).unwrap();
    builder.build()
}

fn builder(name: &str, key: &PKey<Private>, expired: bool) -> X509Builder {
    const DAY: i64 = 86_400;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let (from, to) = if expired { (now - 3 * DAY, now - 2 * DAY) } else { (now - DAY, now + DAY) };
    let mut serial = [0; 8];
    openssl::rand::rand_bytes(&mut serial).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_slice(&serial).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&distinguished(name)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(to).unwrap()).unwrap();
    builder
}
