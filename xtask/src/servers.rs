//! `cargo xtask servers`: a real S3 server and a real Azure server on loopback, for the tests.
//!
//! * S3 is moto, serving one request at a time: only then are its conditional puts atomic.
//! * Azure is azurite, its blob service alone.
//!
//! Both are installed once, into `.servers`, and keep everything in memory. Each exits when its
//! standard input closes, so that no server outlives the process that started it, even if that is
//! killed.

mod install;
mod server;

use std::process::ExitCode;

use crate::shell::{Result, command, ended, output};
use install::Tools;
use server::Server;

pub(crate) const USAGE: &str = "\
cargo xtask servers run -- COMMAND…
    Starts an S3 and an Azure server, runs COMMAND with their addresses in its environment, stops
    them.
cargo xtask servers
    Starts them, prints that environment, and stops them on Ctrl-C.
cargo xtask servers install
    Installs them into .servers.";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["install"] => Tools::installed().map(|_| ExitCode::SUCCESS),
        ["run", "--", program, args @ ..] => {
            let servers = Servers::start()?;
            ended(command(program).args(args).envs(servers.environment()))
        }
        [] => {
            let mut servers = Servers::start()?;
            servers
                .environment()
                .iter()
                .for_each(|(name, value)| println!("export {name}={value}"));
            Err(servers.s3.ended())
        }
        _ => Err(format!("cannot read these arguments\n\n{USAGE}").into()),
    }
}

struct Servers {
    s3: Server,
    azure: Server,
}

impl Servers {
    /// Both, answering, with a bucket and a container to use.
    fn start() -> Result<Self> {
        let tools = Tools::installed()?;
        let s3 = Server::start("s3", &mut tools.s3())?;
        let azure = Server::start("azure", &mut tools.azure())?;
        let mut rooms = tools.python("make_rooms.py");
        output(rooms.args([s3.url(), BUCKET, azure.url(), CONTAINER]))?;
        Ok(Self { s3, azure })
    }

    /// What the tests read. CONTRIBUTING.md describes it.
    fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("OBJECT_CACHE_TEST_SERVERS_NEEDED", "1".to_owned()),
            ("OBJECT_CACHE_TEST_S3_ENDPOINT", self.s3.url().to_owned()),
            ("OBJECT_CACHE_TEST_S3_BUCKET", BUCKET.to_owned()),
            ("OBJECT_CACHE_TEST_AZURE_ENDPOINT", format!("{}/{AZURE_ACCOUNT}", self.azure.url())),
            ("OBJECT_CACHE_TEST_AZURE_CONTAINER", CONTAINER.to_owned()),
        ]
    }
}

const BUCKET: &str = "object-cache";
const CONTAINER: &str = "object-cache";
/// The account that azurite serves; its key is public.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
