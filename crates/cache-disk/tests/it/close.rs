//! The end of a tier.

use std::sync::Arc;

use cache_core::Backend;
use cache_disk::DiskAdmission;

use crate::support::{body_of, entry, memory, open, tier};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_of_close_loses_nothing_of_the_first() {
    for _ in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let settings = tier(directory.path()).queue_bytes(100_000);
        let settings = settings.admission(DiskAdmission::OnReuse);
        let backend = Arc::new(open(memory(10_000, 1 << 30), settings).await);
        for n in 0..1000 {
            let key = format!("a/{n}");
            assert!(backend.insert(entry(&key, "\"1\"", body_of(&key, 10_000))).await.is_ok());
        }
        let closes: Vec<_> = (0..3)
            .map(|_| {
                let backend = Arc::clone(&backend);
                tokio::spawn(async move { backend.close().await })
            })
            .collect();
        for close in closes {
            close.await.unwrap().unwrap();
        }
        let stats = backend.lower_tier().unwrap();
        assert_eq!((stats.written, stats.dropped.total()), (1000, 0), "{stats:?}");
    }
}
