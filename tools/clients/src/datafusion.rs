//! DataFusion 55: ten queries over a table of 16 Parquet files, one of which is replaced at the
//! end. Then the same over a cache with a disk, and once more in a second process over that disk:
//! with a directory as its argument, the program is that process.
#![forbid(unsafe_code)]

use std::{env, path::Path as Directory, process::ExitCode, sync::Arc};

use cache_store::ObjectStore013;
use clients::{Columns, Remote, Report, Result, WRAPPINGS, disk_cache};
use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch, StringArray},
        util::pretty::pretty_format_batches,
    },
    execution::{object_store::ObjectStoreUrl, runtime_env::RuntimeEnvBuilder},
    parquet::{arrow::ArrowWriter, file::properties::WriterProperties},
    prelude::{ParquetReadOptions, SessionConfig, SessionContext},
};
use futures_util::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, memory::InMemory, path::Path};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut report = Report::new("datafusion");
    let files = (0..FILES).map(|file| written(1, file, ROWS)).collect::<Result<Vec<_>>>()?;
    let size: usize = files.iter().map(PutPayload::content_length).sum();
    println!("{FILES} files of {GROUPS} row groups, {} MB", size / 1_000_000);
    let news = written(2, OVERWRITTEN, ROWS / 2)?;
    let expected = {
        let objects = stored(&files).await?;
        let before = all_of(&session(Arc::clone(&objects)).await?).await?;
        objects.put(&path(OVERWRITTEN), news.clone()).await?;
        let after = all_of(&session(objects).await?).await?;
        if let Some(n) = (0..QUERIES.len()).find(|n| before[*n] == after[*n]) {
            return Err(format!("{}: the new file changes nothing", QUERIES[n].0).into());
        }
        [before, after]
    };
    if let Some(directory) = env::args_os().nth(1) {
        return second_process(&files, Directory::new(&directory), &expected[0]).await;
    }
    for wrapping in WRAPPINGS {
        let objects = stored(&files).await?;
        let remote = Remote::new(Arc::clone(&objects));
        let store = (wrapping.wrap)(Arc::new(remote.clone()));
        let over = (wrapping.name, &remote);
        let mut warm = None;
        for (pass, expected) in
            [("cold", &expected[0]), ("warm", &expected[0]), ("overwritten", &expected[1])]
        {
            if pass == "overwritten" {
                // The next query lists the files, and a list reveals the change under any rule.
                objects.put(&path(OVERWRITTEN), news.clone()).await?;
            } else {
                // A session caches file metadata: each pass but the last has its own session.
                let open = async {
                    warm = Some(session(Arc::clone(&store)).await?);
                    Ok(())
                };
                report.case(format!("{pass}: open"), over, &(), open).await?;
            }
            let Some(session) = &warm else { break };
            for ((case, sql), expected) in QUERIES.iter().zip(expected) {
                report
                    .case(format!("{pass}: {case}"), over, expected, answer(session, sql))
                    .await?;
            }
        }
    }
    let directory = tempfile::tempdir()?;
    first_process(&mut report, &files, directory.path(), &expected[0]).await?;
    let code = report.finish();
    let mut second = tokio::process::Command::new(env::current_exe()?);
    let second = second.arg(directory.path()).status().await?;
    Ok(if second.success() { code } else { ExitCode::FAILURE })
}

/// Loads the whole table into a cache with a disk, and queries it.
async fn first_process(
    report: &mut Report,
    files: &[PutPayload],
    directory: &Directory,
    expected: &[String],
) -> Result<()> {
    let remote = Remote::new(stored(files).await?);
    let cached = disk_cache(Arc::new(remote.clone()), directory).await?;
    let over = (DISK, &remote);
    let warm = async {
        let mut warmed = cached.warm((0..FILES).map(path), 4);
        while let Some(file) = warmed.next().await {
            file.result?;
        }
        Ok(())
    };
    report.case("first process: warm", over, &(), warm).await?;
    let session = session(Arc::new(cached.clone())).await?;
    for ((case, sql), expected) in QUERIES.iter().zip(expected) {
        report
            .case(format!("first process: {case}"), over, expected, answer(&session, sql))
            .await?;
    }
    cached.close().await?;
    Ok(())
}

/// Queries the table over the disk that the first process has left. Fails if a file costs more than
/// one request, or any bytes. Its lists are not of files.
async fn second_process(
    files: &[PutPayload],
    directory: &Directory,
    expected: &[String],
) -> Result<ExitCode> {
    let mut report = Report::new("datafusion, second process");
    let remote = Remote::new(stored(files).await?);
    let cached = disk_cache(Arc::new(remote.clone()), directory).await?;
    let over = (DISK, &remote);
    let mut opened = None;
    let open = async {
        opened = Some(session(Arc::new(cached.clone())).await?);
        Ok(())
    };
    report.case("second process: open", over, &(), open).await?;
    for ((case, sql), expected) in QUERIES.iter().zip(expected) {
        let Some(session) = &opened else { break };
        report
            .case(format!("second process: {case}"), over, expected, answer(session, sql))
            .await?;
    }
    let stats = cached.stats();
    let requests = stats.requests() - stats.lists.requests();
    cached.close().await?;
    println!("{requests} requests for {FILES} files, {} bytes", stats.bytes_from_origin);
    let code = report.finish();
    let is_warm = (requests, stats.bytes_from_origin) == (FILES as u64, 0);
    Ok(if is_warm { code } else { ExitCode::FAILURE })
}

/// By name.
const QUERIES: [(&str, &str); 10] = [
    ("count", "SELECT count(*) FROM payments"),
    ("sum", "SELECT sum(cents) FROM payments"),
    ("by city", "SELECT city, count(*), sum(cents) FROM payments GROUP BY city ORDER BY city"),
    (
        "top ten",
        r#"SELECT "user", sum(cents) AS total FROM payments GROUP BY "user" ORDER BY total DESC, "user" LIMIT 10"#,
    ),
    ("one row", "SELECT * FROM payments WHERE id = 1500000"),
    (
        "a hundred rows",
        "SELECT id, note FROM payments WHERE id BETWEEN 1520000 AND 1520099 ORDER \
        BY id",
    ),
    ("widest column", "SELECT count(*) FROM payments WHERE note > '8'"),
    ("few of many", "SELECT count(*) FROM payments WHERE cents < 1000"),
    (
        "mean by city",
        r#"SELECT city, avg(cents) FROM payments WHERE "user" < 100 GROUP BY city ORDER BY city"#,
    ),
    ("distinct", "SELECT count(DISTINCT cents) FROM payments WHERE city = 'Faro'"),
];

async fn session(store: Arc<dyn ObjectStore>) -> Result<SessionContext> {
    // By default a session lists the files once, and never sees a replaced one.
    let runtime = RuntimeEnvBuilder::new().with_object_list_cache_limit(0).build_arc()?;
    let session = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
    let bucket = ObjectStoreUrl::parse("remote://bucket")?;
    session.register_object_store(bucket.as_ref(), Arc::new(ObjectStore013::new(store)));
    let options = ParquetReadOptions::default();
    session.register_parquet("payments", "remote://bucket/payments/", options).await?;
    Ok(session)
}

async fn all_of(session: &SessionContext) -> Result<Vec<String>> {
    let mut answers = Vec::new();
    for (_, sql) in QUERIES {
        answers.push(answer(session, sql).await?);
    }
    Ok(answers)
}

async fn answer(session: &SessionContext, sql: &str) -> Result<String> {
    let batches = session.sql(sql).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}

async fn stored(files: &[PutPayload]) -> Result<Arc<dyn ObjectStore>> {
    let objects = InMemory::new();
    for (number, file) in files.iter().enumerate() {
        objects.put(&path(number), file.clone()).await?;
    }
    Ok(Arc::new(objects))
}

fn path(file: usize) -> Path {
    Path::from(format!("payments/{file:02}.parquet"))
}

/// One file of the table of `seed`, with `rows` rows.
fn written(seed: u64, file: usize, rows: usize) -> Result<PutPayload> {
    let table = Columns::draw(seed, file * ROWS, rows);
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(Int64Array::from(table.id))),
        ("user", Arc::new(Int64Array::from(table.user))),
        ("cents", Arc::new(Int64Array::from(table.cents))),
        ("city", Arc::new(StringArray::from(table.city))),
        ("note", Arc::new(StringArray::from(table.note))),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(ROWS / GROUPS)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}

/// The store's name in the table.
const DISK: &str = "cached, disk";
const FILES: usize = 16;
const GROUPS: usize = 4;
const ROWS: usize = 280_000;
/// The file that is replaced.
const OVERWRITTEN: usize = 5;
