//! Where backups are: a directory, or a bucket of S3-compatible object storage.
//!
//! Every call has a deadline, and bounded tries within it. Credentials come from the environment
//! variables of the AWS tools only.

use std::future::Future;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Name;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};

use super::Error;
use super::http::{Connect, chain};

/// How long one call may take, all its tries included.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a request is tried again.
const TRIES: usize = 5;
/// How long after the first try there is another one.
const TRY_FOR: Duration = Duration::from_secs(60);
/// The most objects that are looked at in one place.
const MOST_OBJECTS: usize = 1_000_000;

/// One of these says where credentials come from.
const CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// How a destination is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `s3://BUCKET[/PREFIX]`, `file:///PATH` or an absolute path.
    pub url: String,
    /// The object storage's address; `None`: that of `AWS_ENDPOINT_URL`, or Amazon's own.
    pub s3_endpoint: Option<String>,
    /// Its region; `None`: that of `AWS_REGION`, or `us-east-1`.
    pub s3_region: Option<String>,
}

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory.
    Directory(PathBuf),
    /// A bucket, and what all names in it begin with.
    Bucket {
        /// Its name.
        bucket: String,
        /// Without slashes at its ends; may be empty.
        prefix: String,
    },
}

impl Place {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(url: &str) -> Result<Self, String> {
        let right = "write s3://BUCKET/PREFIX, file:///PATH or an absolute path";
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            if bucket.is_empty() {
                return Err(format!("'{url}' names no bucket: {right}"));
            }
            if Name::parse(prefix).is_err() {
                return Err(format!("'{url}' has an empty part or '..' in its prefix: {right}"));
            }
            return Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        let path = match url.strip_prefix("file://") {
            Some(path) => path,
            None if url.contains("://") => return Err(format!("'{url}' is unknown: {right}")),
            None => url,
        };
        if !Path::new(path).is_absolute() {
            return Err(format!("'{url}' is not absolute: {right}"));
        }
        Ok(Self::Directory(PathBuf::from(path)))
    }
}

/// Where backups are, opened.
#[derive(Debug, Clone)]
pub struct Destination {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// As it is shown.
    url: String,
}

impl Settings {
    /// Opens it; with `makes`, a directory that is not there is made.
    ///
    /// # Errors
    /// The URL is wrong, or the directory or the credentials cannot be used.
    pub fn open(&self, makes: bool) -> Result<Destination, Error> {
        let wrong = |reason| Error::Setting { key: "backup.url", reason };
        let url = self.url.trim_end_matches('/').to_owned();
        match Place::parse(&self.url).map_err(wrong)? {
            Place::Directory(path) => {
                if makes {
                    std::fs::create_dir_all(&path).map_err(|error| Error::file(&path, error))?;
                }
                if !path.is_dir() {
                    return Err(Error::file(&path, "there is no such directory"));
                }
                let store = LocalFileSystem::new_with_prefix(&path);
                let store = store.map_err(|error| Error::file(&path, chain(&error)))?;
                let store = Arc::new(store.with_fsync(true));
                Ok(Destination { store, prefix: String::new(), url })
            }
            Place::Bucket { bucket, prefix } => {
                let variable =
                    |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
                if !CREDENTIALS.iter().any(|name| variable(name).is_some()) {
                    let reason = "not set in the environment, nor are a role's credentials \
                                  (AWS_WEB_IDENTITY_TOKEN_FILE): object storage cannot be used";
                    return Err(Error::Setting { key: CREDENTIALS[0], reason: reason.into() });
                }
                let endpoint = self.s3_endpoint.clone();
                let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL_S3"));
                let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL"));
                let plain = endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
                let region = self.s3_region.clone();
                let region = region.or_else(|| variable("AWS_REGION"));
                let region = region.or_else(|| variable("AWS_DEFAULT_REGION"));
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_region(region.unwrap_or_else(|| "us-east-1".into()))
                    .with_allow_http(plain)
                    .with_http_connector(Connect { plain })
                    .with_retry(RetryConfig {
                        max_retries: TRIES,
                        retry_timeout: TRY_FOR,
                        ..RetryConfig::default()
                    });
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                let store = builder.build().map_err(|error| wrong(chain(&error)))?;
                Ok(Destination { store: Arc::new(store), prefix, url })
            }
        }
    }
}

/// Waits for a call, but not for ever.
async fn within<T>(
    what: impl Fn() -> String,
    call: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(object_store::Error::NotFound { .. })) => {
            Err(Error::damaged(what(), "it is missing"))
        }
        Ok(Err(error)) => Err(Error::Destination { what: what(), reason: chain(&error) }),
        Err(_) => {
            let reason = format!("no answer within {PATIENCE:?}");
            Err(Error::Destination { what: what(), reason })
        }
    }
}

impl Destination {
    /// As it is shown to people.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An object, as it is shown to people.
    pub fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    fn name(&self, name: &str) -> Name {
        Name::from_iter(self.prefix.split('/').chain(name.split('/')).filter(|p| !p.is_empty()))
    }

    /// The directories right below a place.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn directories(&self, under: &str) -> Result<Vec<String>, Error> {
        let name = self.name(under);
        let what = || self.shown(under);
        let found = within(what, self.store.list_with_delimiter(Some(&name))).await?;
        let last = |path: &Name| path.parts().next_back().map(|part| part.as_ref().to_owned());
        Ok(found.common_prefixes.iter().filter_map(last).collect())
    }

    /// The objects below a place: the last parts of their names and their bytes, by name.
    ///
    /// # Errors
    /// It cannot be read, or there are too many.
    pub async fn objects(&self, under: &str) -> Result<Vec<(String, u64)>, Error> {
        let name = self.name(under);
        let mut found = Vec::new();
        let mut objects = self.store.list(Some(&name));
        while let Some(object) = within(|| self.shown(under), objects.try_next()).await? {
            if let Some(last) = object.location.parts().next_back() {
                found.push((last.as_ref().to_owned(), object.size));
            }
            if found.len() > MOST_OBJECTS {
                let reason = format!("there are more than {MOST_OBJECTS} objects");
                return Err(Error::Destination { what: self.shown(under), reason });
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// How many bytes an object has.
    ///
    /// # Errors
    /// It is missing or cannot be read.
    pub async fn size(&self, name: &str) -> Result<u64, Error> {
        Ok(within(|| self.shown(name), self.store.head(&self.name(name))).await?.size)
    }

    /// Some bytes of an object.
    ///
    /// # Errors
    /// It is missing or cannot be read.
    pub async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let at = self.name(name);
        within(|| self.shown(name), self.store.get_range(&at, range)).await
    }

    /// Writes an object as a whole.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn write(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        let at = self.name(name);
        let put = self.store.put(&at, PutPayload::from_bytes(bytes));
        within(|| self.shown(name), put).await.map(drop)
    }

    /// Begins an object that comes in parts; it is there when [`Upload::complete`] says so.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn begin(&self, name: &str) -> Result<Upload, Error> {
        let shown = self.shown(name);
        let at = self.name(name);
        let upload = within(|| shown.clone(), self.store.put_multipart(&at)).await?;
        Ok(Upload { upload, shown })
    }

    /// Removes an object; one that is not there is none.
    ///
    /// # Errors
    /// It cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        match within(|| self.shown(name), self.store.delete(&self.name(name))).await {
            Err(Error::Damaged { .. }) => Ok(()),
            done => done,
        }
    }
}

/// An object that comes in parts.
#[derive(Debug)]
pub struct Upload {
    upload: Box<dyn MultipartUpload>,
    shown: String,
}

impl Upload {
    /// Adds the next part. All but the last are equally long, and at least 5 MiB.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn part(&mut self, bytes: Bytes) -> Result<(), Error> {
        let put = self.upload.put_part(PutPayload::from_bytes(bytes));
        within(|| self.shown.clone(), put).await
    }

    /// All parts are there: so is the object.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn complete(mut self) -> Result<(), Error> {
        let shown = self.shown.clone();
        within(|| shown.clone(), self.upload.complete()).await.map(drop)
    }

    /// Gives it up.
    pub async fn abort(mut self) {
        let shown = self.shown.clone();
        if let Err(error) = within(|| shown.clone(), self.upload.abort()).await {
            tracing::warn!(
                action = "backup-parts-left",
                %error,
                "parts of an object may be left at the backup's destination"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_bucket_or_an_absolute_directory() {
        let bucket = |bucket: &str, prefix: &str| Place::Bucket {
            bucket: bucket.into(),
            prefix: prefix.into(),
        };
        assert_eq!(Place::parse("s3://b"), Ok(bucket("b", "")));
        assert_eq!(Place::parse("s3://b/x/y/"), Ok(bucket("b", "x/y")));
        assert_eq!(Place::parse("file:///a/b"), Ok(Place::Directory("/a/b".into())));
        assert_eq!(Place::parse("/a/b"), Ok(Place::Directory("/a/b".into())));
        for wrong in
            ["", "a/b", "file://a", "s3://", "s3:///x", "gs://b", "s3://b/../x", "s3://b/x//y"]
        {
            let told = Place::parse(wrong).unwrap_err();
            assert!(told.contains("s3://BUCKET/PREFIX"), "{wrong}: {told}");
        }
    }
}
