//! `log.level`: a level, or tracing directives, stricter than `EnvFilter`, which takes a misspelt level for a target's name
//! and goes silent.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::LogError;

/// What is not ours is shown from this level on, unless a directive names it.
const OTHERS: &[&str] = &["axum", "hyper", "librdkafka", "mio", "ractor", "rdkafka", "tokio", "tower"];

/// The filter that a level or directives mean.
pub(super) fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let mut everything = LevelFilter::WARN;
    let spoken: Vec<&str> = text.split(',').map(str::trim).collect();
    for (index, directive) in spoken.iter().enumerate() {
        let (target, level) =
            directive.rsplit_once('=').map_or((None, *directive), |(target, level)| (Some(target), level));
        match (level_of(level), target) {
            (None, _) | (_, Some("")) => return Err(wrong(index + 1)),
            (Some(level), None) => everything = level,
            (Some(_), Some(_)) => {}
        }
    }
    let others = everything.min(LevelFilter::WARN);
    // The later of two directives for a target counts, so those of the operator come last.
    let mut directives: Vec<String> = OTHERS.iter().map(|target| format!("{target}={others}")).collect();
    directives.extend(spoken.into_iter().map(str::to_owned));
    EnvFilter::builder().parse(directives.join(",")).map_err(|_| wrong(0))
}

fn level_of(word: &str) -> Option<LevelFilter> {
    // LevelFilter's own parser would also take numbers and the empty text.
    let named = word.bytes().all(|byte| byte.is_ascii_alphabetic()) && !word.is_empty();
    named.then(|| word.parse().ok()).flatten()
}

/// The directive is not shown: it may have come from a variable that holds something else.
fn wrong(number: usize) -> LogError {
    let which = if number == 0 { "the directives are".to_owned() } else { format!("directive {number} is") };
    LogError {
        message: format!("{which} not understood"),
        remedy:
            "write error, warn, info, debug or trace, or directives such as \"info,cdc_notifier::replication=debug\""
                .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands() {
        for text in [
            "error",
            "warn",
            "info",
            "debug",
            "trace",
            "INFO",
            "off",
            "info,rdkafka=debug",
            "cdc_notifier::replication=trace",
            "info, hyper=info",
            "warn,[slot{database=a}]=debug",
            "info,cdc_notifier[slot]=trace",
        ] {
            assert!(filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_what_would_be_silence() {
        for (text, number) in [
            ("", 1),
            ("inof", 1),
            ("verbose", 1),
            ("3", 1),
            ("info,", 2),
            ("info,rdkafka", 2),
            ("info,rdkafka=", 2),
            ("info,rdkafka=loud", 2),
            ("info,rdkafka=5", 2),
            ("=info", 1),
            ("[slot]", 1),
            ("info debug", 1),
        ] {
            let error = filter(text).unwrap_err();
            assert!(error.message.starts_with(&format!("directive {number} ")), "{text}: {error}");
            assert!(error.remedy().contains("error, warn, info, debug or trace"));
        }
        assert_eq!(filter("[slot=info").unwrap_err().message, "the directives are not understood");
    }

    #[test]
    fn others_are_never_louder_than_the_rest() {
        assert!(filter("info").unwrap().to_string().contains("rdkafka=warn"));
        assert!(filter("trace").unwrap().to_string().contains("hyper=warn"));
        assert!(filter("error").unwrap().to_string().contains("hyper=error"));
        let named = filter("info,hyper=trace").unwrap().to_string();
        assert!(named.contains("hyper=trace") && !named.contains("hyper=warn"), "{named}");
    }
}
