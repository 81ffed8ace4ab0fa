//! The command line.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use cache_facade::{CachedStore, CachedStoreBuilder, Memory};

use crate::{Bucket, BucketOptions, Limits, Rules, may_be_cached};

/// What the program was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A folder or a URL; the page in memory, if there is none.
    pub bucket: Option<String>,
    /// How the bucket is opened.
    pub opened: BucketOptions,
    /// Whether the bucket is read once before clients are served.
    pub check: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to listen for those who run the gateway.
    pub admin: Option<SocketAddr>,
    /// For how long the bucket need not be asked.
    pub rules: Rules,
    /// Whether the `Cache-Control` of objects is obeyed.
    pub obey_cache_control: bool,
    /// How much is held, in bytes.
    pub capacity: u64,
    /// The largest object that is held, in bytes.
    pub max_object_size: Option<u64>,
    /// How many requests of reads the bucket may have to answer at once.
    pub max_in_flight: usize,
    /// How long a request may wait until it is one of those.
    pub queue_timeout: Duration,
    /// How many bytes of blocks reads in flight may hold beside what is cached.
    pub max_in_flight_bytes: u64,
    /// How long a request may wait for a change of its object. Zero: none waits.
    pub wait_max: Duration,
    /// After how long without a signal it reads the object again.
    pub wait_poll: Duration,
    /// How many may wait at a time.
    pub waiting_max: usize,
    /// What clients can hold on to.
    pub limits: Limits,
    /// Whether each request is a line on the standard output.
    pub access_log: bool,
}

impl Options {
    /// What the program says of itself.
    pub const USAGE: &str = "\
Serves a bucket over HTTP through a cache in memory. It only reads.

http_gateway [OPTION]… [BUCKET]

  BUCKET  a folder, or a URL of object_store: s3://bucket/prefix, gs://…, az://…, https://…
          Its settings come from the environment (AWS_…, GOOGLE_…, AZURE_…), and it has to be built
          in (--features aws, gcp, azure, http). Default: a small page in memory

The bucket
  --allow-http         may be asked without TLS: http://… as BUCKET, or as the endpoint of one
  --follow-links       symbolic links that lead out of a folder are followed; else they are 403
  --no-check           is not read once before clients are served
  --capacity BYTES     how much of it is cached; 268435456
  --max-object-size BYTES
                       larger objects are not cached; no limit
  --max-in-flight N    how many requests it has to answer at once; more wait; 1024
  --queue-timeout SECONDS
                       for how long; then the response is 504; 10
  --max-in-flight-bytes BYTES
                       how much of what is being fetched may be held beside what is cached; more is
                       passed on to clients without being cached; 1073741824

Freshness
  --max-age SECONDS    how long an object is served without a request to the bucket; 0
  --stale-while-revalidate SECONDS
                       how long after that, while it is revalidated in the background; 0
  --stale-if-error SECONDS
                       how long after max-age, if the bucket fails; 0
  --freshness PREFIX=RULE
                       the same for objects whose path begins with PREFIX; may be repeated, and the
                       longest prefix counts. RULE is as in static/=max-age=60,stale-if-error=600,
                       or immutable
  --negative-ttl SECONDS
                       how long it is remembered that an object does not exist, within the spans
                       above; needs a max-age that is not zero; 0
  --ignore-cache-control
                       objects are cached whatever their Cache-Control says. Else no-store and
                       private ones are not cached, no-cache ones are revalidated on every read, and
                       s-maxage, max-age, must-revalidate and proxy-revalidate shorten the spans above

Waiting (Prefer: wait=SECONDS beside If-None-Match)
  --wait-max SECONDS   how long a request waits for a change at most; 0 for none that waits; 60
  --wait-poll SECONDS  how often it reads the object again meanwhile, each time one request to the
                       bucket without a body; 5
  --waiting N          how many may wait at a time, at most half of the connections; others are
                       answered at once; 100

Clients
  --listen ADDRESS     where; 127.0.0.1:8080
  --admin ADDRESS      where /healthz and /metrics (for Prometheus) are; nowhere
  --access-log         each request is a line on the standard output
  --connections N      at a time. For one more, the one that has waited longest for a request is
                       closed; 400
  --header-timeout SECONDS
                       for a request to arrive; 10
  --idle-timeout SECONDS
                       between two requests of a connection; 60
  --write-timeout SECONDS
                       for a client to take the next bytes of a response; 30
  --drain-timeout SECONDS
                       for responses to end after SIGTERM or Ctrl-C. After a second one none is
                       waited for; 30

  --help               this text

Metadata that users gave an object is in its response as x-amz-meta-NAME.";

    /// Reads the arguments behind the program's name. `None`, if only the usage is wanted.
    ///
    /// # Errors
    ///
    /// A sentence for the caller.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            let (rule, limits) = (&mut options.rules.default, &mut options.limits);
            match name.as_str() {
                "--allow-http" => options.opened.allow_http = true,
                "--follow-links" => options.opened.follow_links = true,
                "--no-check" => options.check = false,
                "--capacity" => options.capacity = read(&value()?)?,
                "--max-object-size" => options.max_object_size = Some(read(&value()?)?),
                "--max-in-flight" => options.max_in_flight = read(&value()?)?,
                "--queue-timeout" => options.queue_timeout = seconds(&value()?)?,
                "--max-in-flight-bytes" => options.max_in_flight_bytes = read(&value()?)?,
                "--max-age" => rule.max_age = seconds(&value()?)?,
                "--stale-while-revalidate" => rule.stale_while_revalidate = seconds(&value()?)?,
                "--stale-if-error" => rule.stale_if_error = seconds(&value()?)?,
                "--freshness" => options.rules.add(&value()?)?,
                "--negative-ttl" => options.rules.negative_ttl = seconds(&value()?)?,
                "--ignore-cache-control" => options.obey_cache_control = false,
                "--wait-max" => options.wait_max = seconds(&value()?)?,
                "--wait-poll" => options.wait_poll = seconds(&value()?)?,
                "--waiting" => options.waiting_max = read(&value()?)?,
                "--listen" => options.listen = read(&value()?)?,
                "--admin" => options.admin = Some(read(&value()?)?),
                "--access-log" => options.access_log = true,
                "--connections" => limits.connections = read(&value()?)?,
                "--header-timeout" => limits.header_timeout = seconds(&value()?)?,
                "--idle-timeout" => limits.idle_timeout = seconds(&value()?)?,
                "--write-timeout" => limits.write_timeout = seconds(&value()?)?,
                "--drain-timeout" => limits.drain_timeout = seconds(&value()?)?,
                "--help" | "-h" => return Ok(None),
                _ if name.starts_with('-') => return Err(format!("what is {name}? Try --help")),
                _ if options.bucket.is_some() => {
                    return Err(format!("one bucket is enough: {name}"));
                }
                _ => options.bucket = Some(name),
            }
        }
        options.rules.check()?;
        if options.limits.connections == 0 {
            return Err("--connections 0 would serve nobody".to_owned());
        }
        if options.max_in_flight == 0 {
            return Err("--max-in-flight 0 would ask the bucket for nothing".to_owned());
        }
        if options.max_in_flight_bytes == 0 {
            return Err("--max-in-flight-bytes 0 would cache nothing".to_owned());
        }
        if options.wait_poll.is_zero() {
            return Err("--wait-poll 0 would send requests to the bucket all the time".to_owned());
        }
        let Limits { header_timeout, idle_timeout, write_timeout, .. } = options.limits;
        if [header_timeout, idle_timeout, write_timeout].contains(&Duration::ZERO) {
            return Err("a time-out of 0 would serve nobody".to_owned());
        }
        if options.admin == Some(options.listen) && options.listen.port() != 0 {
            return Err("--admin and --listen are the same address: /metrics is not for everybody"
                .to_owned());
        }
        Ok(Some(options))
    }

    /// Whether folders without their slash are looked for. A web server redirects by itself.
    pub fn redirect_folders(&self) -> bool {
        let starts_with = |start: &str| {
            let place = self.bucket.as_deref().and_then(|place| place.get(..start.len()));
            place.is_some_and(|place| place.eq_ignore_ascii_case(start))
        };
        !starts_with("http:") && !starts_with("https:")
    }

    /// The cached store over `bucket` that these options ask for.
    pub fn store(&self, bucket: Bucket) -> CachedStoreBuilder {
        // What is known of an object has to be kept for as long as it may be served.
        let time_to_live = self.rules.longest().max(TIME_TO_LIVE);
        let mut builder =
            CachedStore::builder(bucket.store, Memory::new().max_capacity(self.capacity))
                .name("http_gateway")
                .validator_strength(bucket.strength)
                .freshness(self.rules.default.freshness())
                .time_to_live(time_to_live)
                .max_in_flight(self.max_in_flight)
                .queue_timeout(self.queue_timeout)
                .max_in_flight_bytes(self.max_in_flight_bytes)
                .negative_ttl(self.rules.negative_ttl)
                // No block may be larger than all of them together.
                .block_size(BLOCK_SIZE.min(self.capacity.max(1)));
        for (prefix, rule) in &self.rules.by_prefix {
            builder = builder.freshness_for(prefix, rule.freshness());
        }
        if let Some(bytes) = self.max_object_size {
            builder = builder.max_object_size(bytes);
        }
        if self.obey_cache_control {
            builder = builder.cache_if(may_be_cached);
        }
        builder
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bucket: None,
            opened: BucketOptions::default(),
            check: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: None,
            rules: Rules::default(),
            obey_cache_control: true,
            capacity: 256 * 1024 * 1024,
            max_object_size: None,
            max_in_flight: 1024,
            queue_timeout: Duration::from_secs(10),
            max_in_flight_bytes: 1024 * 1024 * 1024,
            wait_max: Duration::from_secs(60),
            wait_poll: Duration::from_secs(5),
            waiting_max: 100,
            limits: Limits::default(),
            access_log: false,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    Ok(Duration::from_secs(read(text)?))
}

fn read<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} makes no sense there"))
}

/// The defaults of the cached store.
const BLOCK_SIZE: u64 = 1024 * 1024;
const TIME_TO_LIVE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rule;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn each_option_is_read() {
        assert_eq!(parse(""), Ok(Some(Options::default())));
        let line = "--listen [::1]:0 --admin 127.0.0.1:9 s3://bucket/a --allow-http \
            --follow-links --no-check \
            --capacity 1000 --max-object-size 10 --max-in-flight 8 --queue-timeout 4 \
            --max-in-flight-bytes 900 --max-age 60 --stale-while-revalidate 5 --stale-if-error 600 \
            --freshness static/=immutable --negative-ttl 9 --ignore-cache-control --access-log \
            --connections 7 --wait-max 20 --wait-poll 2 --waiting 3 \
            --header-timeout 1 --idle-timeout 2 --write-timeout 3 --drain-timeout 0";
        let rule = |max_age, stale_while_revalidate, stale_if_error| Rule {
            max_age,
            stale_while_revalidate,
            stale_if_error,
        };
        let expected = Options {
            bucket: Some("s3://bucket/a".to_owned()),
            opened: BucketOptions { allow_http: true, follow_links: true },
            check: false,
            listen: "[::1]:0".parse().unwrap(),
            admin: Some("127.0.0.1:9".parse().unwrap()),
            rules: Rules {
                default: rule(secs(60), secs(5), secs(600)),
                by_prefix: vec![(
                    "static/".to_owned(),
                    rule(Duration::MAX, Duration::ZERO, Duration::ZERO),
                )],
                negative_ttl: secs(9),
            },
            obey_cache_control: false,
            capacity: 1000,
            max_object_size: Some(10),
            max_in_flight: 8,
            queue_timeout: secs(4),
            max_in_flight_bytes: 900,
            wait_max: secs(20),
            wait_poll: secs(2),
            waiting_max: 3,
            limits: Limits {
                connections: 7,
                header_timeout: secs(1),
                idle_timeout: secs(2),
                write_timeout: secs(3),
                drain_timeout: secs(0),
            },
            access_log: true,
        };
        assert_eq!(parse(line), Ok(Some(expected)));
        assert_eq!(parse("folder --help"), Ok(None));
    }

    #[test]
    fn a_web_server_redirects_by_itself() {
        for (place, expected) in
            [("", true), ("folder", true), ("s3://http", true), ("https://a/b", false)]
        {
            assert_eq!(parse(place).unwrap().unwrap().redirect_folders(), expected, "{place}");
        }
        assert!(!parse("HTTP://a").unwrap().unwrap().redirect_folders());
    }

    #[test]
    fn each_option_is_in_the_usage() {
        let arms = include_str!("options.rs").lines().filter(|line| line.contains("\" =>"));
        let names = arms.filter_map(|line| line.trim().strip_prefix("\"--")?.split_once('"'));
        let names: Vec<_> = names.map(|(name, _)| format!("--{name} ")).collect();
        assert!(names.len() > 15);
        for name in names {
            let usage = Options::USAGE.replace('\n', " ");
            assert!(usage.contains(&name), "{name}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for line in [
            "--listen",
            "--listen 8080",
            "--max-age -1",
            "--max-age 1.5",
            "--capacity 1k",
            "--stale-while-revalidate 5",
            "--freshness static/",
            "--freshness static/=fresh",
            "--connections 0",
            "--max-in-flight 0",
            "--max-in-flight-bytes 0",
            "--negative-ttl 5",
            "--negative-ttl 5 --freshness static/=stale-if-error=5",
            "--header-timeout 0",
            "--idle-timeout 0",
            "--write-timeout 0",
            "--admin 127.0.0.1:8080",
            "--wait-poll 0",
            "-x",
            "a b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
