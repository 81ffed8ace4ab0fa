//! A recorded sequence of read requests.
//!
//! # Formats
//!
//! One request per line, `key` or `key,size`, or any CSV; plain or zstd, recognized by its first
//! bytes.
//!
//! * A key is any text. Spaces around a field and empty lines are ignored.
//! * A size is in bytes. Default: 1. Zero counts as 1.
//! * The first line is a header if columns are chosen by name, or if a field is `key`, `object`,
//!   `obj_id`, `id`, `url` or `path` in any case, which is then the column of keys; `size`,
//!   `obj_size`, `bytes` or `length` is that of sizes. Without a header these are the first and the
//!   second of at most two columns.
//! * Fields may be quoted as in RFC 4180, but must not contain line breaks.

use std::collections::HashMap;

/// A recorded sequence of read requests, in memory: 4 bytes a request, and 8 more if any object has
/// a size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    name: String,
    objects: Vec<u32>,
    /// By request; `None` if all are 1.
    sizes: Option<Vec<u64>>,
    /// Over all objects, by the size of the first request.
    total_bytes: u64,
    n_distinct: u32,
}

/// One read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The number of the object, in the order of first requests.
    pub object: u32,
    /// The object's size in bytes, as this request gives it.
    pub size: u64,
}

impl Trace {
    /// The name in tables: the file name without extensions.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The requests, in order.
    pub fn requests(&self) -> impl Iterator<Item = Request> {
        let request = |(i, &object)| Request { object, size: self.size(i) };
        self.objects.iter().enumerate().map(request)
    }

    /// The number of requests.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are no requests.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The number of different objects.
    pub fn n_distinct(&self) -> u64 {
        u64::from(self.n_distinct)
    }

    /// Whether any size is other than 1.
    pub fn is_sized(&self) -> bool {
        self.sizes.is_some()
    }

    /// The bytes of all objects, by the size of the first request.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The object of each request.
    pub(crate) fn objects(&self) -> &[u32] {
        &self.objects
    }

    /// The size that request number `i` gives.
    pub(crate) fn size(&self, i: usize) -> u64 {
        self.sizes.as_ref().map_or(1, |sizes| sizes[i])
    }
}

/// Numbers the objects while a trace is read.
#[derive(Debug, Default)]
pub struct TraceBuilder {
    trace: Trace,
    numbers: HashMap<Box<[u8]>, u32>,
}

impl TraceBuilder {
    /// An empty trace with this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { trace: Trace { name: name.into(), ..Trace::default() }, numbers: HashMap::new() }
    }

    /// Adds a request. Returns `false` if there are 4 billion already.
    #[must_use]
    pub fn push(&mut self, key: &[u8], size: u64) -> bool {
        let size = size.max(1);
        let trace = &mut self.trace;
        if trace.objects.len() >= REQUESTS_MAX {
            return false;
        }
        let object = match self.numbers.get(key) {
            Some(&object) => object,
            None => {
                let object = trace.n_distinct;
                self.numbers.insert(key.into(), object);
                trace.n_distinct += 1;
                trace.total_bytes = trace.total_bytes.saturating_add(size);
                object
            }
        };
        if size != 1 && trace.sizes.is_none() {
            trace.sizes = Some(vec![1; trace.objects.len()]);
        }
        if let Some(sizes) = &mut trace.sizes {
            sizes.push(size);
        }
        trace.objects.push(object);
        true
    }

    /// The trace.
    pub fn build(self) -> Trace {
        self.trace
    }
}

/// One number of 32 bits is left for "never".
const REQUESTS_MAX: usize = u32::MAX as usize;
