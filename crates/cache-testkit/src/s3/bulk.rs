//! `DeleteObjects`: many keys in one request, each with an outcome of its own.

use super::{S3Request, list::escaped, objects::Objects};

/// What a request for a bulk delete names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) key: String,
    e_tag: Option<String>,
    is_of_version: bool,
}

/// The objects that the body of a bulk delete names; `None` if it is no such body.
pub(super) fn named(request: &S3Request) -> Option<Vec<Named>> {
    let text = std::str::from_utf8(&request.body).ok()?;
    let inner = element(text, "Delete")?;
    let objects = inner.split("<Object>").skip(1).map(|rest| {
        let object = rest.split_once("</Object>")?.0;
        Some(Named {
            key: unescaped(element(object, "Key")?)?,
            e_tag: element(object, "ETag").and_then(unescaped),
            is_of_version: element(object, "VersionId").is_some(),
        })
    });
    objects.collect()
}

/// Deletes what the request names, and says what became of each, as XML. An error: the status and
/// the code of the whole.
pub(super) fn delete(
    objects: &mut Objects,
    request: &S3Request,
    key_errors: &[(String, String)],
) -> Result<String, (u16, &'static str)> {
    let has_checksum = request
        .headers
        .iter()
        .any(|(name, _)| name == "content-md5" || name.starts_with("x-amz-checksum-"));
    if !has_checksum {
        return Err((400, "InvalidRequest"));
    }
    let named = named(request).filter(|named| !named.is_empty() && named.len() <= KEYS_MAX);
    let Some(named) = named else { return Err((400, "MalformedXML")) };
    let is_quiet = std::str::from_utf8(&request.body)
        .ok()
        .and_then(|text| element(text, "Quiet"))
        .is_some_and(|quiet| quiet.trim() == "true");
    let mut said = String::new();
    for Named { key, e_tag, is_of_version } in &named {
        let planned =
            key_errors.iter().find(|(spoiled, _)| spoiled == key).map(|(_, code)| code.as_str());
        let failed = planned.or_else(|| {
            let current = objects.get(key).map(|object| object.tag.as_str());
            let is_met = e_tag.as_deref().is_none_or(|tag| {
                // Strongly: a weak tag names nothing that is written. The quotes may be left out.
                current.is_some_and(|current| {
                    tag == "*" || !current.starts_with("W/") && bare(current) == bare(tag)
                })
            });
            // Only the last version is kept, and it has no name.
            let missing = is_of_version.then_some("NoSuchVersion");
            missing.or_else(|| (!is_met).then_some("PreconditionFailed"))
        });
        let key_shown = format!("<Key>{}</Key>", escaped(key));
        match failed {
            Some(code) => {
                let code = escaped(code);
                said += &format!(
                    "<Error>{key_shown}<Code>{code}</Code><Message>{code}</Message></Error>"
                );
            }
            None => {
                objects.remove(key);
                if !is_quiet {
                    said += &format!("<Deleted>{key_shown}</Deleted>");
                }
            }
        }
    }
    Ok(format!("<DeleteResult>{said}</DeleteResult>"))
}

/// What is in the first element called `name`, which may have attributes.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}"))?;
    let (attributes, rest) = rest.split_once('>')?;
    let is_it = attributes.is_empty() || attributes.starts_with(char::is_whitespace);
    is_it.then(|| rest.split_once(&format!("</{name}>"))).flatten().map(|(inner, _)| inner)
}

/// Text without its references to characters; `None` if there is one that XML does not know.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(';')?;
        out.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let number = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(number.ok()?)?
            }
        });
        out += rest;
    }
    Some(out)
}

fn bare(tag: &str) -> &str {
    tag.trim_matches('"')
}

/// The most keys of a request, as in S3.
const KEYS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;

    fn request(body: &str) -> S3Request {
        let headers = vec![("content-md5".to_owned(), "not looked at".to_owned())];
        let mut request = S3Request::new(Operation::BulkDelete, "", headers);
        request.body = body.to_owned().into();
        request
    }

    #[test]
    fn keys_are_read_as_xml_says_them() {
        let named = named(&request(
            "<Delete xmlns=\"x\"><Object><Key>a&amp;b&lt;&#x41;&#66;&apos;</Key></Object>\
             <Object><Key> c</Key><ETag>&quot;1&quot;</ETag></Object></Delete>",
        ));
        let keys: Vec<_> =
            named.unwrap().into_iter().map(|named| (named.key, named.e_tag)).collect();
        assert_eq!(
            keys,
            [("a&b<AB'".to_owned(), None), (" c".to_owned(), Some("\"1\"".to_owned()))]
        );
    }

    #[test]
    fn what_is_no_bulk_delete_changes_nothing() {
        let mut objects = Objects::new();
        objects.put("a", "body".into(), Vec::new());
        let whole = "<Delete><Object><Key>a</Key></Object></Delete>";
        let many = format!("<Delete>{}</Delete>", "<Object><Key>a</Key></Object>".repeat(1001));
        for body in
            ["", "<Delete></Delete>", "<Delete><Object></Object></Delete>", &whole[..40], &many]
        {
            assert_eq!(
                delete(&mut objects, &request(body), &[]),
                Err((400, "MalformedXML")),
                "{body}"
            );
        }
        let bare = S3Request { headers: Vec::new(), ..request(whole) };
        assert_eq!(delete(&mut objects, &bare, &[]), Err((400, "InvalidRequest")));
        assert!(objects.get("a").is_some());
        let said = delete(&mut objects, &request(whole), &[]).unwrap();
        assert_eq!(said, "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>");
        assert!(objects.get("a").is_none());
    }

    #[test]
    fn conditions_and_versions_are_judged_key_by_key() {
        let mut objects = Objects::new();
        let tag = objects.put("a", "body".into(), Vec::new()).tag.clone();
        objects.put("b", "body".into(), Vec::new());
        let said = delete(
            &mut objects,
            &request(&format!(
                "<Delete><Quiet>true</Quiet><Object><Key>a</Key><ETag>{}</ETag></Object>\
                 <Object><Key>b</Key><ETag>\"other\"</ETag></Object>\
                 <Object><Key>b</Key><VersionId>1</VersionId></Object>\
                 <Object><Key>c</Key><ETag>*</ETag></Object><Object><Key>d</Key></Object></Delete>",
                tag.replace('"', "&quot;")
            )),
            &[],
        );
        let said = said.unwrap();
        assert_eq!(said.matches("PreconditionFailed</Code>").count(), 2, "{said}");
        assert_eq!(said.matches("NoSuchVersion</Code>").count(), 1, "{said}");
        assert!(!said.contains("<Deleted>"), "{said}");
        assert!(objects.get("a").is_none() && objects.get("b").is_some());
    }
}
