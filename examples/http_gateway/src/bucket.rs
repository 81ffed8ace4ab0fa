//! Which bucket is served.

use std::{error::Error, ffi::OsString, path::Path as Folder, sync::Arc};

use cache_facade::{
    ValidatorStrength,
    object_store::{
        self, Attribute, Attributes, ObjectStore, PutOptions, local::LocalFileSystem, memory::InMemory,
        parse_url_opts, path::Path, prefix::PrefixStore,
    },
};
use url::Url;

/// A bucket, and what its tags are worth.
#[derive(Debug)]
pub struct Bucket {
    /// Its objects.
    pub store: Arc<dyn ObjectStore>,
    /// For the builder of the cached store.
    pub strength: ValidatorStrength,
}

impl Bucket {
    /// The bucket at `place`: a folder, or a URL as `object_store` reads it (`s3://bucket/prefix`, `gs://…`, `az://…`,
    /// `https://…`), whose settings are those variables of `environment` that begin with `AWS_`, `GOOGLE_` or `AZURE_`.
    /// Sends no request.
    ///
    /// # Errors
    ///
    /// If there is no such folder, or the URL cannot be read, is of a store that was not built in, or lacks a setting.
    pub fn open(
        place: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        // A letter before a colon is a drive.
        let url = Url::parse(place).ok().filter(|url| url.scheme().len() > 1);
        match url {
            None => Self::folder(Folder::new(place)),
            Some(url) if url.scheme() == "file" => {
                let folder =
                    url.to_file_path().map_err(|()| format!("{url} is no folder of this machine"))?;
                Self::folder(&folder)
            }
            Some(url) => {
                let settings = environment.into_iter().filter_map(|(name, value)| setting(name, value));
                let (store, prefix) = parse_url_opts(&url, settings)?;
                let strength = ValidatorStrength::of(&*store);
                let store: Arc<dyn ObjectStore> = if prefix.as_ref().is_empty() {
                    store.into()
                } else {
                    Arc::new(PrefixStore::new(store, prefix))
                };
                Ok(Self { store, strength })
            }
        }
    }

    fn folder(folder: &Folder) -> Result<Self, Box<dyn Error + Send + Sync>> {
        // The store takes a file as well, and then has no objects.
        if !folder.is_dir() {
            return Err(format!("there is no folder {:?}", folder.display().to_string()).into());
        }
        Ok(Self::from(LocalFileSystem::new_with_prefix(folder)?))
    }
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
    let name = name.into_string().ok().filter(|name| SETTINGS.iter().any(|start| name.starts_with(start)))?;
    Some((name, value.into_string().ok()?))
}

/// A bucket in memory with a page and its picture.
pub async fn demo() -> object_store::Result<InMemory> {
    let bucket = InMemory::new();
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

const SETTINGS: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];
