//! Many threads at once: exact at rest.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{SUBJECTS, at, done, entry, expiring, insert, recount, remove, totals};

const THREADS: usize = 4;
const KEYS: usize = 60;
const ROUNDS: usize = 3000;

#[test]
fn after_many_threads_the_accounting_is_exact_and_the_limits_hold() {
    for subject in SUBJECTS {
        println!("{}", subject.name);
        let backend = &*(subject.build)(60_000, Some(80));
        // Calls that change one key come one after the other: each thread changes keys of its own.
        let keys: Vec<Vec<String>> = (0..THREADS)
            .map(|thread| (0..KEYS).map(|n| format!("{thread}/{n}")).collect())
            .collect();
        let (keys, stop) = (&keys, &AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    done(backend.sweep(at(round % 100))).unwrap();
                    if round % 64 == 0 {
                        done(backend.clear()).unwrap();
                    }
                    backend.usage();
                }
            });
            let workers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut random = 0x9E37_79B9_u64 + thread as u64;
                        for _ in 0..ROUNDS {
                            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                            let choice = (random >> 33) as usize;
                            let own = &keys[thread][choice % KEYS];
                            match choice / KEYS % 8 {
                                0..3 => {
                                    let held = entry(own, choice % 5000);
                                    let _ = insert(backend, &held);
                                    let shown = backend.get_now(own);
                                    assert!(shown.is_none_or(|shown| shown.is_same(&held)));
                                }
                                3 => {
                                    let _ =
                                        insert(backend, &expiring(own, 10, 0, choice as u64 % 200));
                                }
                                4 => {
                                    remove(backend, own);
                                    assert!(backend.get_now(own).is_none());
                                }
                                _ => drop(backend.get_now(&keys[choice % THREADS][choice % KEYS])),
                            }
                        }
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            stop.store(true, Ordering::Relaxed);
        });
        let all = || keys.iter().flatten().map(String::as_str);
        assert!(recount(backend, all()) <= 80, "{}", subject.name);
        println!("{:?}", totals(backend));
        done(backend.clear()).unwrap();
        assert_eq!(recount(backend, all()), 0);
    }
}
