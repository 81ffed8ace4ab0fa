//! TLS with a certificate that only a child process trusts: the environment names the trusted
//! certificates, and a process cannot change its own safely.

use std::{env, ffi::OsStr, fs, future::Future, path::PathBuf, process::Command, sync::Arc};

use cache_core::{BusEvent, ChangeBus};

use crate::suite::{message, next};

/// A certificate for 127.0.0.1, which is signed by itself.
pub(crate) struct Certificate {
    _folder: tempfile::TempDir,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// `None`, and a line that says so, without `openssl`.
    pub(crate) fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name| folder.path().join(name);
        let (config, certificate, key) = (file("openssl.conf"), file("cert.pem"), file("key.pem"));
        fs::write(&config, CONFIG).expect("a file");
        let args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        let mut openssl = Command::new("openssl");
        openssl.args(args).args(["-nodes", "-days", "2"]);
        openssl.args([OsStr::new("-config"), config.as_os_str()]);
        openssl.args([OsStr::new("-keyout"), key.as_os_str()]);
        openssl.args([OsStr::new("-out"), certificate.as_os_str()]);
        match openssl.output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => {
                let needed = env::var_os("OBJECT_CACHE_TEST_BUSES_NEEDED").is_some();
                assert!(!needed, "no openssl: {error}");
                println!("left out: no openssl");
                return None;
            }
        }
        Some(Self { _folder: folder, certificate, key })
    }

    /// Runs `test` of this program again, in a process that trusts the certificate.
    pub(crate) fn trusted(&self, test: &str, port: u16) {
        let mut child = Command::new(env::current_exe().expect("this program"));
        child.args(["--exact", test, "--nocapture"]);
        child.env("SSL_CERT_FILE", &self.certificate).env(PORT, port.to_string());
        child.env_remove("SSL_CERT_DIR");
        let output = child.output().expect("this program runs again");
        assert!(output.status.success(), "{output:?}");
    }
}

/// The server's port, in the process that [`Certificate::trusted`] starts.
pub(crate) fn port() -> Option<u16> {
    env::var(PORT).ok()?.parse().ok()
}

/// Announces one message and hears it.
pub(crate) async fn works<B, F>(bus: B, check: impl FnOnce(Arc<B>) -> F)
where
    B: ChangeBus,
    F: Future<Output = cache_core::Result<()>>,
{
    let bus = Arc::new(bus);
    check(Arc::clone(&bus)).await.expect("a trusted certificate");
    let mut stream = bus.listen();
    assert_eq!(next(&mut stream).await, BusEvent::Connected);
    bus.announce(&message(1)).await.expect("a server that takes messages");
    assert_eq!(next(&mut stream).await, BusEvent::Message(message(1)));
}

const PORT: &str = "OBJECT_CACHE_TEST_TLS_PORT";

const CONFIG: &str = "
    [req]
    distinguished_name = name
    x509_extensions = extensions
    prompt = no
    [name]
    CN = localhost
    [extensions]
    basicConstraints = critical, CA:FALSE
    subjectAltName = IP:127.0.0.1
";
