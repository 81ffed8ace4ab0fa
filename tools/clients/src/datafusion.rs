//! DataFusion 55: ten queries over a table of 16 Parquet files, one of which is replaced at the
//! end.
#![forbid(unsafe_code)]

use std::{process::ExitCode, sync::Arc};

use cache_store::ObjectStore013;
use clients::{Columns, Remote, Report, Result, WRAPPINGS};
use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch, StringArray},
        util::pretty::pretty_format_batches,
    },
    execution::{object_store::ObjectStoreUrl, runtime_env::RuntimeEnvBuilder},
    parquet::{arrow::ArrowWriter, file::properties::WriterProperties},
    prelude::{ParquetReadOptions, SessionConfig, SessionContext},
};
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
                report.case(format!("{pass}: {case}"), over, expected, answer(session, sql)).await?;
            }
        }
    }
    Ok(report.finish())
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
    ("a hundred rows", "SELECT id, note FROM payments WHERE id BETWEEN 1520000 AND 1520099 ORDER \
        BY id"),
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
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(ROWS / GROUPS)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}

const FILES: usize = 16;
const GROUPS: usize = 4;
const ROWS: usize = 280_000;
/// The file that is replaced.
const OVERWRITTEN: usize = 5;
