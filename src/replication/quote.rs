//! Names and texts as PostgreSQL reads them.

/// An SQL identifier: in double quotes, inner ones doubled.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal. Right where `standard_conforming_strings` is on, and in replication commands.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The processes table of a namespace, with its schema.
pub(super) fn processes(namespace: &str) -> String {
    format!("public.{}", identifier(&format!("{namespace}_processes")))
}

/// The events table of a namespace, with its schema.
pub(super) fn events(namespace: &str) -> String {
    format!("public.{}", identifier(&format!("{namespace}_events")))
}

/// The value of pgoutput's option `publication_names`: a list of identifiers inside a literal.
pub(super) fn publication_names(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| identifier(name)).collect();
    literal(&names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_pass_unchanged() {
        assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(processes("default/default"), r#"public."default/default_processes""#);
        assert_eq!(events(r#"a"b"#), r#"public."a""b_events""#);
        assert_eq!(publication_names(&["a,b", r#"c"d"#, "e'f"]), r#"'"a,b","c""d","e''f"'"#);
    }
}
