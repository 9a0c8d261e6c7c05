//! Crashes on cue, for tests of the supervision tree. Not in release builds.

/// Panics if `CDC_NOTIFIER_FAILPOINTS` says so: in `PLACE:COUNT,...` each PLACE panics the first COUNT times that it is passed.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "that is what it is for")]
pub(super) fn failpoint(place: &str) {
    use std::{
        collections::HashMap,
        sync::{
            LazyLock,
            atomic::{AtomicUsize, Ordering},
        },
    };

    static PLAN: LazyLock<HashMap<String, AtomicUsize>> = LazyLock::new(|| {
        let plan = std::env::var("CDC_NOTIFIER_FAILPOINTS").unwrap_or_default();
        let parts = plan.split(',').filter_map(|part| part.split_once(':'));
        parts.filter_map(|(place, count)| Some((place.to_owned(), AtomicUsize::new(count.parse().ok()?)))).collect()
    });
    if let Some(left) = PLAN.get(place)
        && left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    {
        panic!("failpoint {place}");
    }
}

#[cfg(not(debug_assertions))]
pub(super) const fn failpoint(_place: &str) {}
