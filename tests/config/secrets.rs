//! Secrets: from files, and nowhere in what is printed.

use std::{fs, path::Path};

use cdc_notifier::config::{KafkaClient, Overrides, PropertyError, load};
use secrecy::ExposeSecret as _;

use crate::{SMALL, any_property, load_as, load_toml, refusal};

const CANARY: &str = "hunter2canary";

fn with_property(line: &str) -> String {
    SMALL.replace("[streams", &format!("[kafka_clients.k.properties]\n{line}\n\n[streams"))
}

fn with_password(line: &str) -> String {
    SMALL.replace("username = \"cdc\"", &format!("username = \"cdc\"\n{line}"))
}

#[test]
fn from_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    for (content, expected) in
        [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" s3\ncret \n\n", " s3\ncret \n")]
    {
        fs::write(&file, content).unwrap();
        let config = load_toml(&with_password(&format!("password_file = {file:?}"))).unwrap();
        assert_eq!(config.databases[0].postgres.password.as_ref().unwrap().expose_secret(), expected);
    }
    for property in [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.assertion.private.key.passphrase",
    ] {
        fs::write(&file, "s3cret\n").unwrap();
        let config = load_toml(&with_property(&format!("\"{property}_file\" = {file:?}"))).unwrap();
        let properties = &config.databases[0].slots[0].namespaces[0].kafka_client.properties;
        assert_eq!(properties.keys().collect::<Vec<_>>(), [property]);
        assert_eq!(properties[property].expose_secret(), "s3cret");
    }
}

#[test]
fn files_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let missing = folder.path().join("missing");
    let large = path("large", &vec![b'x'; (1 << 20) + 1]);
    for (file, what) in [
        (missing.as_path(), "cannot be read: No such file"),
        (folder.path(), "cannot be read"),
        (&path("empty", b""), "is empty"),
        (&path("line", b"\n"), "is empty"),
        (&path("binary", b"\xff\xfe"), "is not UTF-8"),
        (&large, "is larger than 1 MiB"),
        (Path::new("hunter2canary"), "the file cannot be read"),
    ] {
        let named = if file.is_absolute() { format!("{file:?} {what}") } else { what.to_owned() };
        for (text, key) in [
            (with_password(&format!("password_file = {file:?}")), "databases.db.password_file"),
            (
                with_property(&format!("\"sasl.password_file\" = {file:?}")),
                "kafka_clients.k.properties.\"sasl.password_file\"",
            ),
            (format!("admin.token_file = {file:?}\n{SMALL}"), "admin.token_file"),
        ] {
            let (said, remedy) = refusal("c.toml", text);
            assert!(said.starts_with(&format!("{key}: {named}")), "{said}");
            assert!(remedy.contains("readable file"), "{remedy}");
            assert!(!said.contains(CANARY) && !remedy.contains(CANARY), "{said}");
        }
    }
}

#[test]
fn given_twice() {
    let (said, remedy) = refusal("c.toml", with_password("password = \"a\"\npassword_file = \"/b\""));
    assert!(said.starts_with("databases.db.password: given twice") && remedy.contains("either"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "x").unwrap();
    let (said, _) =
        refusal("c.toml", with_property(&format!("\"sasl.password\" = \"a\"\n\"sasl.password_file\" = {file:?}")));
    assert!(said.starts_with("kafka_clients.k.properties.\"sasl.password\": given twice"), "{said}");
    let (said, remedy) = refusal("c.toml", with_property("\"ssl.ca.location_file\" = \"/b\""));
    assert!(
        said.ends_with("\"ssl.ca.location_file\": unknown property") && remedy.contains("sasl.password_file"),
        "{said}"
    );
}

/// YAML reads an unquoted 00123 as the number 123.
#[test]
fn secrets_are_text() {
    let (said, remedy) = refusal("c.toml", with_property("\"sasl.password\" = 123"));
    assert!(said.ends_with("\"sasl.password\": not text") && remedy.contains("in quotes"), "{said}");
    let yaml = "databases: {db: {host: h, database: d, username: u, password: 00123}}";
    let (said, remedy) = refusal("c.yaml", yaml);
    assert!(said.starts_with("databases.db.password: is a whole number") && remedy.contains("in quotes"), "{said}");
}

#[test]
fn debug_hides_them() {
    let text = with_property(&format!("\"sasl.password\" = \"{CANARY}\""))
        .replace("username = \"cdc\"", &format!("username = \"cdc\"\npassword = \"{CANARY}\""));
    let config = load_toml(&text).unwrap();
    assert_eq!(config.databases[0].postgres.password.as_ref().unwrap().expose_secret(), CANARY);
    assert!(!format!("{config:?} {config:#?}").contains(CANARY));
}

/// A secret on or next to whatever is wrong.
#[test]
fn no_error_shows_a_value() {
    let c = CANARY;
    let yaml = |inner: &str| format!("databases:\n  db:\n    {inner}\n");
    let json = |inner: &str| format!("{{\"databases\": {{\"db\": {{{inner}}}}}}}");
    let mut texts: Vec<(&str, String)> = vec![
        // Syntax, with the secret on the wrong line.
        ("c.toml", format!("password = \"{c}")),
        ("c.toml", format!("password = {c}")),
        ("c.toml", format!("password = '{c}' x")),
        ("c.toml", format!("password = \"\\q{c}\"")),
        ("c.toml", format!("password = \"\"\"{c}")),
        ("c.toml", format!("a = 1\na = \"{c}\"")),
        ("c.toml", format!("a.b = 1\na = \"{c}\"\na.c = 2")),
        ("c.toml", format!("a = 1979-99-99 # {c}")),
        ("c.toml", format!("[databases.db]\npassword == \"{c}\"")),
        ("c.yaml", yaml(&format!("password: \"{c}"))),
        ("c.yaml", yaml(&format!("password: [{c}"))),
        ("c.yaml", yaml(&format!("password: \"\\q{c}\""))),
        ("c.yaml", yaml(&format!("password: *{c}"))),
        ("c.yaml", yaml(&format!("password: !{c} x"))),
        ("c.yaml", yaml(&format!("password: {c}: x"))),
        ("c.yaml", yaml(&format!("password: @{c}"))),
        ("c.yaml", yaml(&format!("password: %{c}\n\t- x"))),
        ("c.yaml", format!("a: 1\n? {{{c}: 1}}\n: 2\n")),
        ("c.yaml", c.to_owned()),
        ("c.json", json(&format!("\"password\": \"{c}"))),
        ("c.json", json(&format!("\"password\": {c}"))),
        ("c.json", json(&format!("\"password\": \"\\q{c}\""))),
        ("c.json", json(&format!("\"password\": \"{c}\", \"password\": \"{c}\""))),
        ("c.json", format!("\"{c}\"")),
        // An unknown key next to it.
        ("c.toml", with_password(&format!("password = \"{c}\"\nPassword = \"{c}\""))),
        ("c.toml", with_property(&format!("\"sasl.password\" = \"{c}\"\n\"sasl.pass_file\" = \"{c}\""))),
        ("c.yaml", yaml(&format!("password: {c}\n    passwort: {c}"))),
        ("c.json", json(&format!("\"password\": \"{c}\", \"passwort\": \"{c}\""))),
        // A list or table instead of text.
        ("c.toml", with_password(&format!("password = [\"{c}\"]"))),
        ("c.toml", with_password(&format!("password = {{ x = \"{c}\" }}"))),
        ("c.toml", with_password(&format!("password = \"{c}\"\npassword_file = \"{c}\""))),
        ("c.toml", with_password(&format!("password = \"${{{c}\""))),
        ("c.toml", with_password(&format!("password = \"${{:-{c}}}\""))),
        ("c.toml", with_password(&format!("password_file = \"{c}\""))),
        ("c.toml", with_property(&format!("\"sasl.password\" = [\"{c}\"]"))),
        ("c.toml", format!("databases = \"{c}\"")),
        ("c.toml", format!("streams = {{ a = \"{c}\" }}")),
    ];
    // Every key of the reference with the secret as its value: wrong kinds, wrong words, wrong names.
    let reference = include_str!("../../config/reference.toml");
    for line in reference.lines() {
        let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") else { continue };
        for value in [format!("\"{c} \""), format!("[\"{c} \"]"), format!("{{ x = \"{c} \" }}")] {
            texts.push(("c.toml", reference.replacen(line, &format!("{key} = {value}"), 1)));
        }
    }
    let mut refused = 0;
    for (name, text) in &texts {
        let Err(error) = load_as(name, text) else { continue };
        let shown = format!("{error}\n{error:?}\n{}", error.remedy());
        assert!(!shown.contains(c), "{shown}\n--- of\n{text}");
        refused += 1;
    }
    // The rest are values that may be any text, such as a password.
    assert!(refused > 100, "{refused} of {} refused", texts.len());
}

/// A secret that a variable holds, in a place where it does not belong.
#[test]
fn variables_do_not_leak() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, format!("max_retries = \"${{SECRET}}\"\n{SMALL}")).unwrap();
    let environment = |_: &str| Some(CANARY.to_owned());
    let error = load(&path, &environment, &Overrides::default(), &any_property).unwrap_err();
    assert!(error.to_string().ends_with("max_retries: is text"), "{error}");
    // All variables are set to it, those of the overrides too.
    fs::write(&path, SMALL).unwrap();
    let error = load(&path, &environment, &Overrides::default(), &any_property).unwrap_err();
    assert!(!format!("{error} {error:?} {}", error.remedy()).contains(CANARY), "{error}");
}

#[test]
fn the_check_of_properties_is_asked_and_heard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, with_property("\"acks\" = 1")).unwrap();
    let check = |client: &KafkaClient| {
        assert_eq!((client.name.as_str(), client.endpoints[0].as_str()), ("k", "kafka:9092"));
        assert_eq!(client.properties["acks"].expose_secret(), "1");
        let (message, remedy) = ("weakens a guarantee".to_owned(), "remove it".to_owned());
        Err(PropertyError { property: Some("acks".to_owned()), message, remedy })
    };
    let error = load(&path, &|_| None, &Overrides::default(), &check).unwrap_err();
    assert!(error.to_string().ends_with("c.toml: kafka_clients.k.properties.acks: weakens a guarantee"), "{error}");
    assert_eq!(error.remedy(), "remove it");
    let check = |_: &KafkaClient| {
        Err(PropertyError { property: None, message: "cannot be made".to_owned(), remedy: "x".to_owned() })
    };
    let error = load(&path, &|_| None, &Overrides::default(), &check).unwrap_err();
    assert!(error.to_string().ends_with("c.toml: kafka_clients.k: cannot be made"), "{error}");
}
