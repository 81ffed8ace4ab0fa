//! Lists: `list-type=2`.

use std::{collections::BTreeMap, ops::Bound};

use super::{S3Request, objects::Object};

/// One page of the list that `request` asks for, as XML.
pub(super) fn list(objects: &BTreeMap<String, Object>, request: &S3Request) -> String {
    let prefix = request.key.as_str();
    let delimiter = request.parameter("delimiter").filter(|delimiter| !delimiter.is_empty());
    let after =
        request.parameter("continuation-token").or_else(|| request.parameter("start-after"));
    let keys_max =
        request.parameter("max-keys").and_then(|max| max.parse().ok()).unwrap_or(PAGE).min(PAGE);

    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let matching = objects.range::<str, _>((from, Bound::Unbounded));
    let matching = matching.take_while(|(key, _)| key.starts_with(prefix));
    let (mut contents, mut prefixes, mut n_items, mut last) = (String::new(), String::new(), 0, "");
    let mut is_cut = false;
    for (key, object) in matching {
        let folder = delimiter.and_then(|delimiter| {
            let end = prefix.len() + key[prefix.len()..].find(delimiter)? + delimiter.len();
            Some(&key[..end])
        });
        // A folder is one item, and passed over whole: on this page, and when the last page ended
        // with it.
        if folder.is_some_and(|folder| folder == last || after == Some(folder)) {
            continue;
        }
        if n_items == keys_max {
            is_cut = true;
            break;
        }
        n_items += 1;
        last = folder.unwrap_or(key);
        match folder {
            Some(folder) => {
                prefixes += &format!(
                    "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                    escaped(folder)
                );
            }
            None => {
                contents += &format!(
                    "<Contents><Key>{}</Key><LastModified>{}</LastModified>{}<Size>{}</Size></Contents>",
                    escaped(key),
                    object.modified.format("%Y-%m-%dT%H:%M:%S.000Z"),
                    tag_of(object),
                    object.body.len(),
                );
            }
        }
    }
    let next = match is_cut {
        true => format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(last)),
        false => String::new(),
    };
    format!(
        "<ListBucketResult><IsTruncated>{is_cut}</IsTruncated>{next}{contents}{prefixes}</ListBucketResult>"
    )
}

pub(super) fn tag_of(object: &Object) -> String {
    format!("<ETag>{}</ETag>", escaped(&object.tag))
}

pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            char if char.is_control() => out += &format!("&#{};", u32::from(char)),
            char => out.push(char),
        }
    }
    out
}

/// The most items of a page, as in S3.
const PAGE: usize = 1000;
