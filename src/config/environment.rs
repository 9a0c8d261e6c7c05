//! `${VAR}` and `${VAR:-default}` in text values. A value that comes from a variable is not looked through again.

use super::{
    error::{KeyPath, Wrong},
    tree::Tree,
};

/// Where variables come from.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces the variables in every text below `path`. Keys are left alone.
pub(super) fn substitute(tree: &mut Tree, path: &KeyPath, environment: Environment<'_>) -> Result<(), Wrong> {
    match tree {
        Tree::Text(text) if text.contains("${") => *text = expand(text, path, environment)?,
        Tree::List(values) => {
            for (index, value) in values.iter_mut().enumerate() {
                substitute(value, &path.key(&index.to_string()), environment)?;
            }
        }
        Tree::Table(table) => {
            for (key, value) in table {
                substitute(value, &path.key(key), environment)?;
            }
        }
        Tree::Text(_) | Tree::Null | Tree::Boolean(_) | Tree::Integer(_) | Tree::Float(_) => {}
    }
    Ok(())
}

fn expand(text: &str, path: &KeyPath, environment: Environment<'_>) -> Result<String, Wrong> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some((reference, after)) = after.split_once('}') else { return Err(malformed(path)) };
        let (name, default) =
            reference.split_once(":-").map_or((reference, None), |(name, default)| (name, Some(default)));
        if !is_name(name) {
            return Err(malformed(path));
        }
        // As in a shell, the default also stands in for an empty variable.
        match (environment(name), default) {
            (Some(value), None) => expanded.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => expanded.push_str(&value),
            (_, Some(default)) => expanded.push_str(default),
            (None, None) => {
                return Err(Wrong::at(
                    path,
                    format!("the environment variable {name} is not set"),
                    format!("set {name}, or write ${{{name}:-default}}"),
                ));
            }
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn malformed(path: &KeyPath) -> Wrong {
    Wrong::at(
        path,
        "${ without the name of a variable and a }",
        "write ${VAR}, ${VAR:-default}, or $${ for a literal ${",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db1".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn expands() {
        for (text, expected) in [
            ("${HOST}", "db1"),
            ("a-${HOST}.b:${HOST}", "a-db1.b:db1"),
            ("${MISSING:-x}", "x"),
            ("${MISSING:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${HOST:-x}", "db1"),
            ("$${HOST}", "${HOST}"),
            ("a$${b${HOST}", "a${bdb1"),
            ("${NESTED}", "${HOST}"),
            ("$HOST $ $$ {}", "$HOST $ $$ {}"),
        ] {
            assert_eq!(expand(text, &KeyPath::default(), &environment).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses() {
        for (text, message) in [
            ("${MISSING}", "the environment variable MISSING is not set"),
            ("${HOST", "${ without"),
            ("${}", "${ without"),
            ("${1A}", "${ without"),
            ("${A B}", "${ without"),
            ("${HOST-x}", "${ without"),
        ] {
            let wrong = expand(text, &KeyPath::default(), &environment).unwrap_err();
            assert!(wrong.message.starts_with(message), "{text}: {}", wrong.message);
        }
    }
}
