//! `cargo xtask servers`: real servers on loopback, for the tests.
//!
//! * S3 is moto, serving one request at a time: only then are its conditional puts atomic.
//! * Azure is azurite, its blob service alone.
//! * Redis and NATS are those of the machine, if it has them.
//!
//! The first two are installed once, into `.servers`. All keep everything in memory. Each exits
//! when its standard input closes, so that no server outlives the process that started it, even if
//! that is killed.

mod broker;
mod install;
mod server;

use std::process::ExitCode;

use crate::shell::{Result, command, ended, output};
use broker::BROKERS;
use install::Tools;
use server::{Server, http_url};

pub(crate) const USAGE: &str = "\
cargo xtask servers run -- COMMAND…
    Starts an S3 and an Azure server, and Redis and NATS where they are installed; runs COMMAND
    with their addresses in its environment; stops them.
cargo xtask servers
    Starts them, prints that environment, and stops them on Ctrl-C.
cargo xtask servers install
    Installs the first two into .servers.";

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
    /// Those that are installed, with the variables that name them.
    brokers: Vec<(&'static str, Server)>,
}

impl Servers {
    /// All of them, answering, with a bucket and a container to use.
    fn start() -> Result<Self> {
        let tools = Tools::installed()?;
        let s3 = Server::start("s3", &mut tools.s3(), http_url)?;
        let azure = Server::start("azure", &mut tools.azure(), http_url)?;
        let mut rooms = tools.python("make_rooms.py");
        output(rooms.args([s3.url(), BUCKET, azure.url(), CONTAINER]))?;
        let mut brokers = Vec::new();
        for broker in &BROKERS {
            brokers.extend(broker.start()?.map(|server| (broker.variable, server)));
        }
        Ok(Self { s3, azure, brokers })
    }

    /// The variables that the tests read. CONTRIBUTING.md describes them.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("OBJECT_CACHE_TEST_SERVERS_NEEDED", "1".to_owned()),
            ("OBJECT_CACHE_TEST_S3_ENDPOINT", self.s3.url().to_owned()),
            ("OBJECT_CACHE_TEST_S3_BUCKET", BUCKET.to_owned()),
            ("OBJECT_CACHE_TEST_AZURE_ENDPOINT", format!("{}/{AZURE_ACCOUNT}", self.azure.url())),
            ("OBJECT_CACHE_TEST_AZURE_CONTAINER", CONTAINER.to_owned()),
        ];
        let brokers = self.brokers.iter();
        environment.extend(brokers.map(|(name, server)| (*name, server.url().to_owned())));
        environment
    }
}

const BUCKET: &str = "object-cache";
const CONTAINER: &str = "object-cache";
/// The account that azurite serves; its key is public.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
