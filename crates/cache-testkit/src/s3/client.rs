//! object_store's S3 client without TLS, which its feature `aws` would bring.

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as TcpConnector},
    rt::TokioExecutor,
};
use object_store::{
    ClientOptions, Error, Result,
    client::{
        CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, HttpClient, HttpConnector,
        HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
        HttpService, Signer, SigningAlgorithm,
    },
};

/// Makes object_store's clients speak plain HTTP/1.1 to whatever they are told to call, and nothing
/// else: no TLS, no proxy, no timeouts; [`ClientOptions`] are not looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainHttp;

impl HttpConnector for PlainHttp {
    fn connect(&self, _options: &ClientOptions) -> Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.set_nodelay(true);
        Ok(HttpClient::new(PlainClient(Client::builder(TokioExecutor::new()).build(tcp))))
    }
}

#[derive(Debug)]
struct PlainClient(Client<TcpConnector, HttpRequestBody>);

#[async_trait]
impl HttpService for PlainClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.0.request(request).await;
        let answer = answer.map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
        let of_body = |error| HttpError::new(HttpErrorKind::Interrupted, error);
        Ok(answer.map(|body| HttpResponseBody::new(body.map_err(of_body))))
    }
}

/// Digests for a server that does not look at them: object_store's client wants one for a bulk
/// delete, and without TLS nothing brings it any. There are no signatures.
#[derive(Debug)]
pub(super) struct NoCrypto;

impl CryptoProvider for NoCrypto {
    fn digest(&self, _: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        Ok(Box::new(NoDigest))
    }

    fn hmac(&self, _: DigestAlgorithm, _: &[u8]) -> Result<Box<dyn HmacContext>> {
        Err(not_signed())
    }

    fn sign(&self, _: SigningAlgorithm, _: &[u8]) -> Result<Box<dyn Signer>> {
        Err(not_signed())
    }
}

struct NoDigest;

impl DigestContext for NoDigest {
    fn update(&mut self, _: &[u8]) {}

    fn finish(&mut self) -> Result<&[u8]> {
        // As long as that of SHA-256.
        Ok(&[0; 32])
    }
}

fn not_signed() -> Error {
    Error::NotSupported { source: "the client of the test kit's S3 server signs nothing".into() }
}
