//! Which bucket is served.

use std::{
    error::Error, ffi::OsString, fmt, iter, path::Path as Folder, sync::Arc, time::Duration,
};

use cache_facade::{
    ValidatorStrength,
    object_store::{
        self, Attribute, Attributes, Error as E, ObjectStore, ObjectStoreExt, PutOptions,
        local::LocalFileSystem, parse_url_opts, path::Path, prefix::PrefixStore,
    },
};
use tokio::time::timeout;
use url::Url;

use crate::{folder::Folder as Closed, key, memory::Memory};

/// A bucket, and what its tags are worth.
#[derive(Debug)]
pub struct Bucket {
    /// Its objects.
    pub store: Arc<dyn ObjectStore>,
    /// For the builder of the cached store.
    pub strength: ValidatorStrength,
}

/// How a bucket is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketOptions {
    /// Whether it may be asked without TLS: `http://…` as the bucket, or as the endpoint of one.
    /// Everybody on the way can then read and change what is sent, and use the credentials again.
    /// Default: false.
    pub allow_http: bool,
    /// Whether symbolic links that lead out of a folder are followed. Default: false.
    pub follow_links: bool,
}

impl Bucket {
    /// The bucket at `place`: a folder, or a URL as `object_store` reads it (`s3://bucket/prefix`,
    /// `gs://…`, `az://…`, `https://…`), whose settings are those variables of `environment` that
    /// begin with `AWS_`, `GOOGLE_` or `AZURE_`. Sends no request.
    ///
    /// # Errors
    ///
    /// If there is no such folder, or the URL cannot be read, is of a store that was not built in,
    /// lacks a setting, or begins with `http:`.
    pub fn open(
        place: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Self::open_with(place, environment, BucketOptions::default())
    }

    /// The same, with `options`.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_with(
        place: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        options: BucketOptions,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        // A letter before a colon is a drive.
        let url = Url::parse(place).ok().filter(|url| url.scheme().len() > 1);
        let Some(url) = url else { return Self::folder(Folder::new(place), options) };
        if url.scheme() == "file" {
            let folder =
                url.to_file_path().map_err(|()| format!("{url} is no folder of this machine"))?;
            return Self::folder(&folder, options);
        }
        let mut settings: Vec<_> =
            environment.into_iter().filter_map(|(name, value)| setting(name, value)).collect();
        if options.allow_http {
            settings.push(("allow_http".to_owned(), "true".to_owned()));
        } else if let Some(plain) = without_tls(place, &settings) {
            return Err(
                format!("{} is without TLS: allow it with --allow-http", shown(plain)).into()
            );
        }
        let (store, prefix) = parse_url_opts(&url, settings)?;
        let strength = ValidatorStrength::of(&*store);
        let store: Box<dyn ObjectStore> =
            if url.scheme() == "memory" { Box::new(Memory::new()) } else { store };
        let store: Arc<dyn ObjectStore> = if prefix.as_ref().is_empty() {
            store.into()
        } else {
            Arc::new(PrefixStore::new(store, prefix))
        };
        Ok(Self { store, strength })
    }

    fn folder(
        folder: &Folder,
        options: BucketOptions,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        // The store takes a file as well, and then has no objects.
        if !folder.is_dir() {
            return Err(format!("there is no folder {:?}", folder.display().to_string()).into());
        }
        Ok(match options.follow_links {
            true => Self::from(LocalFileSystem::new_with_prefix(folder)?),
            false => Self::from(Closed::new(folder)?),
        })
    }

    /// Whether the bucket answers, and knows who asks: reads its `index.html`, which need not be
    /// there.
    ///
    /// # Errors
    ///
    /// A sentence for whoever starts the program, with what the bucket said as its source.
    pub async fn check(&self) -> Result<(), CheckError> {
        let index = Path::from(key::INDEX);
        let answer = match timeout(CHECK_TIMEOUT, self.store.get(&index)).await {
            Ok(answer) => answer.map(|_| ()),
            Err(_) => {
                let message = format!(
                    "the bucket did not answer within {CHECK_TIMEOUT:?}: is its address right?"
                );
                return Err(CheckError { message, source: None });
            }
        };
        let Err(error) = answer else { return Ok(()) };
        let message = match &error {
            // Said of the bucket, not of the object.
            E::NotFound { .. }
                if says(&error, "NoSuchBucket") || says(&error, "ContainerNotFound") =>
            {
                "there is no such bucket"
            }
            E::Unauthenticated { .. } => "the bucket does not know these credentials",
            E::PermissionDenied { .. } => {
                "the bucket refuses to show its index.html to these credentials. If they may read \
                 objects but not list them, it says so of what is not there too: start with \
                 --no-check"
            }
            E::Generic { .. } => "the bucket cannot be reached, or fails",
            // An answer, from a store that knows who asks.
            _ => return Ok(()),
        };
        Err(CheckError { message: message.to_owned(), source: Some(error) })
    }
}

/// Why a bucket cannot be served.
#[derive(Debug)]
pub struct CheckError {
    message: String,
    source: Option<object_store::Error>,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CheckError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

fn says(error: &object_store::Error, code: &str) -> bool {
    let first: &(dyn Error + 'static) = error;
    iter::successors(Some(first), |error| (*error).source())
        .any(|cause| cause.to_string().contains(code))
}

fn is_http(place: &str) -> bool {
    place.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("http:"))
}

/// The address that would be asked without TLS, unless the environment says that it may be.
fn without_tls<'a>(place: &'a str, settings: &'a [(String, String)]) -> Option<&'a str> {
    if is_http(place) {
        return Some(place);
    }
    let is_allowed = |(name, value): &(String, String)| {
        name.ends_with("_ALLOW_HTTP")
            && ["true", "1", "yes", "on", "y"].contains(&&*value.to_ascii_lowercase())
    };
    let is_endpoint = |name: &str| {
        ["_ENDPOINT", "_ENDPOINT_URL", "_ENDPOINT_URL_S3", "_BASE_URL"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let endpoint = settings.iter().find(|(name, value)| is_endpoint(name) && is_http(value));
    endpoint.filter(|_| !settings.iter().any(is_allowed)).map(|(_, endpoint)| &**endpoint)
}

/// Without what may be a password.
fn shown(place: &str) -> String {
    let Ok(mut url) = Url::parse(place) else { return "the address of the bucket".to_owned() };
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}

impl<S: ObjectStore> From<S> for Bucket {
    /// What the tags are worth is told by the kind of store.
    fn from(store: S) -> Self {
        let strength = ValidatorStrength::of(&store);
        Self { store: Arc::new(store), strength }
    }
}

/// Others are not this program's, though a store might take them for its settings (`TOKEN`).
fn setting(name: OsString, value: OsString) -> Option<(String, String)> {
    let name = name
        .into_string()
        .ok()
        .filter(|name| SETTINGS.iter().any(|start| name.starts_with(start)))?;
    Some((name, value.into_string().ok()?))
}

/// A bucket in memory with a page and its picture.
pub async fn demo() -> object_store::Result<Memory> {
    let bucket = Memory::new();
    for (key, kind, bytes) in [
        ("index.html", "text/html; charset=utf-8", &include_bytes!("../site/index.html")[..]),
        ("store.svg", "image/svg+xml", include_bytes!("../site/store.svg")),
    ] {
        let attributes = Attributes::from_iter([(Attribute::ContentType, kind)]);
        let options = PutOptions { attributes, ..PutOptions::default() };
        bucket.put_opts(&Path::from(key), bytes.into(), options).await?;
    }
    Ok(bucket)
}

/// The store's client tries again and again for longer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

const SETTINGS: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];
