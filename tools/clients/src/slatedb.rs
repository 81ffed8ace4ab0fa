//! SlateDB 0.18: writes, compacts, reopens and scans, with conditional puts of its manifests.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use bytes::Bytes;
use clients::{Remote, Report, Result, WRAPPINGS};
use object_store::{ObjectStore, memory::InMemory};
use slatedb::{
    CloseReason, Db, ErrorKind, Settings,
    admin::Admin,
    config::{CompactorOptions, FlushOptions, FlushType},
};
use tokio::time::{sleep, timeout};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut report = Report::new("slatedb");
    for wrapping in WRAPPINGS {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let remote = Remote::new(Arc::clone(&objects));
        let store = (wrapping.wrap)(Arc::new(remote.clone()));
        let over = (wrapping.name, &remote);

        let mut model = Model::new();
        let db = open(&store).await?;
        report.case("write and flush", over, &(), write(&db, &mut model, 0)).await?;
        report.case("write and \
            compact", over, &true, write_until_compacted(&db, &mut model)).await?;
        db.close().await?;

        for case in ["open and scan", "open and scan again"] {
            let work = async {
                let db = open(&store).await?;
                let scanned = scan(&db).await?;
                db.close().await?;
                Ok(scanned)
            };
            report.case(case, over, &model, work).await?;
        }

        // The latest manifest in the store itself.
        let latest = latest_manifest(&objects).await?;
        report.case("read the latest manifest", over, &latest, latest_manifest(&store)).await?;

        let first = open(&store).await?;
        report
            .case("a second writer fences the \
                first", over, &true, fence(&first, &store, &mut model))
            .await?;
        let latest = latest_manifest(&objects).await?;
        report.case("read the latest manifest \
            again", over, &latest, latest_manifest(&store)).await?;
    }
    Ok(report.finish())
}

/// The expected content of the database.
type Model = BTreeMap<Bytes, Bytes>;

async fn open(store: &Arc<dyn ObjectStore>) -> Result<Db> {
    let compactor = CompactorOptions {
        poll_interval: POLL,
        commit_compacted_interval: POLL,
        ..CompactorOptions::default()
    };
    let settings = Settings {
        manifest_poll_interval: POLL,
        l0_sst_size_bytes: 128 * 1024,
        compactor_options: Some(compactor),
        // Nothing is old enough to be collected.
        garbage_collector_options: None,
        ..Settings::default()
    };
    Ok(Db::builder(DATABASE, Arc::clone(store)).with_settings(settings).build().await?)
}

/// One round of new values for a part of the keys, all the way to the store.
async fn write(db: &Db, model: &mut Model, round: usize) -> Result<()> {
    for n in (round % 3..KEYS).step_by(3) {
        let (key, value) = (format!("key{n:05}"), format!("value {n} of round {round} \
            {}", "x".repeat(200)));
        db.put(&key, &value).await?;
        model.insert(key.into(), value.into());
    }
    // Deletes some of them.
    for n in (round % 3..KEYS).step_by(30) {
        let key = format!("key{n:05}");
        db.delete(&key).await?;
        model.remove(key.as_bytes());
    }
    db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable }).await?;
    Ok(())
}

/// Whether the compactor has merged what was written.
async fn write_until_compacted(db: &Db, model: &mut Model) -> Result<bool> {
    for round in 1..=ROUNDS {
        write(db, model, round).await?;
    }
    let compacted = async {
        while db.manifest().compacted().is_empty() {
            sleep(POLL).await;
        }
    };
    Ok(timeout(COMPACTED_WITHIN, compacted).await.is_ok())
}

async fn scan(db: &Db) -> Result<Model> {
    let mut entries = db.scan::<std::ops::RangeFull>(..).await?;
    let mut scanned = Model::new();
    while let Some(entry) = entries.next().await? {
        scanned.insert(entry.key, entry.value);
    }
    Ok(scanned)
}

/// The number of the latest manifest and its content.
async fn latest_manifest(store: &Arc<dyn ObjectStore>) -> Result<(u64, String)> {
    let admin = Admin::builder(DATABASE, Arc::clone(store)).build();
    let manifest = admin.read_manifest(None).await?.ok_or("there is no manifest")?;
    Ok((manifest.id(), format!("{manifest:?}")))
}

/// Whether `first` gets the error of a fenced writer and the second one has all earlier writes.
async fn fence(first: &Db, store: &Arc<dyn ObjectStore>, model: &mut Model) -> Result<bool> {
    let second = open(store).await?;
    write(&second, model, ROUNDS + 1).await?;
    let late = async {
        first.put("late", "lost").await?;
        first.flush().await
    };
    let fenced = late.await.is_err_and(|error| error.kind() == ErrorKind::Closed(CloseReason::Fenced));
    let scanned = scan(&second).await?;
    second.close().await?;
    Ok(fenced && scanned == *model)
}

const DATABASE: &str = "database";
const KEYS: usize = 6_000;
const ROUNDS: usize = 8;
/// The interval of background work in SlateDB.
const POLL: Duration = Duration::from_millis(100);
const COMPACTED_WITHIN: Duration = Duration::from_secs(60);
