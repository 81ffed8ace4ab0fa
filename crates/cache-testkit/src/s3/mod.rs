//! An S3 server on the loopback interface, exact in what it keeps and in what it breaks.

mod bulk;
mod client;
mod conditions;
mod fault;
mod list;
mod objects;
mod record;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use object_store::{
    RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, S3CopyIfNotExists},
};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
};

use self::{
    client::NoCrypto,
    fault::{End, Plan},
    objects::{Answer, Objects},
    record::Log,
    wire::Connection,
};
pub use self::{client::PlainHttp, fault::S3Fault, record::S3Request};
use crate::{Operation, faults::Faults};

/// An S3 server on the loopback interface that records every request, and does to it what its
/// [`S3Fault`]s say. It is to S3's own protocol what [`FaultyStore`](crate::FaultyStore) is to
/// object_store's.
///
/// Without faults it is exact where servers that can be installed are not: conditions with strong
/// and weak tags, lists and `*`, in the order of RFC 9110, for reads and writes alike, each judged
/// and acted on in one step; a 304 with its tag; single ranges; lists with pages; copies; multipart
/// uploads. Every write has a tag of its own, also of equal bytes, and a date a second after the
/// one before, so that runs repeat. Any bucket exists, and all are one. Signatures are not looked
/// at. Bulk deletes, of 1,000 keys at most, each with an outcome of its own. Objects are in memory,
/// and only the last version of each. What it does not know (versions, tags of objects) ends the
/// connection.
///
/// It runs on a thread of its own, so that a test's runtime may be paused or busy, and ends when it
/// is dropped.
///
/// ```
/// use cache_testkit::{BodyFault, Operation, S3Fault, S3Server};
/// use object_store::{ObjectStore as _, ObjectStoreExt as _, path::Path};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = S3Server::start()?;
/// let store = server.client();
/// let path = Path::from("a");
/// store.put(&path, "body".into()).await?;
///
/// // The next put takes effect, and nobody hears of it.
/// server.fault(S3Fault::hang_up().late().on(Operation::Put).once());
/// assert!(store.put(&path, "news".into()).await.is_err());
/// assert_eq!(server.body("a").as_deref(), Some(&b"news"[..]));
///
/// // The next body ends early, and properly. object_store does not notice.
/// server.fault(S3Fault::body(BodyFault::Truncated(2)).once());
/// let answer = store.get(&path).await?;
/// assert_eq!(answer.meta.size, 4);
/// assert_eq!(answer.bytes().await?, "ne");
/// assert_eq!(server.count(), 3);
/// # Ok(())
/// # }
/// ```
pub struct S3Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Ends the thread when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Starts a server without objects on a free port.
    ///
    /// # Errors
    ///
    /// What the system says if there is no port or no thread to be had.
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let shared = Arc::new(Shared::new());
        let (stop, stopped) = oneshot::channel();
        let serve = serve(Arc::clone(&shared), listener);
        let thread = thread::Builder::new().name("s3".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { shared, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// object_store's S3 client of this server: as [`client_builder`](Self::client_builder) sets it
    /// up.
    ///
    /// # Panics
    ///
    /// Never: the settings are complete.
    pub fn client(&self) -> AmazonS3 {
        self.client_builder().build().expect("the settings are complete")
    }

    /// The settings of a client of this server: unsigned, over [`PlainHttp`], bucket `test`,
    /// `copy_if_not_exists` by multipart uploads, one delete a request unless told otherwise by
    /// `with_disable_bulk_delete(false)`, and without retries, so that every fault is seen and none
    /// is waited for. A client that is to sign its requests needs another crypto provider, as
    /// object_store's feature `aws` brings one.
    pub fn client_builder(&self) -> AmazonS3Builder {
        Self::client_builder_of(self.address)
    }

    /// As [`client_builder`](Self::client_builder), of a server that another process has started.
    pub fn client_builder_of(address: SocketAddr) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{address}"))
            .with_allow_http(true)
            .with_bucket_name("test")
            .with_region("us-east-1")
            .with_skip_signature(true)
            .with_disable_bulk_delete(true)
            .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(PlainHttp)
            .with_crypto_provider(Arc::new(NoCrypto))
    }

    /// Puts an object as if another node did it: not recorded, not faulted. Its tag.
    pub fn put(&self, key: &str, body: impl Into<Bytes>) -> String {
        self.shared.objects().put(key, body.into(), Vec::new()).tag.clone()
    }

    /// Removes an object as if another node did it.
    pub fn remove(&self, key: &str) {
        self.shared.objects().remove(key);
    }

    /// The body of an object, if there is one of that key.
    pub fn body(&self, key: &str) -> Option<Bytes> {
        self.shared.objects().get(key).map(|object| object.body.clone())
    }

    /// The tag of an object, if there is one of that key.
    pub fn e_tag(&self, key: &str) -> Option<String> {
        self.shared.objects().get(key).map(|object| object.tag.clone())
    }

    /// Every request since the start or the last [`reset`](Self::reset), in the order in which they
    /// came. Their bodies are kept as long as the record is.
    pub fn requests(&self) -> Vec<S3Request> {
        self.shared.log.read(<[S3Request]>::to_vec)
    }

    /// How many requests there are in the record.
    pub fn count(&self) -> usize {
        self.shared.log.read(<[S3Request]>::len)
    }

    /// How many of them are for `operation`.
    pub fn count_of(&self, operation: Operation) -> usize {
        let is_it = |request: &&S3Request| request.operation == operation;
        self.shared.log.read(|requests| requests.iter().filter(is_it).count())
    }

    /// Waits until `holds` of the record: that a request has come, or was answered. It must not
    /// call the server.
    pub async fn wait_until(&self, holds: impl Fn(&[S3Request]) -> bool) {
        self.shared.log.wait_until(holds).await;
    }

    /// Empties the record. Requests under way are not recorded any further. Faults and held
    /// requests stay.
    pub fn reset(&self) {
        self.shared.log.reset();
    }

    /// Adds a fault.
    ///
    /// For each request the faults are looked at in the order in which they were added. All that
    /// match a request count, but for these: what comes after one that ends the request is not
    /// looked at; and of two that do the same thing to it, only the first counts. A fault that does
    /// not count is not used up. So a script is a fault with [`S3Fault::once`] for each step.
    pub fn fault(&self, fault: S3Fault) {
        self.shared.faults.add(fault);
    }

    /// Takes every fault away and releases what is held. Requests that hang go on hanging.
    pub fn heal(&self) {
        self.shared.faults.heal();
    }

    /// Waits until at least `n` requests are held (see [`S3Fault::hold`]) at the same time.
    pub async fn wait_until_held(&self, n: usize) {
        self.shared.faults.wait_until_held(n).await;
    }

    /// Lets the `n` requests go that have been held longest, or all if there are fewer. Holds that
    /// were asked for go on holding later requests.
    pub fn release(&self, n: usize) {
        self.shared.faults.release(n);
    }

    /// Takes every hold away and lets all requests go that are held.
    pub fn release_all(&self) {
        self.shared.faults.release_all();
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A server that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for S3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Server")
            .field("address", &self.address)
            .field("objects", &self.shared.objects().len())
            .field("requests", &self.count())
            .field("faults", &self.shared.faults.len())
            .finish_non_exhaustive()
    }
}

/// What the server's handle and its connections share.
struct Shared {
    objects: Mutex<Objects>,
    log: Log,
    faults: Faults<S3Fault>,
    connections: watch::Sender<usize>,
}

impl Shared {
    fn new() -> Self {
        Self {
            objects: Mutex::new(Objects::new()),
            log: Log::new(),
            faults: Faults::default(),
            connections: watch::Sender::new(0),
        }
    }

    /// What becomes of `request`; `None` if the connection is to be closed without an answer.
    async fn answer(&self, request: &S3Request, plan: &Plan) -> Option<Answer> {
        if plan.hold_early {
            self.faults.hold(plan.since).await;
        }
        if let Some(end) = plan.end_early {
            return happen(end).await;
        }
        let mut seen = None;
        if plan.hold_midway {
            seen = Some(self.objects().get(&request.key).cloned());
            self.faults.hold(plan.since).await;
        }
        let answer = self.objects().answer(request, plan, seen);
        if plan.hold_late {
            self.faults.hold(plan.since).await;
        }
        match plan.end_late {
            Some(end) => happen(end).await,
            None => Some(answer),
        }
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().expect("no code of others runs under this lock")
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            shared.connections.send_modify(|n| *n += 1);
            // A client that goes away, or speaks something else, ends its connection and nothing
            // more.
            let _ = stream.set_nodelay(true);
            let _ = converse(&shared, Connection::new(stream)).await;
            shared.connections.send_modify(|n| *n -= 1);
        });
    }
}

/// Answers the requests of one connection until it ends.
async fn converse(shared: &Shared, mut connection: Connection) -> io::Result<()> {
    while let Some(request) = connection.request().await? {
        let plan = Plan::new(&shared.faults, &request);
        let ticket = shared.log.open(request.clone());
        let answer = tokio::select! {
            // A client that sends nothing more may still want what is ready.
            biased;
            answer = shared.answer(&request, &plan) => answer,
            () = connection.gone() => None,
        };
        let Some(answer) = answer else { break };
        let is_head = request.operation == Operation::Head;
        if !connection.answer(answer, is_head, &plan, &ticket).await? {
            break;
        }
    }
    Ok(())
}

async fn happen(end: End) -> Option<Answer> {
    match end {
        End::Status(304) => Some(Answer::new(304)),
        End::Status(status) => Some(Answer::error(status, "InjectedFault")),
        End::HangUp => None,
        End::Hang => std::future::pending().await,
    }
}
