//! Changes in the midst of each call of the files, one after the other.

use std::sync::Arc;

use cache_core::{Backend, Entry, Key};
use cache_testkit::FaultyDisk;

use crate::records::{Tier, drain, look_up, open};

fn entry(name: &str, version: usize) -> Entry {
    let key = Key::parse(name).expect("the key is right");
    let body = format!("{name} {version}").repeat(1000);
    Entry::builder(&key, body.into()).e_tag(format!("\"{version}\"")).build()
}

fn insert(backend: &Tier, name: &str, version: usize) {
    assert!(backend.insert_now(entry(name, version)).is_ok_and(|admission| admission.is_stored()));
}

/// Has `change` called within call number `n` of the files while segments are recycled and the
/// entry "used" is written again. Returns whether there was such a call, and the tier.
fn changed_within(n: u64, change: impl Fn(&Tier) + Send + 'static) -> (bool, Arc<Tier>) {
    let disk = FaultyDisk::new(0);
    let (backend, mut writer) = open(&disk, "test");
    let backend = Arc::new(backend);
    insert(&backend, "used", 0);
    // Up to the segment whose making recycles the first one.
    let mut n_inserted = 0;
    while disk.segments().len() < 15 {
        insert(&backend, &format!("key/{n_inserted}"), 0);
        drain(&mut writer);
        n_inserted += 1;
    }
    assert!(look_up(&backend, "used").is_some_and(|entry| entry.e_tag() == Some("\"0\"")));
    let of_call = Arc::clone(&backend);
    disk.before_call(n, move || change(&of_call));
    for number in n_inserted..n_inserted + 15 {
        insert(&backend, &format!("key/{number}"), 0);
        drain(&mut writer);
    }
    let was_called = !disk.cancel_action();
    let stats = backend.lower_tier().expect("it has a tier");
    // A clear leaves nothing to be recycled.
    let is_recycled = stats.dropped.recycled > 0 && stats.rewritten > 0;
    assert!(was_called || is_recycled, "nothing is recycled: {stats:?}");
    (was_called, backend)
}

#[test]
fn what_is_replaced_while_its_segment_is_recycled_stays_replaced() {
    for n in 0.. {
        let (was_called, backend) = changed_within(n, |backend| insert(backend, "used", 1));
        let expected = if was_called { 1 } else { 0 };
        let found = look_up(&backend, "used").unwrap_or_else(|| panic!("lost at call {n}"));
        assert_eq!(found.e_tag(), entry("used", expected).e_tag(), "call {n}");
        assert!(found.body() == entry("used", expected).body(), "call {n}");
        if !was_called {
            assert!(n > 20, "{n} calls are too few to be a test");
            return;
        }
    }
}

#[test]
fn what_is_removed_while_its_segment_is_recycled_stays_removed() {
    for n in 0.. {
        let (was_called, backend) = changed_within(n, |backend| {
            let removed = crate::memories::poll(std::pin::pin!(backend.remove("used")));
            assert!(matches!(removed, std::task::Poll::Ready(Ok(_))));
        });
        assert_eq!(look_up(&backend, "used").is_none(), was_called, "call {n}");
        if !was_called {
            return;
        }
    }
}

#[test]
fn what_is_cleared_while_it_is_written_stays_cleared() {
    for n in 0.. {
        let (was_called, backend) = changed_within(n, |backend| {
            let cleared = crate::memories::poll(std::pin::pin!(backend.clear()));
            assert!(matches!(cleared, std::task::Poll::Ready(Ok(()))));
        });
        assert_eq!(look_up(&backend, "used").is_none(), was_called, "call {n}");
        if !was_called {
            return;
        }
    }
}
