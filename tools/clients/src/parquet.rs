//! The asynchronous reader of parquet 60: some columns and row groups of one object.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, ops::Range, process::ExitCode, sync::Arc};

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use clients::{Columns, Remote, Report, Result, WRAPPINGS};
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
#[expect(
    deprecated,
    reason = "the only reader of object stores in parquet 60"
)]
use parquet::arrow::async_reader::ParquetObjectReader;
use parquet::{
    arrow::{ArrowWriter, ParquetRecordBatchStreamBuilder, ProjectionMask},
    file::properties::WriterProperties,
};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut report = Report::new("parquet");
    let path = Path::from("payments.parquet");
    for wrapping in WRAPPINGS {
        let objects = Arc::new(InMemory::new());
        let remote = Remote::new(Arc::clone(&objects) as Arc<dyn ObjectStore>);
        let store = (wrapping.wrap)(Arc::new(remote.clone()));
        let over = (wrapping.name, &remote);
        for seed in [1, 2] {
            let table = Columns::draw(seed, 0, ROWS);
            objects.put(&path, written(&table)?.into()).await?;
            // After that, every read must see it.
            tokio::time::sleep(wrapping.max_age).await;
            for pass in if seed == 1 { ["cold", "warm"] } else { ["cold, overwritten", "warm, \
                overwritten"] }
            {
                for (case, columns, groups) in READS {
                    let expected = picked(&table, columns, groups.clone());
                    let work = read(Arc::clone(&store), &path, columns, groups.clone());
                    report.case(format!("{pass}: {case}"), over, &expected, work).await?;
                }
            }
        }
    }
    Ok(report.finish())
}

/// Reads by name: columns and row groups.
const READS: [(&str, &[&str], Range<usize>); 3] = [
    ("1 column of 2 row groups", &["cents"], 3..5),
    ("2 columns of 1 row group", &["id", "note"], 6..7),
    ("1 column of all", &["user"], 0..GROUPS),
];

/// Columns by name; numbers as their digits.
type Picked = BTreeMap<String, Vec<String>>;

#[expect(deprecated, reason = "see its import")]
async fn read(
    store: Arc<dyn ObjectStore>,
    path: &Path,
    columns: &[&str],
    groups: Range<usize>,
) -> Result<Picked> {
    let reader = ParquetObjectReader::new(store, path.clone());
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let batches = builder.with_projection(mask).with_row_groups(groups.collect()).build()?;
    let batches: Vec<RecordBatch> = batches.try_collect().await?;
    let mut picked = Picked::new();
    for batch in &batches {
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            picked.entry(field.name().clone()).or_default().extend(texts(column)?);
        }
    }
    Ok(picked)
}

fn texts(column: &ArrayRef) -> Result<Vec<String>> {
    let column = column.as_any();
    if let Some(numbers) = column.downcast_ref::<Int64Array>() {
        return Ok(numbers.values().iter().map(ToString::to_string).collect());
    }
    let texts = column.downcast_ref::<StringArray>().ok_or("a column that was never written")?;
    Ok((0..texts.len()).map(|at| texts.value(at).to_owned()).collect())
}

/// The same, from the table that was written.
fn picked(table: &Columns, columns: &[&str], groups: Range<usize>) -> Picked {
    let rows = groups.start * GROUP_ROWS..groups.end * GROUP_ROWS;
    let of_column = |name: &str| match name {
        "note" => table.note[rows.clone()].to_vec(),
        "user" => table.user[rows.clone()].iter().map(ToString::to_string).collect(),
        "cents" => table.cents[rows.clone()].iter().map(ToString::to_string).collect(),
        _ => table.id[rows.clone()].iter().map(ToString::to_string).collect(),
    };
    columns.iter().map(|name| ((*name).to_owned(), of_column(name))).collect()
}

fn written(table: &Columns) -> Result<Vec<u8>> {
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(Int64Array::from(table.id.clone()))),
        ("user", Arc::new(Int64Array::from(table.user.clone()))),
        ("cents", Arc::new(Int64Array::from(table.cents.clone()))),
        ("city", Arc::new(StringArray::from(table.city.clone()))),
        ("note", Arc::new(StringArray::from(table.note.clone()))),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(GROUP_ROWS)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

const GROUPS: usize = 8;
const GROUP_ROWS: usize = 50_000;
const ROWS: usize = GROUPS * GROUP_ROWS;
