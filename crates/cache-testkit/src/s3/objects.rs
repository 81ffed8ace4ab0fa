//! The objects, and what requests do to them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};

use super::{
    S3Request, bulk,
    conditions::{Current, Tag, Verdict, format_date, judge, parse_date, range_applies},
    fault::Plan,
    list,
};
use crate::Operation;

/// An object, or what of it is known by one who only looked.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) body: Bytes,
    pub(super) tag: String,
    pub(super) modified: DateTime<Utc>,
    /// What the put said of it and every get repeats.
    headers: Vec<(String, String)>,
}

/// An answer, before faults are done to it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// An error as S3 words it.
    pub(super) fn error(status: u16, code: &str) -> Self {
        Self::xml(status, &format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
    }

    fn xml(status: u16, text: &str) -> Self {
        let body = Bytes::from(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}"));
        Self { body, ..Self::new(status) }.with("content-type", "application/xml")
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn with_tag(self, tag: Option<&str>) -> Self {
        match tag {
            Some(tag) => self.with("etag", tag),
            None => self,
        }
    }
}

pub(super) struct Objects {
    objects: BTreeMap<String, Object>,
    uploads: HashMap<String, Upload>,
    /// Tags and dates are made of it: none comes twice.
    n_writes: i64,
}

/// A multipart upload that has begun.
struct Upload {
    headers: Vec<(String, String)>,
    parts: BTreeMap<u32, Bytes>,
}

impl Objects {
    pub(super) fn new() -> Self {
        Self { objects: BTreeMap::new(), uploads: HashMap::new(), n_writes: 0 }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn put(
        &mut self,
        key: &str,
        body: Bytes,
        headers: Vec<(String, String)>,
    ) -> &Object {
        let n = self.next();
        let modified = parse_date(FIRST_DATE).expect("it is a date") + Duration::seconds(n);
        let object = Object { body, tag: format!("\"{n:032x}\""), modified, headers };
        self.objects.insert(key.to_owned(), object);
        &self.objects[key]
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.objects.remove(key);
    }

    /// Carries `request` out. `seen`: what was there when it was looked at, if that was earlier.
    pub(super) fn answer(
        &mut self,
        request: &S3Request,
        plan: &Plan,
        seen: Option<Option<Object>>,
    ) -> Answer {
        let here = self.objects.get(&request.key).cloned();
        // The body of a torn read is of what is there now.
        let shown = match seen {
            Some(seen) => seen.map(|seen| match &here {
                Some(here) => Object { body: here.body.clone(), ..seen },
                None => seen,
            }),
            None => here,
        };
        let tag = |object: &Object| match &plan.tag {
            Some(fault) => fault.edit(Some(object.tag.clone())),
            None => Some(object.tag.clone()),
        };
        let current = shown.as_ref().map(|object| Current {
            tag: tag(object).as_deref().map(Tag::new),
            modified: object.modified,
        });
        let is_read = matches!(request.operation, Operation::Get | Operation::Head);
        let is_conditional = is_read
            || matches!(
                request.operation,
                Operation::Put | Operation::Delete | Operation::Copy | Operation::CompleteMultipart
            );
        let verdict = match is_conditional && !plan.ignore_conditions {
            true => judge(request, current.as_ref(), is_read),
            false => Verdict::Go,
        };
        match (verdict, is_read, shown.zip(current)) {
            (_, true, None) => Answer::error(404, "NoSuchKey"),
            (Verdict::Failed, ..) => Answer::error(412, "PreconditionFailed"),
            (Verdict::NotModified, _, shown) => {
                let tag = shown.as_ref().and_then(|(object, _)| tag(object));
                Answer::new(304).with_tag(tag.as_deref())
            }
            (Verdict::Go, true, Some((object, current))) => {
                show(request, &object, tag(&object).as_deref(), &current)
            }
            (Verdict::Go, false, _) => self.write(request, &tag, &plan.key_errors),
        }
    }

    fn write(
        &mut self,
        request: &S3Request,
        tag: &dyn Fn(&Object) -> Option<String>,
        key_errors: &[(String, String)],
    ) -> Answer {
        let key = request.key.as_str();
        let upload_id = request.parameter("uploadId").unwrap_or_default();
        match request.operation {
            Operation::Put => {
                let tag = tag(self.put(key, request.body.clone(), kept(request)));
                Answer::new(200).with_tag(tag.as_deref())
            }
            Operation::Delete => {
                self.remove(key);
                Answer::new(204)
            }
            Operation::Copy => {
                let Some(source) = self.source(request).cloned() else {
                    return Answer::error(404, "NoSuchKey");
                };
                let copy = self.put(key, source.body, source.headers);
                Answer::xml(
                    200,
                    &format!("<CopyObjectResult>{}</CopyObjectResult>", list::tag_of(copy)),
                )
            }
            Operation::StartMultipart => {
                let id = format!("upload-{}", self.next());
                self.uploads
                    .insert(id.clone(), Upload { headers: kept(request), parts: BTreeMap::new() });
                let id = format!("<UploadId>{id}</UploadId>");
                Answer::xml(
                    200,
                    &format!("<InitiateMultipartUploadResult>{id}</InitiateMultipartUploadResult>"),
                )
            }
            Operation::PutPart => self.put_part(request, upload_id),
            Operation::CompleteMultipart => {
                let Some(upload) = self.uploads.remove(upload_id) else {
                    return Answer::error(404, "NoSuchUpload");
                };
                let chosen = part_numbers(&request.body);
                let parts = chosen.iter().filter_map(|number| upload.parts.get(number));
                let parts: Vec<_> = parts.map(Bytes::as_ref).collect();
                if parts.len() != chosen.len() {
                    self.uploads.insert(upload_id.to_owned(), upload);
                    return Answer::error(400, "InvalidPart");
                }
                let tag = list::tag_of(self.put(key, Bytes::from(parts.concat()), upload.headers));
                Answer::xml(
                    200,
                    &format!(
                        "<CompleteMultipartUploadResult>{tag}</CompleteMultipartUploadResult>"
                    ),
                )
            }
            Operation::AbortMultipart => {
                self.uploads.remove(upload_id);
                Answer::new(204)
            }
            Operation::BulkDelete => match bulk::delete(self, request, key_errors) {
                Ok(said) => Answer::xml(200, &said),
                Err((status, code)) => Answer::error(status, code),
            },
            Operation::List => Answer::xml(200, &list::list(&self.objects, request)),
            _ => Answer::error(501, "NotImplemented"),
        }
    }

    fn put_part(&mut self, request: &S3Request, upload_id: &str) -> Answer {
        let is_copy = request.source.is_some();
        let body = match is_copy {
            true => self.source(request).map(|source| source.body.clone()),
            false => Some(request.body.clone()),
        };
        let Some(body) = body else { return Answer::error(404, "NoSuchKey") };
        let Some(number) = request.parameter("partNumber").and_then(|number| number.parse().ok())
        else {
            return Answer::error(400, "InvalidArgument");
        };
        let n = self.next();
        let Some(upload) = self.uploads.get_mut(upload_id) else {
            return Answer::error(404, "NoSuchUpload");
        };
        upload.parts.insert(number, body);
        match is_copy {
            true => Answer::xml(
                200,
                &format!("<CopyPartResult><ETag>\"{n:x}\"</ETag></CopyPartResult>"),
            ),
            false => Answer::new(200).with("etag", &format!("\"{n:x}\"")),
        }
    }

    fn source(&self, request: &S3Request) -> Option<&Object> {
        self.get(request.source.as_deref()?)
    }

    fn next(&mut self) -> i64 {
        self.n_writes += 1;
        self.n_writes
    }
}

/// The answer to a GET or HEAD whose conditions hold.
fn show(request: &S3Request, object: &Object, tag: Option<&str>, current: &Current) -> Answer {
    let size = object.body.len();
    let range = request.header("range").filter(|_| range_applies(request, current));
    let (status, range) = match range.map(|range| parse_range(range, size)) {
        Some(Asked::Part(range)) => (206, range),
        Some(Asked::Nothing) => {
            return Answer::error(416, "InvalidRange")
                .with("content-range", &format!("bytes */{size}"));
        }
        Some(Asked::Other) | None => (200, 0..size),
    };
    let mut answer = Answer::new(status).with_tag(tag);
    if status == 206 {
        let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        answer = answer.with("content-range", &text);
    }
    answer.headers.extend(object.headers.iter().cloned());
    answer.body = object.body.slice(range);
    answer.with("last-modified", &format_date(object.modified)).with("accept-ranges", "bytes")
}

/// What a `Range` asks for.
enum Asked {
    Part(Range<usize>),
    /// No byte that there is.
    Nothing,
    /// Several parts, or what is no range: as if it were not there (RFC 9110 section 14.2).
    Other,
}

fn parse_range(text: &str, size: usize) -> Asked {
    let Some((start, end)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Asked::Other;
    };
    let (start, end) = match (start.parse::<usize>(), end.parse::<usize>()) {
        (Ok(start), Ok(end)) if start <= end => (start, size.min(end.saturating_add(1))),
        (Ok(start), Err(_)) if end.is_empty() => (start, size),
        (Err(_), Ok(suffix)) if start.is_empty() => (size.saturating_sub(suffix), size),
        _ => return Asked::Other,
    };
    if start < end { Asked::Part(start..end) } else { Asked::Nothing }
}

/// The headers of a put that belong to the object.
fn kept(request: &S3Request) -> Vec<(String, String)> {
    let is_kept = |name: &str| KEPT.contains(&name) || name.starts_with("x-amz-meta-");
    request.headers.iter().filter(|(name, _)| is_kept(name)).cloned().collect()
}

/// In the order in which they are to be joined.
fn part_numbers(xml: &[u8]) -> Vec<u32> {
    let xml = String::from_utf8_lossy(xml);
    let numbers = xml.split("<PartNumber>").skip(1).filter_map(|rest| rest.split('<').next());
    numbers.filter_map(|number| number.trim().parse().ok()).collect()
}

const KEPT: [&str; 6] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "x-amz-storage-class",
];

/// When the server's time begins; it goes on by a second with every write.
const FIRST_DATE: &str = "Tue, 24 Nov 2026 00:00:00 GMT";
