//! The command line.

use std::{net::SocketAddr, str::FromStr, time::Duration};

/// What the program was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A folder or a URL; the page in memory, if there is none.
    pub bucket: Option<String>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// How long the bucket need not be asked.
    pub max_age: Duration,
    /// How much is held, in bytes.
    pub capacity: u64,
    /// The path of the figures.
    pub metrics: String,
}

impl Options {
    /// What the program says of itself.
    pub const USAGE: &str = "\
http_gateway [OPTION]… [BUCKET]
  BUCKET             a folder, or a URL of object_store: s3://bucket/prefix, gs://…, az://…, https://…; its settings
                     come from the environment (AWS_…, GOOGLE_…, AZURE_…), and it has to be built in
                     (--features aws, gcp, azure, http); a small page in memory
  --listen ADDRESS   where; 127.0.0.1:8080
  --max-age SECONDS  how long the bucket need not be asked whether an object has changed; 0
  --capacity BYTES   how much is held; 268435456
  --metrics PATH     where the figures are, for Prometheus; /metrics";

    /// Reads the arguments behind the program's name. `None`, if only the usage is wanted.
    ///
    /// # Errors
    ///
    /// A sentence for the caller.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            bucket: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_age: Duration::ZERO,
            capacity: 256 * 1024 * 1024,
            metrics: "/metrics".to_owned(),
        };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--listen" => options.listen = read(&value()?)?,
                "--max-age" => options.max_age = Duration::from_secs(read(&value()?)?),
                "--capacity" => options.capacity = read(&value()?)?,
                "--metrics" => options.metrics = value()?,
                "--help" | "-h" => return Ok(None),
                _ if name.starts_with('-') => return Err(format!("what is {name}?\n{}", Self::USAGE)),
                _ if options.bucket.is_some() => return Err(format!("one bucket is enough: {name}")),
                _ => options.bucket = Some(name),
            }
        }
        if options.metrics.starts_with('/') {
            Ok(Some(options))
        } else {
            Err("--metrics begins with /".into())
        }
    }
}

fn read<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} makes no sense there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn each_option_is_read() {
        let plain = parse("").unwrap().unwrap();
        assert_eq!((&plain.bucket, plain.max_age), (&None, Duration::ZERO));
        let line = "--listen [::1]:0 s3://bucket/a --max-age 60 --capacity 1000 --metrics /figures";
        let expected = Options {
            bucket: Some("s3://bucket/a".to_owned()),
            listen: "[::1]:0".parse().unwrap(),
            max_age: Duration::from_secs(60),
            capacity: 1000,
            metrics: "/figures".to_owned(),
        };
        assert_eq!(parse(line), Ok(Some(expected)));
        assert_eq!(parse("folder --help"), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for line in [
            "--listen",
            "--listen 8080",
            "--max-age -1",
            "--max-age 1.5",
            "--capacity 1k",
            "--metrics figures",
            "-x",
            "a b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
