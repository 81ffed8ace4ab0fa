//! Reads traces from a file or standard input, plain or compressed, lines or CSV.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use csv::{ByteRecord, ReaderBuilder, Trim};
use ruzstd::decoding::StreamingDecoder;

use crate::{
    Result,
    trace::{Trace, TraceBuilder},
};

/// The columns of keys and sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Default: by the header, else the first.
    pub key: Option<Column>,
    /// Default: by the header, else the second. If only a key is chosen, there are no sizes.
    pub size: Option<Column>,
}

/// A column of a CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// By position, from zero.
    Index(usize),
    /// By its name in the header.
    Name(String),
}

impl Columns {
    /// Parses `KEY` or `KEY,SIZE`, each a number from 1 or a name. Empty: the defaults.
    ///
    /// # Errors
    ///
    /// For column 0, and for more than two columns.
    pub fn parse(text: &str) -> Result<Self> {
        let column = |word: &str| match word.trim().parse::<usize>() {
            Ok(0) => Err("columns are numbered from 1"),
            Ok(n) => Ok(Column::Index(n - 1)),
            Err(_) => Ok(Column::Name(word.trim().to_owned())),
        };
        let mut columns = text.split(',').filter(|word| !word.trim().is_empty()).map(column);
        let (key, size) = (columns.next().transpose()?, columns.next().transpose()?);
        match columns.next() {
            None => Ok(Self { key, size }),
            Some(_) => Err(format!("--columns {text:?}: give KEY or KEY,SIZE").into()),
        }
    }
}

impl Trace {
    /// Reads the file at `path`, or standard input if that is `-`. See the [module](crate::trace)
    /// for the formats.
    ///
    /// # Errors
    ///
    /// With the file, the line and the fault.
    pub fn open(path: &str, columns: &Columns) -> Result<Self> {
        if path == "-" {
            return Self::read("stdin", io::stdin().lock(), columns);
        }
        let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
        Self::read(path, BufReader::new(file), columns)
    }

    /// Reads all of `source`, called `path` in errors; its file name without extensions is the
    /// name.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read(path: &str, mut source: impl BufRead, columns: &Columns) -> Result<Self> {
        let start = source.fill_buf().map_err(|error| format!("{path}: {error}"))?;
        if start.starts_with(&ZSTD_MAGIC) {
            return lines(
                path,
                BufReader::new(Frames { source: Some(source), decoder: None }),
                columns,
            );
        }
        if start.starts_with(&BYTE_ORDER_MARK) {
            source.consume(BYTE_ORDER_MARK.len());
        }
        lines(path, source, columns)
    }
}

fn lines(path: &str, mut source: impl BufRead, columns: &Columns) -> Result<Trace> {
    let mut builder = TraceBuilder::new(name(path));
    let mut places: Option<Places> = None;
    let (mut line, mut record) = (Vec::new(), ByteRecord::new());
    for number in 1_u64.. {
        line.clear();
        if source.read_until(b'\n', &mut line).map_err(|error| format!("{path}: {error}"))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let fault = |what: String| format!("{path}, line {number}: {what}");
        split(&line, &mut record).map_err(fault)?;
        let places = match &places {
            Some(places) => places,
            None => {
                let (found, is_header) = Places::find(&record, columns).map_err(fault)?;
                let found = places.insert(found);
                if is_header {
                    continue;
                }
                found
            }
        };
        let (key, size) = places.request(&record).map_err(fault)?;
        if !builder.push(key, size) {
            return Err(fault("more than 4 billion requests".to_owned()).into());
        }
    }
    let trace = builder.build();
    if trace.is_empty() { Err(format!("{path}: no request in it").into()) } else { Ok(trace) }
}

/// The fields of one line.
fn split(line: &[u8], record: &mut ByteRecord) -> std::result::Result<(), String> {
    record.clear();
    if !line.contains(&b'"') {
        line.split(|&byte| byte == b',').for_each(|field| record.push_field(field.trim_ascii()));
        return Ok(());
    }
    if line.iter().filter(|&&byte| byte == b'"').count() % 2 == 1 {
        return Err("a quote is not closed on the line".to_owned());
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .trim(Trim::All)
        .buffer_capacity(line.len())
        .from_reader(line);
    reader.read_byte_record(record).map_err(|error| error.to_string())?;
    Ok(())
}

/// The positions of the key and the size in a record.
#[derive(Debug)]
struct Places {
    key: usize,
    size: Option<usize>,
    /// Whether a record may have more columns than these two.
    is_wide: bool,
}

impl Places {
    /// Finds them by `columns` or the first record. Returns also whether that is a header.
    fn find(first: &ByteRecord, columns: &Columns) -> std::result::Result<(Self, bool), String> {
        let named = |names: &[&str]| {
            let is_one =
                |field: &[u8]| names.iter().any(|name| field.eq_ignore_ascii_case(name.as_bytes()));
            first.iter().position(is_one)
        };
        let known = named(&KEY_NAMES);
        let by_name = [&columns.key, &columns.size]
            .iter()
            .any(|column| matches!(column, Some(Column::Name(_))));
        let place = |column: &Column| match column {
            Column::Index(index) => Ok(*index),
            Column::Name(name) => {
                let columns =
                    || first.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(", ");
                named(&[name])
                    .ok_or_else(|| format!("no column {name:?} in the header: {}", columns()))
            }
        };
        let is_header = by_name || known.is_some();
        let places = match &columns.key {
            Some(key) => Self {
                key: place(key)?,
                size: columns.size.as_ref().map(place).transpose()?,
                is_wide: true,
            },
            None => match known {
                Some(key) => Self { key, size: named(&SIZE_NAMES), is_wide: true },
                None => Self { key: 0, size: Some(1), is_wide: false },
            },
        };
        Ok((places, is_header))
    }

    fn request<'a>(&self, record: &'a ByteRecord) -> std::result::Result<(&'a [u8], u64), String> {
        if record.len() > 2 && !self.is_wide {
            return Err(format!(
                "{} fields without a header; choose key and size: --columns 1,2",
                record.len()
            ));
        }
        let key = match record.get(self.key) {
            None => return Err(format!("no column {} for the key", self.key + 1)),
            Some([]) => return Err("the key is empty".to_owned()),
            Some(key) if key.contains(&0) => {
                return Err("a zero byte in the key: not a text file".to_owned());
            }
            Some(key) => key,
        };
        let size = match self.size.and_then(|size| record.get(size)) {
            None | Some([]) => 1,
            Some(text) => size(text)?,
        };
        Ok((key, size))
    }
}

fn size(text: &[u8]) -> std::result::Result<u64, String> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let text = String::from_utf8_lossy(text);
        format!("the size {text:?} is not a whole number of bytes")
    })
}

/// The file name without extensions: `web_07` for `a/web_07.csv.zst`.
fn name(path: &str) -> String {
    let file = Path::new(path).file_name().map_or(path.into(), |file| file.to_string_lossy());
    let stem = file.split('.').find(|part| !part.is_empty()).unwrap_or(&file);
    stem.to_owned()
}

/// The frames of a zstd file, one after the other.
struct Frames<R: Read> {
    source: Option<R>,
    decoder: Option<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(decoder) = &mut self.decoder {
                let n = decoder.read(buf)?;
                if n > 0 || buf.is_empty() {
                    return Ok(n);
                }
                self.source = self.decoder.take().map(StreamingDecoder::into_inner);
            }
            let Some(mut source) = self.source.take() else { return Ok(0) };
            if source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let decoder = StreamingDecoder::new(source).map_err(io::Error::other)?;
            self.decoder = Some(decoder);
        }
    }
}

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

const KEY_NAMES: [&str; 6] = ["key", "object", "obj_id", "id", "url", "path"];
const SIZE_NAMES: [&str; 4] = ["size", "obj_size", "bytes", "length"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trace::Request;

    fn read(text: &[u8], columns: &str) -> Result<Vec<(u32, u64)>> {
        let columns = Columns::parse(columns)?;
        let trace = Trace::read("a/t.csv.zst", text, &columns)?;
        assert_eq!(trace.name(), "t");
        Ok(trace.requests().map(|Request { object, size }| (object, size)).collect())
    }

    #[track_caller]
    fn check(text: &str, columns: &str, expected: &[(u32, u64)]) {
        assert_eq!(read(text.as_bytes(), columns).unwrap(), expected, "{text:?}");
    }

    #[track_caller]
    fn check_error(text: &[u8], columns: &str, expected: &str) {
        assert_eq!(read(text, columns).unwrap_err().to_string(), expected);
    }

    #[test]
    fn keys_alone() {
        check("7\n-3\n7", "", &[(0, 1), (1, 1), (0, 1)]);
        check("a b/c\r\n\r\n  a b/c  \r\n", "", &[(0, 1), (0, 1)]);
        check("\u{feff}x\n", "", &[(0, 1)]);
    }

    #[test]
    fn keys_with_sizes() {
        check("7,10\n8,0\n7\n7,\n7, 12 \n", "", &[(0, 10), (1, 1), (0, 1), (0, 1), (0, 12)]);
    }

    #[test]
    fn a_header_says_which_columns() {
        check("time,obj_id,obj_size,op\n1,a,5,get\n2,b,6,get\n", "", &[(0, 5), (1, 6)]);
        check("Size,Key\n5,\"a,b\"\n", "", &[(0, 5)]);
        check("when,what,much\n1,a,5\n", "what,much", &[(0, 5)]);
        check("when,what,much\n1,a,5\n", "what", &[(0, 1)]);
    }

    #[test]
    fn columns_are_chosen_by_number() {
        check("1,a,5\n2,b,6\n", "2,3", &[(0, 5), (1, 6)]);
        check("time,key,size\n1,a,5\n", "2,3", &[(0, 5)]);
    }

    #[test]
    fn errors_say_where_and_what() {
        check_error(b"", "", "a/t.csv.zst: no request in it");
        check_error(b"key,size\n", "", "a/t.csv.zst: no request in it");
        let size = |line, text| {
            format!("a/t.csv.zst, line {line}: the size {text:?} is not a whole number of bytes")
        };
        check_error(b"1,2\n\n3,x\n", "", &size(3, "x"));
        check_error(b"1,-2\n", "", &size(1, "-2"));
        check_error(b"1,2.5\n", "", &size(1, "2.5"));
        check_error(b",2\n", "", "a/t.csv.zst, line 1: the key is empty");
        check_error(b"\0\x01", "", "a/t.csv.zst, line 1: a zero byte in the key: not a text file");
        check_error(
            b"1,2,3\n",
            "",
            "a/t.csv.zst, line 1: 3 fields without a header; choose key and size: --columns 1,2",
        );
        check_error(b"a,b\n1,2\n", "c", "a/t.csv.zst, line 1: no column \"c\" in the header: a, b");
        check_error(b"1,2\n3\n", "2", "a/t.csv.zst, line 2: no column 2 for the key");
        check_error(
            b"1\n\"2\n3\n4\n",
            "",
            "a/t.csv.zst, line 2: a quote is not closed on the line",
        );
        let error = Trace::open("no/such/file", &Columns::default()).unwrap_err().to_string();
        assert!(error.starts_with("no/such/file: "), "{error}");
    }

    #[test]
    fn zstd_is_unpacked_frame_by_frame() {
        let packed = |text: &str| {
            ruzstd::encoding::compress_to_vec(
                text.as_bytes(),
                ruzstd::encoding::CompressionLevel::Fastest,
            )
        };
        let two = [packed("1,5\n"), packed("2,6\n")].concat();
        assert_eq!(read(&two, "").unwrap(), [(0, 5), (1, 6)]);
        let error = read(&two[..two.len() - 3], "").unwrap_err().to_string();
        assert!(error.starts_with("a/t.csv.zst: "), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text: Vec<u8>, columns in prop_oneof![Just(""), Just("2,1"), Just("a,b")]) {
            let _ = read(&text, columns);
            let _ = read(&[&ZSTD_MAGIC, &text[..]].concat(), columns);
        }

        #[test]
        fn no_lines_make_it_panic(text in "[a0,\"\r\n é-]{0,60}") {
            let _ = read(text.as_bytes(), "");
        }

        #[test]
        fn a_written_trace_is_read_back(requests in prop::collection::vec((0_u8..9, 1_u64..), 1..40)) {
            let text: String = requests.iter().map(|(key, size)| format!("{key},{size}\n")).collect();
            let read = read(text.as_bytes(), "").unwrap();
            prop_assert_eq!(read.len(), requests.len());
            for (a, b) in read.iter().zip(&requests) {
                prop_assert_eq!(a.1, b.1);
                let first = requests.iter().position(|(key, _)| *key == b.0).unwrap();
                prop_assert_eq!(a.0, read[first].0);
            }
        }
    }
}
