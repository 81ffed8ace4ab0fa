//! JSON, an object a line.

use std::io::{self, Write};

use cache_disk::{
    files::SegmentName,
    inspect::{Record, SegmentSummary},
};
use serde_json::json;

use crate::table::state_name;

pub(crate) struct Lines {
    has_records: bool,
}

impl Lines {
    pub(crate) fn new(has_records: bool) -> Self {
        Self { has_records }
    }

    pub(crate) fn record(
        &self,
        out: &mut impl Write,
        segment: SegmentName,
        record: &Record,
    ) -> io::Result<()> {
        if !self.has_records {
            return Ok(());
        }
        let line = json!({
            "record": {
                "segment": segment.to_string(),
                "offset": record.offset,
                "sequence": record.sequence,
                "namespace": record.namespace.map(|namespace| hex(namespace.bits())),
                "key": record.key,
                "e_tag": record.e_tag,
                "body_bytes": record.body_bytes,
                "removed": !record.is_indexed,
                "fault": record.fault,
            }
        });
        writeln!(out, "{line}")
    }

    pub(crate) fn segment(&self, out: &mut impl Write, summary: &SegmentSummary) -> io::Result<()> {
        let line = json!({
            "segment": {
                "name": summary.name.to_string(),
                "state": state_name(summary.state),
                "bytes": summary.bytes,
                "namespace": summary.namespace.map(|namespace| hex(namespace.bits())),
                "records": summary.records,
                "removed": summary.records - summary.indexed,
                "body_bytes": summary.body_bytes,
                "damaged": summary.damaged,
                "unfinished_bytes": summary.unfinished_bytes,
                "fault": summary.fault,
            }
        });
        writeln!(out, "{line}")
    }
}

/// Not a number: JSON's lose digits.
pub(crate) fn hex(bits: u64) -> String {
    format!("{bits:016x}")
}
